-- parts: lane ties job
local CHUNK = 500
local found = {}
for at, id in ipairs(INPUT) do
  local last, ends = tonumber(call('HGET', job_key(id), 'attempt') or 0), {}
  for from = 1, last, CHUNK do
    local names = {}
    for number = from, math.min(last, from + CHUNK - 1) do
      names[#names + 1] = 'a' .. number
      names[#names + 1] = 'l' .. number
    end
    local values = call('HMGET', job_key(id), unpack(names))
    for place = 1, #values, 2 do
      if values[place] then ends[#ends + 1] = {values[place], values[place + 1]} end
    end
  end
  found[at] = ends
end
return answer(found)
