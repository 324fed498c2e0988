-- Makes a log with its claim and its first viewer. A repeat of the call finds its own log. A log that Redis has lost is
-- made again with all its entries, and without its claim if that is taken meanwhile.
-- KEYS: head, entries, viewers, and the claim if there is one.
-- ARGV: id, nonce, replica, start, orphan, lease, lifetime, viewer lease, claim key or "", fingerprint, replaced, the
--   recorded request or "", its grace or "", and for a lost log: tail, batch of the entries after the start, wake
--   channel.
local id, nonce, replica = ARGV[1], ARGV[2], ARGV[3]
if redis.call('HGET', KEYS[1], 'own') == nonce and redis.call('EXISTS', KEYS[2]) == 1 then return {'made'} end
local claims = KEYS[4] ~= nil
if KEYS[4] then
  local claim = redis.call('HMGET', KEYS[4], 'id', 'fp', 'lost')
  if claim[1] and claim[1] ~= id and claim[1] ~= ARGV[11] then
    claims = false
    if not ARGV[14] then
      if claim[2] ~= ARGV[10] then return {'conflict'} end
      if claim[3] then return {'answer_lost', claim[3]} end
      return {'known', claim[1]}
    end
  end
end
local now = clock()
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('XADD', KEYS[2], '1-1', 'b', ARGV[4])
if ARGV[14] and ARGV[14] ~= '1' then redis.call('XADD', KEYS[2], '1-' .. ARGV[14], 'b', ARGV[15]) end
redis.call('HSET', KEYS[1], 'v', 1, 'ep', 1, 'base', 0, 'tail', ARGV[14] or 1, 'st', 'open', 'own', nonce, 'replica', replica,
  'bn', nonce, 'ls', now + ARGV[6], 'orphan', ARGV[5], 'left', now, 'claim', ARGV[9])
if ARGV[12] ~= '' then redis.call('HSET', KEYS[1], 'req', ARGV[12], 'gr', ARGV[13]) end
redis.call('ZADD', KEYS[3], now + ARGV[8], replica)
for key = 1, 3 do redis.call('PEXPIRE', KEYS[key], ARGV[7]) end
if claims then
  redis.call('HSET', KEYS[4], 'id', id, 'fp', ARGV[10])
  redis.call('HDEL', KEYS[4], 'lost')
  redis.call('PEXPIRE', KEYS[4], ARGV[7])
end
if ARGV[14] then redis.call('PUBLISH', ARGV[16], ARGV[14]) end
return {'made'}
