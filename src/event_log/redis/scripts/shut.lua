#!lua flags=allow-oom
-- Shuts the log to viewers if there was none for the grace; else returns the milliseconds until the next check.
-- KEYS: head, viewers. ARGV: grace, time in which a replica extends its time.
local head = redis.call('HMGET', KEYS[1], 'st', 'door', 'left')
if not head[1] then return {'missing'} end
if head[1] ~= 'open' then return {'ended'} end
if head[2] then return {'shut'} end
local now = clock()
if redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now) > 0 and redis.call('ZCARD', KEYS[2]) == 0 then
  redis.call('HSET', KEYS[1], 'left', now)
  -- After an outage, a replica that still has viewers has not extended its time yet.
  return {'wait', math.max(ARGV[1], ARGV[2])}
end
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if first[2] then return {'wait', math.max(1, first[2] - now)} end
local closes = head[3] + ARGV[1]
if closes > now then return {'wait', closes - now} end
redis.call('HSET', KEYS[1], 'door', 1)
return {'shut'}
