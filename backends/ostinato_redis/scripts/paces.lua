-- parts: lane rate
local paces = {}
for _, name in ipairs(call('HKEYS', T .. 'rates')) do
  local at = rate_of(name).free_at
  if at > NOW then paces[#paces + 1] = {name, at} end
end
return answer(paces)
