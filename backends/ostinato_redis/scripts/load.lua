-- parts: lane job admit
local answers = {}
for at, item in ipairs(INPUT.jobs) do
  answers[at] = not known(item.id)
  if answers[at] then insert(item, item.fields) end
end
tell('ready')
tell('ended')
return done(answers)
