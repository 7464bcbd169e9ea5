-- parts: lane ties job
-- One step of a search: it looks at no more than `BOUND` jobs and says where it stopped, so that others get their turn.
-- `INPUT.after` is the sequence behind which to go on.
local CHUNK, BOUND = 250, 1000

local function set_of(names)
  local found = {}
  for _, name in ipairs(names) do found[name] = true end
  return #names > 0 and found or false
end

local states, tasks, queues = set_of(INPUT.states), set_of(INPUT.tasks), set_of(INPUT.queues)

local function matches(id)
  local state, digest, owner, ended_at, flow = unpack(call('HMGET', job_key(id), 'state', 'lane', 'owner', 'ended', 'flow'))
  if not state or (states and not states[state]) then return false end
  if INPUT.owner and owner ~= INPUT.owner then return false end
  if INPUT.flow and flow ~= INPUT.flow then return false end
  if INPUT.ended_before and not (ended_at and tonumber(ended_at) < INPUT.ended_before) then return false end
  if tasks and not tasks[lane_of(digest).task] then return false end
  if queues and not queues[lane_of(digest).queue] then return false end
  return not INPUT.tag or call('ZSCORE', T .. 'tag:' .. INPUT.tag, id) ~= false
end

local BRIEF = {'job', 'state', 'attempt', 'result', 'error', 'reason'}

-- What is asked for of a job.
local function told(id)
  if not INPUT.brief then return row(id) end
  return {id, unpack(call('HMGET', job_key(id), unpack(BRIEF)))}
end

local function in_order(one, other)
  if INPUT.oldest_first then return one[1] < other[1] end
  return one[1] > other[1]
end

local function behind(seq, after)
  return not after or in_order({after}, {seq})
end

-- Of all these indexes the first jobs behind `after`, as {sequence, id}.
local function read(indexes, after)
  local found = {}
  for _, index in ipairs(indexes) do
    local verb, from, to = 'ZREVRANGEBYSCORE', after and '(' .. string.format('%.0f', after) or '+inf', '-inf'
    if INPUT.oldest_first then
      verb, from, to = 'ZRANGEBYSCORE', after and '(' .. string.format('%.0f', after) or '-inf', '+inf'
    end
    local some = call(verb, T .. index, from, to, 'WITHSCORES', 'LIMIT', 0, CHUNK)
    for at = 1, #some, 2 do found[#found + 1] = {tonumber(some[at + 1]), some[at]} end
  end
  table.sort(found, in_order)
  return found
end

-- The jobs that are named, or that are known to be few, sorted; nil if indexes must be read.
local function few()
  local ids = INPUT.ids
  if not ids and INPUT.ended_before then
    ids = {}
    for _, state in ipairs(STATES) do
      if FINAL[state] and (not states or states[state]) then
        local bound = '(' .. string.format('%.0f', INPUT.ended_before)
        for _, id in ipairs(call('ZRANGEBYSCORE', T .. 'ended:' .. state, '-inf', bound, 'LIMIT', 0, BOUND)) do
          ids[#ids + 1] = id
        end
      end
    end
    if #ids >= BOUND then return nil end
  end
  if not ids then return nil end
  local found = {}
  for _, id in ipairs(ids) do
    local seq = tonumber(call('HGET', job_key(id), 'seq') or nil)
    if seq and behind(seq, INPUT.after) then found[#found + 1] = {seq, id} end
  end
  table.sort(found, in_order)
  return found
end

local function indexes()
  if INPUT.flow then return {'flow:' .. INPUT.flow} end
  if INPUT.tag then return {'tag:' .. INPUT.tag} end
  local names = {}
  for _, state in ipairs(#INPUT.states > 0 and INPUT.states or STATES) do names[#names + 1] = 'state:' .. state end
  return names
end

local rows, examined, after = {}, 0, INPUT.after
local chosen = few()
local ends = chosen ~= nil
local from = indexes()
repeat
  local some = chosen or read(from, after)
  ends = ends or #some == 0
  for at = 1, chosen and #some or math.min(#some, CHUNK) do
    after = some[at][1]
    examined = examined + 1
    if matches(some[at][2]) then rows[#rows + 1] = {after, told(some[at][2])} end
    if #rows >= INPUT.limit then return answer({rows, after, true}) end
  end
until ends or examined >= BOUND
return answer({rows, after or false, ends})
