#!lua flags=allow-oom
-- Settles reservations, in the step that removes them. A fence refuses a reservation that arrives later.
-- KEYS: record of the generation, rates and the spending of the account. ARGV: settlement ("refund", "keep", "use"),
--   used tokens, cost in nano-dollars or "" if it is unknown, step to forget or "" for all of them, lifetime of the
--   fence or 0, and the name of each rate, or "budget".
local moment = micros()
for at = 2, #KEYS do
  local name = ARGV[at + 4]
  local reserved = redis.call('HGET', KEYS[1], name)
  if reserved and name == 'budget' then
    local nanos, day, month = string.match(reserved, '^(%d+) (%d+) (%d+)$')
    local cost = ARGV[1] == 'refund' and 0 or tonumber(ARGV[3])
    if cost then spend(KEYS[at], spending(KEYS[at]), tonumber(day), tonumber(month), cost - nanos) end
    redis.call('HDEL', KEYS[1], name)
  elseif reserved then
    local kind, limit, cells = string.match(reserved, '^(%a+) (%d+) (%d+)$')
    if ARGV[1] == 'refund' then
      use(KEYS[at], limit, -cells, moment)
    elseif ARGV[1] == 'use' and kind == 'tokens' then
      use(KEYS[at], limit, ARGV[2] - cells, moment)
    end
    redis.call('HDEL', KEYS[1], name)
  end
end
if ARGV[4] == '' then redis.call('DEL', KEYS[1]) else redis.call('HDEL', KEYS[1], ARGV[4]) end
if ARGV[5] ~= '0' then
  redis.call('HSET', KEYS[1], 'fenced', 1)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
return {'ok'}
