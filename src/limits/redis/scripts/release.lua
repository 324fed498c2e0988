#!lua flags=allow-oom
-- Frees the slot of a generation, and tells the replicas that have waiting ones.
-- KEYS: slots in all, slots of the account. ARGV: id, channel.
local freed = redis.call('ZREM', KEYS[1], ARGV[1]) + redis.call('ZREM', KEYS[2], ARGV[1])
if freed > 0 then redis.call('PUBLISH', ARGV[2], '') end
return {'ok'}
