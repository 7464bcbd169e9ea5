-- parts: lane ties job consequences admit

-- As `ostinato.rules.way_out`: a cancel asked for meanwhile wins over another try.
local function outcome(job, told)
  if not job.cancelling then return told.state, told.reason end
  if not FINAL[told.state] then
    return 'cancelled', (job.reason or '') ~= '' and job.reason or told.reason
  end
  if told.reason == '' and told.state == 'cancelled' then return told.state, job.reason or '' end
  return told.state, told.reason
end

-- Whether this very report was applied before.
local function repeated(told)
  local token = call('HGET', job_key(told.id), 'a' .. told.attempt)
  return token and string.match(token, '^%d+') == string.format('%.0f', told.token)
end

insist()
local answers = {}
for at, told in ipairs(INPUT.ends) do
  local job = look(told.id)
  if held_by(job, told.token) then
    local state, reason = outcome(job, told)
    local steps, conflict = draft(state == told.state and told.posts or {})
    if not steps then return done({answers, conflict}) end
    local fields = {
      run_at = told.run_at, priority = told.priority, charged = told.charged, deaths = told.deaths,
      result = told.result, error = told.error, reason = reason, ended = FINAL[state] and NOW or false,
      rule = told.rule or nil,
    }
    fields['a' .. told.attempt] = string.format('%.0f ', told.token) .. told.record
    enter(job, state, fields)
    if not FINAL[state] then tell('ready') end
    admit(steps)
    if state == 'blocked' then wait_for(job, told.after, 'succeeded') end
    answers[at] = true
  else
    answers[at] = job ~= nil and repeated(told) or false
  end
end
return done({answers, false})
