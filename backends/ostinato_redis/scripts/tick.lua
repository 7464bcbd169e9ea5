-- parts: lane ties job consequences admit
local newest = call('HGET', T .. 'ticks', INPUT.schedule)
if newest and tonumber(newest) >= tonumber(INPUT.due) then return answer({false, false}) end
local steps, conflict = draft(INPUT.jobs)
if not steps then return answer({false, conflict}) end
call('HSET', T .. 'ticks', INPUT.schedule, INPUT.due)
admit(steps)
return done({true, false})
