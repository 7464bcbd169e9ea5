-- parts: lane
for name, capacity in pairs(INPUT.capacities) do
  if capacity then
    call('HSET', T .. 'limits', name, capacity)
  else
    call('HDEL', T .. 'limits', name)
  end
  unpark(name)
end
for name, rate in pairs(INPUT.rates) do
  if rate then
    call('HSET', T .. 'rates', name, rate)
  else
    call('HDEL', T .. 'rates', name)
    call('DEL', T .. 'starts:' .. name)
  end
end
tell('ready')
return answer(true)
