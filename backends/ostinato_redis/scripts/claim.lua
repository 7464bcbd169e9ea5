-- parts: lane ties job consequences rate due choose
local expired = pass_time()
if is_due() then return done({NOW, false, expired, {}, {}, true}) end
local lanes, unheard = fitting(INPUT)
local rows = lanes and choose(lanes, INPUT) or {}
return done({NOW, next_start(lanes or {}), expired, rows, unheard or {}, false})
