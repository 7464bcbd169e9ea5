-- parts: lane ties job consequences
local asks = {}

function asks.cancel(job)
  if not FINAL[job.state] then ask_to_end(job, INPUT.reason) end
end

function asks.answer(job)
  if job.state ~= 'waiting' or not nobody_runs(job) then return end
  enter(job, INPUT.error and 'failed' or 'succeeded', {
    ended = NOW, result = INPUT.result, error = INPUT.error, reason = INPUT.reason,
  })
end

function asks.rerun(job)
  local parked = job.state == 'waiting' and not nobody_runs(job)
  if not FINAL[job.state] and not parked then return end
  if job.key then
    local other = holder(job.key)
    if other and other.id ~= job.id then return end
    call('HSET', T .. 'unique', job.key, job.id)
  end
  enter(job, nobody_runs(job) and 'waiting' or 'ready', {
    priority = job.asked, run_at = 0, charged = 0, deaths = 0, reason = INPUT.reason,
    expires_at = call('HEXISTS', job_key(job.id), 'default') == 1 and job.expires_at or false, ended = false, result = false, error = false,
  })
  tell('ready')
end

function asks.forget(job)
  local flow = job.flow and call('HGET', job_key(job.flow), 'state')
  if not FINAL[job.state] or flow and not FINAL[flow] then return end
  leave(job)
  file(job, -1)
  if job.key and call('HGET', T .. 'unique', job.key) == job.id then call('HDEL', T .. 'unique', job.key) end
  call('DEL', job_key(job.id), T .. 'steps:' .. job.id)
  abandon(job.lane)
  job.state = false
end

local answers = {}
for at, id in ipairs(INPUT.ids) do
  local job = look(id)
  local before = job and job.state or false
  if job then asks[INPUT.kind](job) end
  draw_consequences()
  answers[at] = {before, job and job.state or false}
end
return done(answers)
