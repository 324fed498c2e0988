#!lua flags=allow-oom
-- Appends the last batch, which ends with the terminal event, and starts the retention. Also at maxmemory.
-- KEYS: head, entries, viewers, and the claim if there is one.
-- ARGV: epoch, tail, new tail, nonce, batch, terminal event, retention, wake channel, usage, id.
local head = redis.call('HMGET', KEYS[1], 'ep', 'tail', 'st', 'bn', 'term')
if not head[1] or redis.call('EXISTS', KEYS[2]) == 0 then return {'lost'} end
if head[3] ~= 'open' then
  if head[4] == ARGV[4] then return {'ok'} end
  return {'closed', head[5]}
end
if head[1] ~= ARGV[1] then return {'fenced'} end
if head[2] ~= ARGV[2] then return {'moved', head[2]} end
redis.call('XADD', KEYS[2], ARGV[1] .. '-' .. ARGV[3], 'b', ARGV[5])
redis.call('HSET', KEYS[1], 'tail', ARGV[3], 'bn', ARGV[4], 'st', 'closed', 'term', ARGV[6])
retain(KEYS, ARGV[7], ARGV[9], ARGV[10])
redis.call('PUBLISH', ARGV[8], ARGV[3])
return {'ok'}
