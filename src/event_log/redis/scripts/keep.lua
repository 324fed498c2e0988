#!lua flags=allow-oom
-- Counts the bytes of a log for its account until they expire. Beyond the maximum, refuses a new log of an account that
-- would hold more than its share: the maximum, divided by the accounts that hold something.
-- KEYS: hash id -> "account bytes", sorted set id -> expiry, hash account -> bytes, with "total".
-- ARGV: id, account or "" for a log that is counted already, bytes, time until they expire, maximum or 0.
local id, bytes = ARGV[1], tonumber(ARGV[3])
local now = clock()

local function forget(id)
  local account, held = string.match(redis.call('HGET', KEYS[1], id) or '', '^(%S+) (%d+)$')
  redis.call('HDEL', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
  if not account then return end
  redis.call('HINCRBY', KEYS[3], 'total', '-' .. held)
  if redis.call('HINCRBY', KEYS[3], account, '-' .. held) <= 0 then redis.call('HDEL', KEYS[3], account) end
end

for _, expired in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)) do forget(expired) end
local known = redis.call('HGET', KEYS[1], id)
local account = ARGV[2]
if account == '' then
  if not known then return {'ok'} end
  account = string.match(known, '^%S+')
elseif tonumber(ARGV[5]) > 0 and not known then
  local most, held = tonumber(ARGV[5]), redis.call('HMGET', KEYS[3], 'total', account)
  local accounts = math.max(0, redis.call('HLEN', KEYS[3]) - 1) + (held[2] and 0 or 1)
  if (held[1] or 0) + bytes > most and (held[2] or 0) + bytes > most / accounts then return {'full'} end
end
forget(id)
if bytes > 0 then
  redis.call('HSET', KEYS[1], id, account .. ' ' .. ARGV[3])
  redis.call('ZADD', KEYS[2], now + ARGV[4], id)
  redis.call('HINCRBY', KEYS[3], 'total', ARGV[3])
  redis.call('HINCRBY', KEYS[3], account, ARGV[3])
end
for key = 1, 3 do
  if redis.call('PTTL', KEYS[key]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[key], ARGV[4]) end
end
return {'ok'}
