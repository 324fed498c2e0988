-- Adds a subscriber and its `joined` event. A repeat of the call finds its entry.
-- KEYS: head, kept, passing, members, leases, order.
-- ARGV: terms, connection, mode, subscriber, lease, most entries, most listed.
local terms, head = read_terms(ARGV), load_head(KEYS)
local connection, mode = ARGV[8], ARGV[9]
purge(KEYS, head, terms)
local tail = head.tail
local is_new = redis.call('HEXISTS', KEYS[MEMBERS], connection) == 0
if is_new and redis.call('ZCARD', KEYS[LEASES]) >= tonumber(ARGV[12]) then
  save(KEYS, head, terms)
  return {'full'}
end
if is_new then
  redis.call('HSET', KEYS[MEMBERS], connection, mode .. ARGV[10])
  if mode ~= 'x' then
    redis.call('ZADD', KEYS[ORDER], redis.call('HINCRBY', KEYS[MEMBERS], 'last', 1), connection)
    announce(KEYS, head, terms, 'J', ARGV[10])
  end
  if mode == 't' then redis.call('HINCRBY', KEYS[MEMBERS], 'told', 1) end
end
redis.call('ZADD', KEYS[LEASES], text(head.at + ARGV[11]), connection)
trim(KEYS, head, terms)
save(KEYS, head, terms)
local reply = {'ok', text(tail), text(redis.call('ZCARD', KEYS[ORDER]))}
if mode ~= 't' then return reply end
local listed = redis.call('ZRANGE', KEYS[ORDER], 0, ARGV[13] - 1)
if #listed == 0 then return reply end
for _, member in ipairs(redis.call('HMGET', KEYS[MEMBERS], unpack(listed))) do reply[#reply + 1] = member or '' end
return reply
