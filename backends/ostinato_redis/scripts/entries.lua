return answer(call('HGETALL', T .. 'entries:' .. INPUT))
