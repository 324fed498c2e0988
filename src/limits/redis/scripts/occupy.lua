#!lua flags=allow-oom
-- Extends the slots of generations, and takes one for each that has none, in their order, as far as there are any.
-- Returns the time until the first slot expires of those that a generation waits for, and an outcome for each one.
-- KEYS: slots in all, and for each generation those of its account.
-- ARGV: lease, limit in all or "", and for each generation: id, limit of its account or "".
local now, lease, in_all = clock(), tonumber(ARGV[1]), ARGV[2]
local reply, expires = {'ok', 0}, math.huge

local function wait_for(set)
  local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
  if first[2] then expires = math.min(expires, first[2] - now) end
end

for at = 2, #KEYS do
  local id, for_account = ARGV[at * 2 - 1], ARGV[at * 2]
  if is_full(KEYS[at], for_account, id, now) then
    wait_for(KEYS[at])
    reply[#reply + 1] = 'account_is_full'
  elseif is_full(KEYS[1], in_all, id, now) then
    wait_for(KEYS[1])
    reply[#reply + 1] = 'full'
  else
    hold(KEYS[1], in_all, id, now, lease)
    hold(KEYS[at], for_account, id, now, lease)
    reply[#reply + 1] = 'granted'
  end
end
reply[2] = expires == math.huge and lease or math.max(1, expires)
return reply
