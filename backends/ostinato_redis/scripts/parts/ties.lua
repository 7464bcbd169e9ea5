-- Jobs that are tied to others: those that wait for others, and the steps of a flow. Both hear of an end.
--
--   awaits:ID   the jobs that a blocked one still waits for, in their order
--   tied:ID     who hears of the job's end, by sequence: `w` and the id of one that waits for it, `s` and that of
--               a step of it that has not ended
--
-- The job that is named need not be there (yet): nothing about this is kept with it. A flow that waits for its own
-- steps is not tied to each: they know their flow.

local FATES = {cancel = 'cancelled', fail = 'failed'}
local MANY = 500
local fresh = {} -- jobs that this script has written since it drew consequences
local ended = {} -- those whose consequences are still to be drawn

-- A step that lives hears of the end of its flow.
local function tie_to_flow(job, place)
  if job.flow then put('tied:' .. job.flow, 's' .. job.id, not FINAL[job.state] and place) end
end

-- A job that is blocked no more waits for nobody.
local function untie(job)
  for _, id in ipairs(members('awaits:' .. job.id)) do put('tied:' .. id, 'w' .. job.id, false) end
  call('DEL', T .. 'awaits:' .. job.id)
end
