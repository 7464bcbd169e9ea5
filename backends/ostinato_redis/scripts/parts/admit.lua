-- Posting: `draft` decides about all jobs and writes nothing, `admit` stores what it decided.

-- What a post comes to: the steps to take and an answer for each job, or nil and the conflict.
local function draft(items)
  local steps, answers, new, taken = {}, {}, {}, {}
  for at, item in ipairs(items) do
    local twin = nil
    local is_known = new[item.id] or known(item.id)
    if not is_known and item.key then
      local other = not taken[item.key] and holder(item.key)
      twin = taken[item.key] or (other and other.id)
    end
    if twin then
      if item.on_conflict == 'raise' then return nil, {item.key, twin} end
      if item.on_conflict == 'replace' then steps[#steps + 1] = {replace = twin, item = item} end
    elseif not is_known then
      new[item.id] = true
      if item.key then taken[item.key] = item.id end
      steps[#steps + 1] = {item = item}
    end
    answers[at] = {twin or item.id, not (twin or is_known)}
  end
  return steps, answers
end

local OPTIONAL = {'promote_at', 'expires_at', 'tags', 'key', 'key_until', 'key_period', 'waits', 'default', 'flow', 'rule'}

local function state_of(item)
  if item.after then return 'blocked' end
  return item.waits and 'waiting' or tonumber(item.run_at) > NOW and 'scheduled' or 'ready'
end

-- What the job's hash says of an item, and of no other; with `absent` for what it does not say.
local function facts_of(item, absent)
  call('HSETNX', T .. 'lanes', item.lane, cmsgpack.pack(INPUT.lanes[item.lane]))
  local facts = {
    job = item.job, lane = item.lane, priority = item.priority, asked = item.priority, run_at = item.run_at,
    state = state_of(item),
  }
  for _, name in ipairs(OPTIONAL) do facts[name] = item[name] or absent end
  if item.tags then facts.tags = cmsgpack.pack(item.tags) end
  return facts
end

-- `unknown`: how jobs ended that it waits for and that are not here.
local function settle_in(job, facts, after, unknown)
  write(job, facts)
  fresh[job.id] = job
  file(job, 1)
  join(job)
  if job.state == 'blocked' then wait_for(job, after, unknown) end
end

-- `fields` are those in which a job of another store is not a new one.
local function insert(item, fields)
  local job, facts = {id = item.id}, facts_of(item)
  local seq = call('HINCRBY', OWN, 'seq', 1)
  facts.seq = seq
  facts.place = string.format('%016.0f', 4503599627370496 + (item.front and -seq or seq)) -- 2^52: sorts as text
  facts.posted = NOW
  for name, value in pairs(fields or {}) do facts[name] = value or nil end
  if item.key and not (fields and holder(item.key)) then call('HSET', T .. 'unique', item.key, item.id) end
  settle_in(job, facts, item.after, not fields and 'succeeded')
end

-- All of a waiting job but its id, its time of posting and its place in line; one that has begun, or that waits for
-- others or for an answer, stays.
local function replace(id, item)
  local job = look(id)
  if tonumber(job.token or 0) > 0 or job.state ~= 'scheduled' and job.state ~= 'ready' then return end
  file(job, -1)
  leave(job)
  abandon(job.lane)
  local facts = facts_of(item, false)
  facts.job = item.in_place[tonumber(job.place) < 4503599627370496 and 2 or 1]
  settle_in(job, facts, item.after, 'succeeded')
end

-- The ids of the new ones.
local function admit(steps)
  local new = {}
  for _, step in ipairs(steps) do
    if step.replace then
      replace(step.replace, step.item)
    else
      insert(step.item)
      new[#new + 1] = step.item.id
    end
  end
  if #steps > 0 then tell('ready') end
  return new
end
