#!lua flags=allow-oom
-- Reads the batches after a position, oldest first. Closes the log first if the lease of its owner has expired, unless a
-- replica may take it over: it has a while for that, from the first read on.
-- KEYS: head, entries, viewers.
-- ARGV: position, most batches, retention, wake channel, whether a removed log is "hidden" or "readable", time for a
--   replica to take it over or 0.
local head = redis.call('HMGET', KEYS[1], 'ep', 'tail', 'st', 'ls', 'orphan', 'claim', 'gone', 'base', 'found', 'took')
if not head[1] or redis.call('EXISTS', KEYS[2]) == 0 then return {'missing'} end
if head[7] and ARGV[5] == 'hidden' then return {'missing'} end
local now, claim = clock(), ''
local is_orphaned = head[3] == 'open' and tonumber(head[4]) <= now
if is_orphaned and ARGV[6] ~= '0' and not head[7] and not head[10] and redis.call('HEXISTS', KEYS[1], 'req') == 1 then
  if not head[9] then redis.call('HSET', KEYS[1], 'found', now) end
  is_orphaned = now - (head[9] or now) > tonumber(ARGV[6])
  if not is_orphaned then head[3] = 'orphaned' end
end
if is_orphaned then
  local epoch, tail = head[1] + 1, head[2] + 1
  redis.call('XADD', KEYS[2], epoch .. '-' .. tail, 'b', head[5])
  redis.call('HSET', KEYS[1], 'ep', epoch, 'base', head[2], 'tail', tail, 'st', 'closed', 'term', head[5])
  retain({KEYS[1], KEYS[2], KEYS[3]}, ARGV[3], '', '')
  redis.call('PUBLISH', ARGV[4], tail)
  head[1], head[2], head[3], head[8], claim = tostring(epoch), tostring(tail), 'closed', head[2], head[6] or ''
end
local entries = redis.call('XRANGE', KEYS[2], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
local reply = {'ok', head[1], head[8], head[2], head[3], math.max(0, head[4] - now), claim}
for _, entry in ipairs(entries) do
  reply[#reply + 1] = entry[1]
  reply[#reply + 1] = entry[2][2]
end
return reply
