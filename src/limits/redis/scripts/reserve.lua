-- Reserves cells of rates, and a slot if one is wanted, or nothing. A repeat of the call finds its own reservation.
-- KEYS: record of the generation, slots in all, slots of the account, rates.
-- ARGV: step, lifetime of the record, what becomes of the slot ("none", "take", "wait", "take or wait", "refuse"), id,
--   limit in all or "", limit of the account or "", lease, and for each rate: name, kind, limit, cells.
local step, slot, id, in_all, for_account = ARGV[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local lease, now, moment = tonumber(ARGV[7]), clock(), micros()
local found = redis.call('HMGET', KEYS[1], 'fenced', step)
if found[1] then return {'fenced'} end
if found[2] then return {found[2]} end

local rates, refusal, is_used_up = {}, {'used_up'}, false
for at = 8, #ARGV, 4 do
  local rate = {key = KEYS[#rates + 4], name = ARGV[at], kind = ARGV[at + 1], limit = ARGV[at + 2], cells = ARGV[at + 3]}
  local nanos = full_in(rate.key, moment)
  rate.after = nanos + rate.cells * interval(rate.limit)
  if tonumber(rate.cells) > 0 and rate.after > rate.limit * interval(rate.limit) then is_used_up = true end
  rates[#rates + 1] = rate
  refusal[#refusal + 1] = string.format('%.0f', nanos)
end
if is_used_up then return refusal end

local outcome = 'ok'
if slot ~= 'none' then
  local account_is_full = is_full(KEYS[3], for_account, id, now)
  local all_is_full = is_full(KEYS[2], in_all, id, now)
  if account_is_full or all_is_full or slot == 'wait' or slot == 'refuse' then
    outcome = account_is_full and 'wait_for_account' or 'wait'
    if slot ~= 'wait' and slot ~= 'take or wait' then return {account_is_full and 'account_is_full' or 'full'} end
  end
end

for _, rate in ipairs(rates) do
  if tonumber(rate.cells) > 0 then set_full_in(rate.key, rate.after, moment) end
  redis.call('HSET', KEYS[1], rate.name, rate.kind .. ' ' .. rate.limit .. ' ' .. rate.cells)
end
-- Without a rate, a repeat finds the slot.
if #rates > 0 then
  redis.call('HSET', KEYS[1], step, outcome)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if slot ~= 'none' and outcome == 'ok' then
  hold(KEYS[2], in_all, id, now, lease)
  hold(KEYS[3], for_account, id, now, lease)
end
return {outcome}
