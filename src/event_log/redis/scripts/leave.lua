#!lua flags=allow-oom
-- Removes a replica that has no viewer any more, and notifies the owner if it was the last one.
-- KEYS: head, viewers. ARGV: id, replica, prefix of the replicas' channels.
local head = redis.call('HMGET', KEYS[1], 'st', 'replica')
if redis.call('ZREM', KEYS[2], ARGV[2]) == 0 or head[1] ~= 'open' then return {'ok'} end
local now = clock()
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if redis.call('ZCARD', KEYS[2]) == 0 then
  redis.call('HSET', KEYS[1], 'left', now)
  redis.call('PUBLISH', ARGV[3] .. head[2], 'left ' .. ARGV[1])
end
return {'ok'}
