#!lua flags=allow-oom
-- Makes a replica the owner of a log whose owner is lost, once for each log, if its request permits that. A repeat of the
-- call finds its own takeover. Returns also a request to end the generation, or the end of its grace.
-- KEYS: head, entries, viewers. ARGV: nonce, replica, lease.
local head = redis.call('HMGET', KEYS[1], 'ep', 'tail', 'st', 'ls', 'req', 'took', 'gone', 'own', 'base')
if not head[1] or redis.call('EXISTS', KEYS[2]) == 0 then return {'missing'} end
local now, epoch, tail = clock(), head[1], head[2]
if head[3] ~= 'open' then return {'no'} end
if head[8] == ARGV[1] then
  tail = head[9]
else
  if tonumber(head[4]) > now or not head[5] or head[6] or head[7] then return {'no'} end
  epoch = tostring(head[1] + 1)
  redis.call('HSET', KEYS[1], 'ep', epoch, 'base', tail, 'own', ARGV[1], 'replica', ARGV[2], 'ls', now + ARGV[3], 'took', 1)
end
local ends = redis.call('HMGET', KEYS[1], 'wish', 'door', 'gr', 'left', 'claim')
local wish = ends[1] or (ends[2] and 'abandoned') or ''
if wish == '' and ends[3] ~= '' then
  -- The lost owner has not ended the grace. Viewers that were lost with it have theirs from now on.
  local left = ends[4]
  if redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now) > 0 and redis.call('ZCARD', KEYS[3]) == 0 then
    left = now
    redis.call('HSET', KEYS[1], 'left', now)
  end
  if redis.call('ZCARD', KEYS[3]) == 0 and left + ends[3] < now then
    redis.call('HSET', KEYS[1], 'door', 1)
    wish = 'abandoned'
  end
end
return {'taken', epoch, tail, head[5], wish, ends[5] or ''}
