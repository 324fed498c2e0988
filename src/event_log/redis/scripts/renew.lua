#!lua flags=allow-oom
-- Moves the lease of an owner. A lease of 0 gives the log up.
-- KEYS: head. ARGV: epoch, lease, tail that Redis has acknowledged.
local head = redis.call('HMGET', KEYS[1], 'ep', 'st', 'wish', 'tail')
if not head[1] then return {'lost'} end
if head[1] ~= ARGV[1] then return {'fenced'} end
if head[2] ~= 'open' then return {'closed'} end
if tonumber(head[4]) < tonumber(ARGV[3]) then return {'moved', head[4]} end
redis.call('HSET', KEYS[1], 'ls', clock() + ARGV[2])
return {'ok', head[3] or ''}
