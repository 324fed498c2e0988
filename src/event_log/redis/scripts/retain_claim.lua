#!lua flags=allow-oom
-- Lets the claim on a log expire with it, after another process has closed it. That of a discarded log is kept as that
-- of a lost answer.
-- KEYS: head, claim. ARGV: id, retention.
if redis.call('HGET', KEYS[2], 'id') ~= ARGV[1] then return {'ok'} end
local head = redis.call('HMGET', KEYS[1], 'discard', 'usage')
if head[1] then redis.call('HSET', KEYS[2], 'lost', head[2] or '') end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {'ok'}
