#!lua flags=allow-oom
-- Stores the first request to end a generation, and notifies its owner.
-- KEYS: head. ARGV: id, reason, prefix of the replicas' channels.
local head = redis.call('HMGET', KEYS[1], 'st', 'replica')
if head[1] == 'open' then
  redis.call('HSETNX', KEYS[1], 'wish', ARGV[2])
  redis.call('PUBLISH', ARGV[3] .. head[2], 'end ' .. ARGV[1] .. ' ' .. redis.call('HGET', KEYS[1], 'wish'))
end
return {'ok'}
