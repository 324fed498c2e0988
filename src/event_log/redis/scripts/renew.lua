#!lua flags=allow-oom
-- Moves the lease of an owner. A lease of 0 gives the log up. If it had expired, the log was perhaps found without an owner:
-- it has one again.
-- KEYS: head. ARGV: epoch, lease, tail that Redis has acknowledged.
local head = redis.call('HMGET', KEYS[1], 'ep', 'st', 'wish', 'tail', 'ls')
if not head[1] then return {'lost'} end
if head[1] ~= ARGV[1] then return {'fenced'} end
if head[2] ~= 'open' then return {'closed'} end
if tonumber(head[4]) < tonumber(ARGV[3]) then return {'moved', head[4]} end
local now = clock()
if tonumber(head[5]) <= now then redis.call('HDEL', KEYS[1], 'found') end
redis.call('HSET', KEYS[1], 'ls', now + ARGV[2])
return {'ok', head[3] or ''}
