-- Rates: when jobs were started, in `starts:NAME` by time, for names that have a rate. Older starts than a rate
-- asks for are forgotten when it is next looked at.

local any_rate = nil
local rates = {}

-- When the next one may start: once the last `count` starts are not all within the window.
local function look_ahead(rate)
  local before = rate.count - rate.new -- so many of the last ones were recorded by other scripts
  if rate.old < before then
    rate.free_at = NOW
  elseif before <= 0 then
    rate.free_at = NOW + rate.per
  else
    rate.free_at = tonumber(call('ZRANGE', T .. rate.starts, -before, -before, 'WITHSCORES')[2]) + rate.per
  end
end

local function read_rate(name)
  local words = call('HGET', T .. 'rates', name)
  if not words then return false end
  local rate = cjson.decode(words)
  rate.starts, rate.new = 'starts:' .. name, 0
  call('ZREMRANGEBYSCORE', T .. rate.starts, '-inf', NOW - rate.per)
  rate.old = call('ZCARD', T .. rate.starts)
  look_ahead(rate)
  return rate
end

local function rate_of(name)
  if any_rate == nil then any_rate = call('EXISTS', T .. 'rates') == 1 end
  if not any_rate then return false end
  if rates[name] == nil then rates[name] = read_rate(name) end
  return rates[name]
end

-- When the rates let one more job of the lane start.
local function free_at(lane)
  local latest = NOW
  for name in pairs(lane.holds) do
    local rate = rate_of(name)
    if rate then latest = math.max(latest, rate.free_at) end
  end
  return latest
end

local function count_start(job)
  for name in pairs(lane_of(job.lane).holds) do
    local rate = rate_of(name)
    if rate then
      put(rate.starts, job.seq .. ':' .. job.attempt, NOW)
      rate.new = rate.new + 1
      look_ahead(rate)
    end
  end
end

-- When the rates let go of the first job in these lanes that they hold back; nil if they hold back none.
local function held_until(lanes)
  local first
  for _, lane in ipairs(lanes) do
    local at = free_at(lane)
    if at > NOW and call('SISMEMBER', T .. 'waiting', lane.digest) == 1 then first = math.min(first or at, at) end
  end
  return first
end
