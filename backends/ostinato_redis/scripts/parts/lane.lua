-- Lanes: jobs that are alike to a claim. `lanes` describes them, `counts` has the number of their jobs
-- by state. Those with a ready job are in `waiting`, or, once a claim has found no room for them, in `parked:NAME` until
-- something of what is full comes free: so that a claim looks at few. `used` sums up what running jobs hold by name.
-- Changes of numbers, and of indexes that are not read again, are gathered and written by `settle`, at the end
-- of the same script: many jobs at once are a few commands then.

local UNBOUNDED = {['queue:'] = true, ['task:'] = true, ['key:'] = true}
local described, limited, used = {}, {}, {}
local counted, held, indexed, abandoned = {}, {}, {}, {}

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

-- A job of the lane is gone for good, perhaps its last.
local function abandon(digest)
  abandoned[digest] = true
end

-- Lanes without a job are forgotten with their last.
local function prune(digest)
  for _, state in ipairs(STATES) do
    if call('HEXISTS', T .. 'counts', digest .. ':' .. state) == 1 then return end
  end
  call('HDEL', T .. 'lanes', digest)
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
  return used[name] + (held[name] or 0)
end

-- As `ostinato.rules.unbounded`.
local function unbounded(name)
  return UNBOUNDED[string.match(name, '^%l+:')]
end

-- What leaves no room for one more job of the lane, if anything does.
local function full(lane)
  for name, units in pairs(lane.holds) do
    local limit = limit_of(name)
    if limit and used_of(name) + units > limit then return name end
    if not limit and not unbounded(name) then return name end
  end
  return nil
end

-- Put the lane aside, if there is no room for it.
local function park(lane)
  local name = full(lane)
  if name then call('SMOVE', T .. 'waiting', T .. 'parked:' .. name, lane.digest) end
  return name ~= nil
end

-- There may be room again.
local function unpark(name)
  local lanes = call('SMEMBERS', T .. 'parked:' .. name)
  if #lanes == 0 then return end
  call('DEL', T .. 'parked:' .. name)
  for at = 1, #lanes, 1000 do call('SADD', T .. 'waiting', unpack(lanes, at, math.min(at + 999, #lanes))) end
end

-- The lane has no ready job any more.
local function empty(digest)
  call('SREM', T .. 'waiting', digest)
  for name in pairs(lane_of(digest).holds) do
    if limit_of(name) or not unbounded(name) then call('SREM', T .. 'parked:' .. name, digest) end
  end
end

local function hold(digest, sign)
  for name, units in pairs(lane_of(digest).holds) do
    held[name] = (held[name] or 0) + sign * units
    if sign < 0 and limit_of(name) then -- others may have waited for it
      unpark(name)
      tell('ready')
    end
  end
end

local function add(key, field, step)
  if step ~= 0 and call('HINCRBY', key, field, step) == 0 then call('HDEL', key, field) end
end

-- Put a member of an index at this place, or take it out (false). The last word counts.
local function put(index, member, score)
  local of = indexed[index]
  if not of then
    of = {}
    indexed[index] = of
  end
  of[member] = score
end

local function write_index(index, of)
  local gone, there = {}, {}
  for member, score in pairs(of) do
    if score then
      there[#there + 1] = score
      there[#there + 1] = member
    else
      gone[#gone + 1] = member
    end
  end
  for at = 1, #gone, 1000 do call('ZREM', T .. index, unpack(gone, at, math.min(at + 999, #gone))) end
  for at = 1, #there, 1000 do call('ZADD', T .. index, unpack(there, at, math.min(at + 999, #there))) end
end

-- What was gathered of an index that is to be read now.
local function flush(index)
  if indexed[index] then write_index(index, indexed[index]) end
  indexed[index] = nil
end

local function members(index)
  flush(index)
  return call('ZRANGE', T .. index, 0, -1)
end

local function settle()
  for index, of in pairs(indexed) do write_index(index, of) end
  for digest, of in pairs(counted) do
    for state, step in pairs(of) do add(T .. 'counts', digest .. ':' .. state, step) end
  end
  for name, step in pairs(held) do add(T .. 'used', name, step) end
  for digest in pairs(abandoned) do prune(digest) end
end
