-- Every script begins with this.
--
-- KEYS[1] is the namespace's own key, `{name}`. All other keys are made from it, so that all of them
-- are in the one slot of a cluster that the call was sent to. KEYS[2] never exists, see `keys.py`.
-- ARGV: the id of the data that the caller knows, the time in microseconds (empty: the server's), and
-- the input in MessagePack.
--
-- Times of ours and counts are numbers, exact up to 2^53 and passed to `call` as they are. They must never
-- be joined to a text by `..`: Lua would write them with 14 digits. Times and priorities that users choose
-- come as texts, are kept so, and are made numbers to be compared.

local call, OWN, T = redis.call, KEYS[1], KEYS[1] .. ':'

if call('HGET', OWN, 'store') ~= ARGV[1] then
  return redis.error_reply('LOST the data that this caller knows')
end

local NOW = tonumber(ARGV[2])
if not NOW then
  local time = call('TIME')
  NOW = time[1] * 1000000 + time[2]
end

local INPUT = cmsgpack.unpack(ARGV[3])

local told = {}

-- Who listens to the channel hears of this script, once it is through.
local function tell(channel)
  told[channel] = true
end

local function answer(reply)
  for channel in pairs(told) do
    redis.pcall('PUBLISH', T .. channel, '') -- who may not publish still may store; others poll
  end
  return cmsgpack.pack(reply)
end

-- When its memory is full, a server refuses the first write of a script if that could need more, and then all is well:
-- nothing was done. Verbs that jobs which run depend on begin with one that needs none, and are let through.
local function insist()
  call('HDEL', OWN, 'nothing')
end
