#!lua flags=allow-oom
-- Closes a chat, if it still has this generation.
-- KEYS: chat. ARGV: id.
if redis.call('HGET', KEYS[1], 'id') == ARGV[1] then redis.call('HSET', KEYS[1], 'closed', 1) end
return {'ok'}
