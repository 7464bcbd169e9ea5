-- parts: lane ties job consequences admit
local answers = {}
for at, item in ipairs(INPUT.jobs) do
  answers[at] = not known(item.id)
  if answers[at] then
    insert(item, item.fields)
    for name, value in pairs(item.steps) do call('HSET', T .. 'steps:' .. item.id, name, value) end
  end
end
tell('ready')
tell('ended')
return done(answers)
