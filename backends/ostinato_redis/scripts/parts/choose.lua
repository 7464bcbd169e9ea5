-- Choosing the jobs to start, best first, by the heads of the lanes that fit.

local function accepts(want, lane)
  local version = want.tasks[lane.task]
  return version and lane.version <= version and lane.slots <= want.capacity
end

-- The lanes with ready jobs that this executor can ever take; or nil, and the names of queues of which the caller
-- has to say first whether its globs match them.
local function fitting(want)
  local lanes, unheard = {}, {}
  for _, digest in ipairs(call('SMEMBERS', T .. 'waiting')) do
    local lane = lane_of(digest)
    local subscribed = want.queues[lane.queue]
    if accepts(want, lane) then
      if subscribed then
        lanes[#lanes + 1] = lane
      elseif subscribed == nil and want.globs then
        unheard[#unheard + 1] = lane.queue
      end
    end
  end
  if #unheard > 0 then return nil, unheard end
  return lanes
end

-- The next ready job of a lane, read a portion at a time.
local function advance(line)
  line.at = line.at + 2
  if not line.heads[line.at] and line.full then
    line.heads = call('ZRANGE', T .. 'ready:' .. line.lane.digest, 0, line.portion - 1, 'WITHSCORES')
    line.full = #line.heads == 2 * line.portion
    line.at = 1
  end
  local head = line.heads[line.at]
  if not head then return false end
  line.id = string.sub(head, 17)
  line.score, line.place = tonumber(line.heads[line.at + 1]), tonumber(string.sub(head, 1, 16))
  return true
end

local function before(one, other)
  if one.score ~= other.score then return one.score < other.score end
  return one.place < other.place
end

local function best_of(lines)
  local best
  for at, line in ipairs(lines) do
    if not best or before(line, lines[best]) then best = at end
  end
  return best
end

local function may_start(lane)
  return not full(lane) and free_at(lane) <= NOW
end

local function start(id, want)
  local job = look_whole(id)
  enter(job, 'running', {
    token = tonumber(job.token or 0) + 1, attempt = tonumber(job.attempt or 0) + 1,
    owner = want.owner, lease = NOW + want.lease, started = NOW,
  })
  count_start(job)
  return row_of(job)
end

local function choose(lanes, want)
  local lines, rows, slots = {}, {}, want.slots
  local portion = math.max(1, math.min(want.count, math.ceil(2 * want.count / math.max(#lanes, 1))))
  for _, lane in ipairs(lanes) do
    local line = {lane = lane, heads = {}, at = 0, portion = portion, full = true}
    if not park(lane) and free_at(lane) <= NOW and advance(line) then lines[#lines + 1] = line end
  end
  while #rows < want.count and #lines > 0 do
    local at = best_of(lines)
    local line = lines[at]
    local may = may_start(line.lane)
    if may and line.lane.slots > slots then break end -- the free slots are kept for it: else lighter ones would starve it
    if may then
      slots = slots - line.lane.slots
      rows[#rows + 1] = start(line.id, want)
      may = advance(line)
    end
    if not may then table.remove(lines, at) end
  end
  return rows
end
