#!lua flags=allow-oom
-- Returns the number of entries, the number of subscribers, the entry of one, and the first subscribers, after removing
-- those whose time has ended.
-- KEYS: head, kept, passing, members, leases, order. ARGV: terms, connection, most listed.
local oldest = redis.call('ZRANGE', KEYS[LEASES], 0, 0, 'WITHSCORES')
if not oldest[1] then return {'ok', '0', '0', ''} end
if tonumber(oldest[2]) <= clock() then
  local terms, head = read_terms(ARGV), load_head(KEYS)
  purge(KEYS, head, terms)
  save(KEYS, head, terms)
end
local reply = {'ok', text(redis.call('ZCARD', KEYS[LEASES])), text(redis.call('ZCARD', KEYS[ORDER])),
  redis.call('HGET', KEYS[MEMBERS], ARGV[8]) or ''}
local listed = ARGV[9] == '0' and {} or redis.call('ZRANGE', KEYS[ORDER], 0, ARGV[9] - 1)
if #listed == 0 then return reply end
for _, member in ipairs(redis.call('HMGET', KEYS[MEMBERS], unpack(listed))) do reply[#reply + 1] = member or '' end
return reply
