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
  for _, id in ipairs(due('expiring')) do
    local job = look_whole(id)
    local default = call('HGET', job_key(id), 'default')
    if default then
      enter(job, 'succeeded', {ended = NOW, result = default})
    else
      enter(job, 'expired', {ended = NOW})
      expired[#expired + 1] = row_of(job)
    end
  end
  draw_consequences()
  for _, id in ipairs(due('rising')) do
    local job = look(id)
    enter(job, job.state, {priority = HIGH})
  end
  for _, id in ipairs(due('scheduled')) do
    enter(look(id), 'ready', {})
  end
  return expired
end

-- The time of the first job in the index: its score is not exact, the field is.
local function first_of(index, field)
  local id = call('ZRANGE', T .. index, 0, 0)[1]
  return id and tonumber(call('HGET', job_key(id), field)) or math.huge
end

-- When something can start that cannot now: in these lanes, what is scheduled, or what comes after a waiting job.
local function next_start(lanes)
  local at = math.min(first_of('scheduled', 'run_at'), first_of('timeouts', 'expires_at'), held_until(lanes) or math.huge)
  return at < math.huge and at
end
