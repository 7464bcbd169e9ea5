-- parts: lane ties job consequences admit
local steps, answers = draft(INPUT.jobs)
if not steps then return answer({false, answers}) end
admit(steps)
return done({answers, false})
