#!lua flags=allow-oom
-- Leaves a number empty for an event that did not fit, also at maxmemory. Of gaps without an event between them, the last
-- one stays.
-- KEYS: head, kept, passing, nonces. ARGV: terms, nonce, cost of a gap.
if redis.call('ZSCORE', KEYS[4], ARGV[8]) then return {'ok'} end
local terms, head = read_terms(ARGV), load_head(KEYS)
local last = redis.call('XREVRANGE', KEYS[KEPT], '+', '-', 'COUNT', 1)[1]
if last and last[2][6] == GAP then
  redis.call('XDEL', KEYS[KEPT], last[1])
  head.bytes = head.bytes - last[2][4]
end
add(KEYS, head, KEPT, GAP, tonumber(ARGV[9]), '')
trim(KEYS, head, terms)
redis.call('ZADD', KEYS[4], text(head.tail), ARGV[8])
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1001)
save(KEYS, head, terms)
return {'ok', text(head.tail)}
