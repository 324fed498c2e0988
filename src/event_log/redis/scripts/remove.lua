#!lua flags=allow-oom
-- Makes a log unknown. Its readers can read on: the keys expire only after a while, or, if it is open, after its end.
-- KEYS: head, entries, viewers, and the claim if there is one.
-- ARGV: id, what becomes of the claim ("free", "kept" as that of a lost answer).
local id = ARGV[1]
local st = redis.call('HGET', KEYS[1], 'st')
if KEYS[4] and redis.call('HGET', KEYS[4], 'id') == id then
  if ARGV[2] == 'free' then
    -- That of a lost answer stays until its retention ends.
    if redis.call('HEXISTS', KEYS[4], 'lost') == 0 then redis.call('DEL', KEYS[4]) end
  elseif st ~= 'open' then
    redis.call('HSET', KEYS[4], 'lost', redis.call('HGET', KEYS[1], 'usage') or '')
  end
end
if not st then return {'ok'} end
if st == 'open' and ARGV[2] ~= 'free' then
  redis.call('HSET', KEYS[1], 'discard', 1)
  return {'ok'}
end
redis.call('HSET', KEYS[1], 'gone', 1)
if st ~= 'open' then
  for key = 1, 3 do redis.call('PEXPIRE', KEYS[key], READERS) end
end
return {'ok'}
