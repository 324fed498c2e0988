#!lua flags=allow-oom
-- Extends the time of subscribers, and removes those whose time has ended. Returns the tail, whether there may be more to
-- remove, and the subscribers that have no entry.
-- KEYS: head, kept, passing, members, leases, order. ARGV: terms, lease, connections.
local terms, head = read_terms(ARGV), load_head(KEYS)
local missing = {}
for at = 9, #ARGV do
  if redis.call('HEXISTS', KEYS[MEMBERS], ARGV[at]) == 1 then
    redis.call('ZADD', KEYS[LEASES], text(head.at + ARGV[8]), ARGV[at])
  else
    missing[#missing + 1] = ARGV[at]
  end
end
local more = purge(KEYS, head, terms)
trim(KEYS, head, terms)
save(KEYS, head, terms)
return {'ok', text(head.tail), more and '1' or '0', unpack(missing)}
