-- parts: lane job admit
local key = T .. 'ticks:' .. INPUT.schedule
if call('ZSCORE', key, INPUT.due) then return answer({false, false}) end
local steps, conflict = draft(INPUT.jobs)
if not steps then return answer({false, conflict}) end
call('ZADD', key, INPUT.due, INPUT.due)
admit(steps)
return done({true, false})
