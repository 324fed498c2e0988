#!lua flags=allow-oom
-- Frees the claim on a log.
-- KEYS: head, claim. ARGV: id.
if redis.call('HGET', KEYS[2], 'id') == ARGV[1] then redis.call('DEL', KEYS[2]) end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'claim', '') end
return {'ok'}
