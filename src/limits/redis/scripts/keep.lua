#!lua flags=allow-oom
-- Moves the expiry of records.
-- KEYS: records. ARGV: lifetime.
for at = 1, #KEYS do redis.call('PEXPIRE', KEYS[at], ARGV[1]) end
return {'ok'}
