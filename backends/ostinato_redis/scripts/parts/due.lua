-- What time brings: scheduled jobs come due, jobs near their deadline rise, others expire.

local PORTION = 1000 -- of each kind in one script: should a million come due at once, others get their turn

local function due(index)
  return call('ZRANGEBYSCORE', T .. index, '-inf', NOW, 'LIMIT', 0, PORTION)
end

local function is_due()
  for _, index in ipairs({'expiring', 'rising', 'scheduled'}) do
    if #call('ZRANGEBYSCORE', T .. index, '-inf', NOW, 'LIMIT', 0, 1) > 0 then return true end
  end
  return false
end

-- The rows of the expired.
local function pass_time()
  local expired = {}
  for at, id in ipairs(due('expiring')) do
    local job = look_whole(id)
    enter(job, 'expired', {ended = NOW})
    expired[at] = row_of(job)
  end
  for _, id in ipairs(due('rising')) do
    local job = look(id)
    enter(job, job.state, {priority = HIGH})
  end
  for _, id in ipairs(due('scheduled')) do
    enter(look(id), 'ready', {})
  end
  return expired
end

-- When something can start that cannot now: in these lanes, or what is scheduled.
local function next_start(lanes)
  local id = call('ZRANGE', T .. 'scheduled', 0, 0)[1]
  local scheduled, held = id and tonumber(call('HGET', job_key(id), 'run_at')), held_until(lanes)
  return scheduled and held and math.min(scheduled, held) or scheduled or held or false
end
