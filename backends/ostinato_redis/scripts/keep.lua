-- An entry is kept as its version and its value, with a space between.
local answers = {}
for at, entry in ipairs(INPUT) do
  local kind, name, version, value = unpack(entry)
  local key = T .. 'entries:' .. kind
  local known = string.match(call('HGET', key, name) or '0', '^%d+')
  answers[at] = tonumber(known) == version
  if answers[at] then
    if value then
      call('HSET', key, name, string.format('%.0f ', version + 1) .. value)
    else
      call('HDEL', key, name)
    end
    tell('orders')
  end
end
return answer(answers)
