-- parts: lane ties job
local DAY = 86400 * 1000000
local owners, found = nil, {}

local function owns_a_run(id)
  if not owners then
    owners = {}
    for _, run in ipairs(call('ZRANGE', T .. 'leases', 0, -1)) do owners[call('HGET', job_key(run), 'owner')] = true end
  end
  return owners[id]
end

local everybody = call('HGETALL', T .. 'executors')
for at = 1, #everybody, 2 do
  local id, info = everybody[at], cmsgpack.unpack(everybody[at + 1])
  if info[2] + DAY < NOW and not owns_a_run(id) then
    call('HDEL', T .. 'executors', id)
  else
    found[#found + 1] = info
  end
end
return answer(found)
