return answer(call('HGETALL', T .. 'ticks'))
