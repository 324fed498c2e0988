-- Reserves money of a budget, cells of rates, and a slot if one is wanted, or nothing. A repeat of the call finds its own reservation.
-- KEYS: record of the generation, slots in all, slots of the account, rates, spending of the account if there is a
--   budget.
-- ARGV: step, lifetime of the record, what becomes of the slot ("none", "take", "wait", "take or wait", "refuse"), id,
--   limit in all or "", limit of the account or "", lease, nano-dollars, budget and its period ("day", "month"), or "" without a budget, and
--   for each rate: name, kind, limit, cells.
local step, slot, id, in_all, for_account = ARGV[1], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local lease, now, moment = tonumber(ARGV[7]), clock(), micros()
local found = redis.call('HMGET', KEYS[1], 'fenced', step)
if found[1] then return {'fenced'} end
if found[2] then return {found[2]} end

local wanted, spent = tonumber(ARGV[8]), nil
if wanted then
  spent = spending(KEYS[#KEYS])
  advance(spent, moment)
  local before = ARGV[10] == 'day' and spent.in_day or spent.in_month
  if before + wanted > tonumber(ARGV[9]) then
    return {'over_budget', string.format('%.0f', before), string.format('%.0f', moment)}
  end
end

local rates, refusal, is_used_up = {}, {'used_up'}, false
for at = 11, #ARGV, 4 do
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
if wanted then
  spend(KEYS[#KEYS], spent, spent.day, spent.month, wanted)
  redis.call('HSET', KEYS[1], 'budget', string.format('%.0f %.0f %.0f', wanted, spent.day, spent.month))
end
-- Without a rate and a budget, a repeat finds the slot.
if #rates > 0 or wanted then
  redis.call('HSET', KEYS[1], step, outcome)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if slot ~= 'none' and outcome == 'ok' then
  hold(KEYS[2], in_all, id, now, lease)
  hold(KEYS[3], for_account, id, now, lease)
end
return {outcome}
