return answer(call('HGETALL', T .. 'limits'))
