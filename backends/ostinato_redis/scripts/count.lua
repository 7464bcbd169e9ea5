-- parts: lane
local counts, found = call('HGETALL', T .. 'counts'), {}
for at = 1, #counts, 2 do
  local digest, state = string.match(counts[at], '^(.-):(.*)$')
  local lane = lane_of(digest)
  found[#found + 1] = {lane.queue, lane.task, lane.version, lane.slots, state, tonumber(counts[at + 1])}
end
return answer(found)
