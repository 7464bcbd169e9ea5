for name, capacity in pairs(INPUT) do
  if capacity == false then
    call('HDEL', T .. 'limits', name)
  else
    call('HSET', T .. 'limits', name, capacity)
  end
end
tell('ready')
return answer(true)
