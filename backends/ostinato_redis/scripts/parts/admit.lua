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

-- What the job's hash says of an item, and of no other.
local function facts_of(item)
  call('HSETNX', T .. 'lanes', item.lane, cmsgpack.pack(INPUT.lanes[item.lane]))
  return {
    job = item.job, lane = item.lane, priority = item.priority, asked = item.priority, run_at = item.run_at,
    promote_at = item.promote_at or false, expires_at = item.expires_at or false,
    tags = item.tags and cmsgpack.pack(item.tags) or false,
    key = item.key or false, key_until = item.key_until or false, key_period = item.key_period or false,
    waits = item.waits or false, default = item.default or false, flow = item.flow or false,
    after = item.after and item.after[1] or false, state = item.after and 'blocked' or first_state(item),
  }
end

-- `fields` are those in which a job of another store is not a new one.
local function insert(item, fields)
  local job, facts = {id = item.id}, facts_of(item)
  local seq = call('HINCRBY', OWN, 'seq', 1)
  facts.seq = seq
  facts.place = string.format('%016.0f', 4503599627370496 + (item.front and -seq or seq)) -- 2^52: sorts as text
  facts.posted = NOW
  for name, value in pairs(fields or {}) do facts[name] = value end
  for name, value in pairs(facts) do
    if value == false then facts[name] = nil end
  end
  if item.key and not (fields and holder(item.key)) then call('HSET', T .. 'unique', item.key, item.id) end
  write(job, facts)
  file(job, 1)
  join(job)
  tie_to_flow(job)
  if job.state == 'blocked' then wait_for(job, item.after[2], not fields and 'succeeded') end
end

-- All of a waiting job but its id, its time of posting and its place in line; one that has begun stays.
local function replace(id, item)
  local job = look(id)
  if tonumber(job.token or 0) > 0 or job.state ~= 'scheduled' and job.state ~= 'ready' then return end
  file(job, -1)
  leave(job)
  untie_from_flow(job)
  abandon(job.lane)
  local facts = facts_of(item)
  facts.job = item.in_place[tonumber(job.place) < 4503599627370496 and 2 or 1]
  write(job, facts)
  file(job, 1)
  join(job)
  tie_to_flow(job)
  if job.state == 'blocked' then wait_for(job, item.after[2], 'succeeded') end
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
