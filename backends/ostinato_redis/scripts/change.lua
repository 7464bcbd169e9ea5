-- parts: lane job
local asks = {}

function asks.cancel(job)
  if job.state == 'running' then
    write(job, {cancelling = 1, reason = INPUT.reason})
    tell('orders')
  elseif not FINAL[job.state] then
    enter(job, 'cancelled', {ended = NOW, reason = INPUT.reason})
  end
end

function asks.rerun(job)
  if not FINAL[job.state] then return end
  if job.key then
    local other = holder(job.key)
    if other and other.id ~= job.id then return end
    call('HSET', T .. 'unique', job.key, job.id)
  end
  enter(job, 'ready', {
    priority = job.asked, run_at = 0, charged = 0, deaths = 0, reason = INPUT.reason,
    expires_at = false, ended = false, result = false, error = false,
  })
  tell('ready')
end

function asks.forget(job)
  if not FINAL[job.state] then return end
  leave(job)
  tag(job, -1)
  if job.key and call('HGET', T .. 'unique', job.key) == job.id then call('HDEL', T .. 'unique', job.key) end
  call('DEL', job_key(job.id))
  abandon(job.lane)
  job.state = false
end

local answers = {}
for at, id in ipairs(INPUT.ids) do
  local job = look(id)
  local before = job and job.state or false
  if job then asks[INPUT.kind](job) end
  answers[at] = {before, job and job.state or false}
end
return done(answers)
