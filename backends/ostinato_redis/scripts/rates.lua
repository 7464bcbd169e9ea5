return answer(call('HGETALL', T .. 'rates'))
