-- Appends a batch if the log has this epoch and tail, and moves the lease. If that had expired, the log was perhaps found
-- without an owner: it has one again.
-- KEYS: head, entries. ARGV: epoch, tail, new tail, nonce, batch, lease, wake channel.
local head = redis.call('HMGET', KEYS[1], 'ep', 'tail', 'st', 'bn', 'wish', 'ls')
if not head[1] or redis.call('EXISTS', KEYS[2]) == 0 then return {'lost'} end
if head[1] ~= ARGV[1] then return {'fenced'} end
if head[3] ~= 'open' then return {'closed'} end
if head[4] == ARGV[4] then return {'ok', head[5] or ''} end
if head[2] ~= ARGV[2] then return {'moved', head[2]} end
redis.call('XADD', KEYS[2], ARGV[1] .. '-' .. ARGV[3], 'b', ARGV[5])
local now = clock()
if tonumber(head[6]) <= now then redis.call('HDEL', KEYS[1], 'found') end
redis.call('HSET', KEYS[1], 'tail', ARGV[3], 'bn', ARGV[4], 'ls', now + ARGV[6])
redis.call('PUBLISH', ARGV[7], ARGV[3])
return {'ok', head[5] or ''}
