#!lua flags=allow-oom
-- Makes a generation the one of a chat, unless the chat has another one of the same turn that may still run.
-- KEYS: chat. ARGV: id, turn or "", id of a generation that has ended or "", time until the key expires.
local known = redis.call('HMGET', KEYS[1], 'id', 'turn', 'closed', 'earlier')
-- The call was sent again.
if known[1] == ARGV[1] then return {'new', known[4]} end
if known[1] and ARGV[2] ~= '' and known[2] == ARGV[2] and not known[3] and known[1] ~= ARGV[3] then
  return {'same', known[1]}
end
local earlier = known[1] or ''
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'id', ARGV[1], 'turn', ARGV[2], 'earlier', earlier)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {'new', earlier}
