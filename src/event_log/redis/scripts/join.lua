#!lua flags=allow-oom
-- Adds a replica to those that have viewers, or extends its time, unless the log is shut to viewers.
-- KEYS: head, viewers. ARGV: replica, viewer lease.
local head = redis.call('HMGET', KEYS[1], 'st', 'door')
if not head[1] then return {'missing'} end
if head[1] ~= 'open' or head[2] then return {'ended'} end
redis.call('ZADD', KEYS[2], clock() + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], math.max(redis.call('PTTL', KEYS[1]), 1))
return {'ok'}
