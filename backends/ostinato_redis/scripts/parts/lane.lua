-- Lanes: jobs that are alike to a claim. `lanes` describes them, `counts` has the number of their jobs
-- by state, `waiting` names those with a ready job. `used` sums up what running jobs hold by name.
-- Changes of numbers are gathered and written by `settle`, at the end of the same script.

local described, limited, used = {}, {}, {}
local counted, held = {}, {}

local function lane_of(digest)
  local lane = described[digest]
  if not lane then
    local words = call('HGET', T .. 'lanes', digest)
    local queue, task, version, slots, holds = unpack(cmsgpack.unpack(words))
    lane = {digest = digest, queue = queue, task = task, version = version, slots = slots, holds = holds}
    described[digest] = lane
  end
  return lane
end

local function count(digest, state, step)
  local of = counted[digest]
  if not of then
    of = {}
    counted[digest] = of
  end
  of[state] = (of[state] or 0) + step
end

local function limit_of(name)
  if limited[name] == nil then
    limited[name] = tonumber(call('HGET', T .. 'limits', name) or nil) or false
  end
  return limited[name]
end

local function used_of(name)
  if not used[name] then
    used[name] = tonumber(call('HGET', T .. 'used', name) or 0)
  end
  return used[name]
end

-- Whether one more job of the lane may run. Only a queue is unlimited unless set.
local function fits(lane)
  for name, units in pairs(lane.holds) do
    local limit = limit_of(name)
    if limit and used_of(name) + units > limit then return false end
    if not limit and name ~= 'queue:' .. lane.queue then return false end
  end
  return true
end

local function hold(digest, sign)
  for name, units in pairs(lane_of(digest).holds) do
    used[name] = used_of(name) + sign * units
    held[name] = (held[name] or 0) + sign * units
    if sign < 0 and limit_of(name) then tell('ready') end -- others may have waited for it
  end
end

local function add(key, field, step)
  if step ~= 0 and call('HINCRBY', key, field, step) == 0 then call('HDEL', key, field) end
end

local function settle()
  for digest, of in pairs(counted) do
    for state, step in pairs(of) do add(T .. 'counts', digest .. ':' .. state, step) end
  end
  for name, step in pairs(held) do add(T .. 'used', name, step) end
end

local function done(reply)
  settle()
  return answer(reply)
end
