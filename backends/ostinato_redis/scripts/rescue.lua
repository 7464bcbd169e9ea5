-- parts: lane ties job consequences
insist()
local ids, seen, rows = call('ZRANGEBYSCORE', T .. 'leases', '-inf', NOW, 'LIMIT', 0, INPUT.count), {}, {}
for _, id in ipairs(ids) do seen[id] = true end
if next(INPUT.dead) then
  for _, id in ipairs(call('ZRANGE', T .. 'leases', 0, -1)) do
    if #ids >= INPUT.count then break end
    local owner = call('HGET', job_key(id), 'owner')
    if not seen[id] and INPUT.dead[owner] then ids[#ids + 1] = id end
  end
end
for at, id in ipairs(ids) do
  local job = look(id)
  local former = job.owner
  call('ZADD', T .. 'leases', NOW + INPUT.lease, id)
  write(job, {token = tonumber(job.token) + 1, owner = INPUT.owner, lease = NOW + INPUT.lease})
  rows[at] = {former, row(id)}
end
return done(rows)
