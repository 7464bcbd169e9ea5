-- parts: lane ties job
insist()
local answers = {}
for at, note in ipairs(INPUT) do
  local id, token, attempt, name, value, step = unpack(note)
  local key, holds = job_key(id), false
  if name == 'log' then
    holds = call('HEXISTS', key, 'a' .. attempt) == 1
    name = 'l' .. attempt
  else
    local state, held = unpack(call('HMGET', key, 'state', 'token'))
    holds = state == 'running' and tonumber(held) == token
  end
  if holds and name == 'step' then
    if call('HSETNX', T .. 'steps:' .. id, step, value) == 1 then call('HSET', key, 'steps', 1) end
  elseif holds then
    call('HSET', key, name, value)
  end
  answers[at] = holds
end
return answer(answers)
