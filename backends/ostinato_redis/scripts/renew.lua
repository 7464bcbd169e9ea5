-- parts: lane ties job
insist()
local lost, cancelling, peers = {}, {}, {}
for at, fence in ipairs(INPUT.fences) do
  local id = fence[1]
  local state, token, flag = unpack(call('HMGET', job_key(id), 'state', 'token', 'cancelling'))
  if state ~= 'running' or tonumber(token) ~= fence[2] then
    lost[#lost + 1] = at
  else
    if INPUT.lease > 0 then
      call('HSET', job_key(id), 'lease', NOW + INPUT.lease)
      call('ZADD', T .. 'leases', NOW + INPUT.lease, id)
    end
    if flag then cancelling[#cancelling + 1] = at end
  end
end
if INPUT.lease > 0 then
  local told_now = cmsgpack.pack({NOW, NOW + INPUT.lease, INPUT.info})
  if call('HSET', T .. 'executors', INPUT.id, told_now) == 1 then
    tell('orders') -- the others want to know whom to look after
  end
else
  call('HDEL', T .. 'executors', INPUT.id)
end
local everybody = call('HGETALL', T .. 'executors')
for at = 1, #everybody, 2 do
  local info = cmsgpack.unpack(everybody[at + 1])
  if everybody[at] ~= INPUT.id and info[2] > NOW then peers[#peers + 1] = info end
end
return answer({NOW, lost, cancelling, peers})
