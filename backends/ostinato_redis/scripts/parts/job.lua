-- A job is a hash: its words, its facts, and its ended attempts (`a1`, `a2`, ... with the token under which
-- they were reported, `l1`, `l2`, ... where their logs are). What the indexes depend on is changed by
-- `enter` only, which takes the job out of those of its old state and puts it into those of its new one.
--
--   state:STATE   all jobs by sequence         ended:STATE   final ones by the time of their end
--   ready:LANE    by (-priority, place)        leases        running ones by the end of the lease
--   scheduled     by the time they come due    rising, expiring   unstarted ones by the time it happens
--   timeouts      waiting ones that expire     unique        key -> who took it last
--   tag:TAG, flow:FLOW   by sequence           steps:ID      what is recorded of its steps, by name
--
-- See `ties.lua` for those that are tied to others.

local HIGH = 100

local function job_key(id)
  return T .. 'job:' .. id
end

local function known(id)
  return call('EXISTS', job_key(id)) == 1
end

local function read(id, fields)
  local values = call('HMGET', job_key(id), unpack(fields))
  if not values[1] then return nil end
  local job = {id = id}
  for at, name in ipairs(fields) do job[name] = values[at] or nil end
  return job
end

local function look(id)
  return read(id, FACTS)
end

-- With what `row_of` needs too.
local function look_whole(id)
  return read(id, WHOLE)
end

-- The job as the caller reads it: its id, the fields `ROW` in their order, and of a blocked one what it waits for.
local function row_of(job)
  local values = {job.id}
  for at, name in ipairs(ROW) do values[at + 1] = job[name] or false end
  if job.steps then values[#values] = call('HGETALL', T .. 'steps:' .. job.id) end -- the last one: whether there are any
  if job.state == 'blocked' then
    values[#values + 1] = call('HGET', job_key(job.id), 'rule')
    values[#values + 1] = members('awaits:' .. job.id)
  end
  return values
end

local function row(id)
  return row_of(read(id, ROW))
end

local function held_by(job, token)
  return job ~= nil and job.state == 'running' and tonumber(job.token) == token
end

local function leave(job)
  local state, id = job.state, job.id
  put('state:' .. state, id, false)
  count(job.lane, state, -1)
  if FINAL[state] then
    put('ended:' .. state, id, false)
  elseif state == 'running' then
    put('leases', id, false)
    hold(job.lane, -1)
  else
    if state == 'ready' then
      local line = T .. 'ready:' .. job.lane
      call('ZREM', line, job.place .. id)
      if call('EXISTS', line) == 0 then empty(job.lane) end
    elseif state == 'scheduled' then
      call('ZREM', T .. 'scheduled', id)
    elseif state == 'waiting' then
      call('ZREM', T .. 'timeouts', id)
    end
    if job.promote_at then call('ZREM', T .. 'rising', id) end
    if job.expires_at then call('ZREM', T .. 'expiring', id) end
  end
end

local function join(job)
  local state, id = job.state, job.id
  put('state:' .. state, id, job.seq)
  count(job.lane, state, 1)
  if FINAL[state] then
    put('ended:' .. state, id, job.ended or 0)
    tell('ended')
  elseif state == 'running' then
    put('leases', id, job.lease)
    hold(job.lane, 1)
  else
    if state == 'ready' then
      call('ZADD', T .. 'ready:' .. job.lane, -tonumber(job.priority), job.place .. id)
      call('SADD', T .. 'waiting', job.lane)
    elseif state == 'scheduled' then
      call('ZADD', T .. 'scheduled', job.run_at, id)
    end
    if job.promote_at and tonumber(job.priority) < HIGH then call('ZADD', T .. 'rising', job.promote_at, id) end
    if job.expires_at and tonumber(job.attempt or 0) == 0 then
      call('ZADD', T .. 'expiring', job.expires_at, id)
      if state == 'waiting' then call('ZADD', T .. 'timeouts', job.expires_at, id) end
    end
  end
end

-- Set fields of a job; false removes one.
local function write(job, fields)
  local set, gone = {}, {}
  for name, value in pairs(fields) do
    job[name] = value or nil
    if value == false then
      gone[#gone + 1] = name
    else
      set[#set + 1] = name
      set[#set + 1] = value
    end
  end
  if #set > 0 then call('HSET', job_key(job.id), unpack(set)) end
  if #gone > 0 then call('HDEL', job_key(job.id), unpack(gone)) end
end

-- Whether its kind is among `ostinato.model.WAITING`.
local function nobody_runs(job)
  return call('HEXISTS', job_key(job.id), 'waits') == 1
end

-- The state of a job that waits for no other one: `ostinato.rules.first_state`.
local function first_state(job)
  return nobody_runs(job) and 'waiting' or tonumber(job.run_at) > NOW and 'scheduled' or 'ready'
end

local function enter(job, state, fields)
  local before = job.state
  leave(job)
  if before == 'running' then
    fields.lease = false
    fields.cancelling = false
  elseif before == 'blocked' and state ~= before then
    untie(job)
  end
  fields.state = state
  write(job, fields)
  join(job)
  if FINAL[before] ~= FINAL[state] then tie_to_flow(job, job.seq) end
  if FINAL[state] and not FINAL[before] then ended[#ended + 1] = job end
end

-- The indexes that it is in whatever its state.
local function file(job, step)
  local place = step > 0 and job.seq or false
  for _, name in ipairs(job.tags and cmsgpack.unpack(job.tags) or {}) do put('tag:' .. name, job.id, place) end
  if job.flow then put('flow:' .. job.flow, job.id, place) end
  tie_to_flow(job, place)
end

-- The job that holds a unique key now: who took it last, if it has not given it back.
local function holder(key)
  local id = call('HGET', T .. 'unique', key)
  local job = id and look(id)
  if not job or job.key ~= key then return nil end
  if job.key_period then
    return NOW < tonumber(job.posted) + tonumber(job.key_period) and job or nil
  end
  local begun = tonumber(job.token or 0) > 0
  return not FINAL[job.state] and (job.key_until == 'finished' or not begun) and job or nil
end
