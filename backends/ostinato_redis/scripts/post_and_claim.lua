-- parts: lane ties job consequences admit rate due choose
-- What time brings, and globs that match an unheard queue, are left to the next claim.
local steps, answers = draft(INPUT.jobs)
if not steps then return answer({false, answers}) end
local new, rows, left = admit(steps), {}, {}
local lanes = not is_due() and fitting(INPUT.want)
if lanes then rows = choose(lanes, INPUT.want) end
for _, id in ipairs(new) do left[id] = true end
for _, claimed in ipairs(rows) do left[claimed[1]] = nil end
if not next(left) and #new == #steps then told.ready = nil end
return done({answers, false, NOW, next_start(lanes or {}), rows})
