#!lua flags=allow-oom
-- Settles reservations, in the step that removes them. A fence refuses a reservation that arrives later.
-- KEYS: record of the generation, rates. ARGV: settlement ("refund", "keep", "use"), used tokens, step to forget or ""
--   for all of them, lifetime of the fence or 0, and the name of each rate.
local moment = micros()
for at = 2, #KEYS do
  local name = ARGV[at + 3]
  local reserved = redis.call('HGET', KEYS[1], name)
  if reserved then
    local kind, limit, cells = string.match(reserved, '^(%a+) (%d+) (%d+)$')
    if ARGV[1] == 'refund' then
      use(KEYS[at], limit, -cells, moment)
    elseif ARGV[1] == 'use' and kind == 'tokens' then
      use(KEYS[at], limit, ARGV[2] - cells, moment)
    end
    redis.call('HDEL', KEYS[1], name)
  end
end
if ARGV[3] == '' then redis.call('DEL', KEYS[1]) else redis.call('HDEL', KEYS[1], ARGV[3]) end
if ARGV[4] ~= '0' then
  redis.call('HSET', KEYS[1], 'fenced', 1)
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return {'ok'}
