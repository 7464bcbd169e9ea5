-- What follows from the end of a job: see `ties.lua`, and `ostinato.storage` for what holds.

-- The ask `cancel`, for a job that has not ended.
local function ask_to_end(job, reason)
  if job.state == 'running' then
    write(job, {cancelling = 1, reason = reason})
    tell('orders')
  else
    enter(job, 'cancelled', {ended = NOW, reason = reason})
  end
end

-- Of the jobs in `news`, which have ended in these states, the first one that a job awaits which did not succeed.
local function disappointment(job, news)
  local worst, first
  for id, state in pairs(news) do
    local place = state ~= 'succeeded' and tonumber(call('ZSCORE', T .. 'awaits:' .. job.id, id))
    if place and not (first and first < place) then worst, first = id, place end
  end
  return worst
end

-- As `ostinato.rules.consequence`: these jobs have ended in these states, some of which a blocked job waits for.
local function hear(job, news)
  local index, rule, gone = 'awaits:' .. job.id, call('HGET', job_key(job.id), 'rule'), {}
  local failure, first = string.match(rule, '^(%l+) ?(%l*)$')
  flush(index)
  local worst = FATES[failure] and disappointment(job, news)
  if worst then
    local reason = 'it came after job ' .. worst .. ', which is ' .. news[worst]
    return enter(job, FATES[failure], {ended = NOW, reason = reason})
  end
  for id in pairs(news) do gone[#gone + 1] = id end
  local heard = 0
  for at = 1, #gone, MANY do
    heard = heard + call('ZREM', T .. index, unpack(gone, at, math.min(at + MANY - 1, #gone)))
  end
  if first == 'first' and heard > 0 or call('ZCARD', T .. index) == 0 then
    enter(job, first_state(job), {reason = ''})
    tell('ready')
  end
end

-- A blocked job waits from now on, if there still is anything to wait for. `unknown`: how jobs ended that are not here;
-- false if they are to come.
local function wait_for(job, ids, unknown)
  local news, index = {}, 'awaits:' .. job.id
  for at, id in ipairs(ids) do
    local other = fresh[id] or read(id, {'state', 'flow'}) or {state = unknown}
    put(index, id, at)
    if FINAL[other.state] then
      news[id] = other.state
    elseif other.flow ~= job.id then
      put('tied:' .. id, 'w' .. job.id, job.seq)
    end
  end
  hear(job, news)
end

local function tell_of(job, id, news)
  news[id] = news[id] or {}
  news[id][job.id] = job.state
end

-- Adds who is tied to the job: to `news`, by the job that waits, what it hears of; to `steps`, each step with its flow.
local function gather(job, news, steps)
  for _, member in ipairs(members('tied:' .. job.id)) do
    local id = string.sub(member, 2)
    if string.sub(member, 1, 1) == 's' then
      steps[#steps + 1] = {id, job.id}
    else
      put('tied:' .. job.id, member, false)
      tell_of(job, id, news)
    end
  end
end

-- Whether anybody is tied to any of these: mostly nobody is, and one question tells.
local function are_tied(jobs, from, to)
  local keys = {}
  for at = from, to do
    flush('tied:' .. jobs[at].id)
    keys[#keys + 1] = T .. 'tied:' .. jobs[at].id
  end
  return call('EXISTS', unpack(keys)) > 0
end

local function tied_to(jobs)
  local news, steps = {}, {}
  for from = 1, #jobs, MANY do
    local to = math.min(from + MANY - 1, #jobs)
    local are = are_tied(jobs, from, to)
    for at = from, to do
      if jobs[at].flow then tell_of(jobs[at], jobs[at].flow, news) end
      if are then gather(jobs[at], news, steps) end
    end
  end
  return news, steps
end

-- Round by round: what is drawn may end further jobs.
local function draw_consequences()
  while #ended > 0 do
    local round = ended
    ended, fresh = {}, {}
    local news, steps = tied_to(round)
    for id, of in pairs(news) do
      local job = look(id)
      if job and job.state == 'blocked' then hear(job, of) end
    end
    for _, step in ipairs(steps) do
      local job = look(step[1])
      if job and not FINAL[job.state] then ask_to_end(job, 'its flow ' .. step[2] .. ' has ended') end
    end
  end
end

local function done(reply)
  draw_consequences()
  settle()
  return answer(reply)
end
