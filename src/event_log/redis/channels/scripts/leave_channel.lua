#!lua flags=allow-oom
-- Removes a subscriber and adds its `left` event. A repeat of the call changes nothing.
-- KEYS: head, kept, passing, members, leases, order. ARGV: terms, connection.
if redis.call('HEXISTS', KEYS[MEMBERS], ARGV[8]) == 0 then return {'ok'} end
local terms, head = read_terms(ARGV), load_head(KEYS)
part(KEYS, head, terms, ARGV[8])
trim(KEYS, head, terms)
save(KEYS, head, terms)
return {'ok'}
