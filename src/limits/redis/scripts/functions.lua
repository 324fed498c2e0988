-- The state of a rate is one string: a moment in microseconds, and the nanoseconds from then until its limit is full
-- again. It expires when the limit is full. Each number is below 2^53, so that Lua's arithmetic is exact.
local HOUR = 3600e9

local function micros()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- The nanoseconds in which one cell of a limit per minute is refilled.
local function interval(limit)
  return math.max(1, math.floor(6e10 / limit))
end

-- The nanoseconds until the limit is full again.
local function full_in(key, now)
  local state = redis.call('GET', key)
  if not state then return 0 end
  local at, nanos = string.match(state, '^(%d+) (%d+)$')
  return math.max(0, nanos - math.max(0, now - at) * 1000)
end

local function set_full_in(key, nanos, now)
  if nanos <= 0 then
    redis.call('DEL', key)
  else
    redis.call('SET', key, string.format('%.0f %.0f', now, nanos), 'PX', math.ceil(nanos / 1e6))
  end
end

-- Adds cells to those that are used, or removes them. A debt is at most an hour.
local function use(key, limit, cells, now)
  if cells == 0 then return end
  local before = full_in(key, now)
  set_full_in(key, math.min(before + cells * interval(limit), math.max(before, HOUR)), now)
end

-- A set of slots has the ids of generations by the end of their time. Returns whether a limit leaves no slot for a
-- generation; one that has a slot keeps it.
local function is_full(set, limit, id, now)
  if limit == '' then return false end
  redis.call('ZREMRANGEBYSCORE', set, '-inf', now)
  return not redis.call('ZSCORE', set, id) and redis.call('ZCARD', set) >= tonumber(limit)
end

-- Takes a slot, or extends its time.
local function hold(set, limit, id, now, lease)
  if limit == '' then return end
  redis.call('ZADD', set, now + lease, id)
  redis.call('PEXPIRE', set, math.max(redis.call('PTTL', set), lease))
end

-- The number of the day and of the month, in UTC: days from 1970, and months from March of the year 0, with which the
-- years of this arithmetic begin (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
local function periods(moment)
  local day = math.floor(moment / 86400e6)
  local since = day + 719468
  local era = math.floor(since / 146097)
  local of_era = since - era * 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  return day, (era * 400 + year) * 12 + math.floor((5 * of_year + 2) / 153)
end

-- The spending of an account is a hash: the latest day and month, and the nano-dollars that are spent or reserved in
-- each. They are below 2^53, which are 9 million dollars, so that Lua's arithmetic is exact.
local function spending(key)
  local state = redis.call('HMGET', key, 'day', 'in_day', 'month', 'in_month')
  return {
    day = tonumber(state[1] or 0), in_day = tonumber(state[2] or 0),
    month = tonumber(state[3] or 0), in_month = tonumber(state[4] or 0),
  }
end

-- Begins a new day and month if it is time. A clock that is set back changes nothing.
local function advance(spent, moment)
  local day, month = periods(moment)
  if day > spent.day then spent.day, spent.in_day = day, 0 end
  if month > spent.month then spent.month, spent.in_month = month, 0 end
end

-- Adds an amount, which may be negative, in these periods, unless they are over. Expires when both are over.
local function spend(key, spent, day, month, amount)
  local function sum(before) return math.min(2 ^ 53 - 1, math.max(0, before + amount)) end
  if spent.day == day then spent.in_day = sum(spent.in_day) end
  if spent.month == month then spent.in_month = sum(spent.in_month) end
  redis.call('HSET', key, 'day', spent.day, 'in_day', string.format('%.0f', spent.in_day),
    'month', spent.month, 'in_month', string.format('%.0f', spent.in_month))
  redis.call('PEXPIRE', key, 32 * 86400e3)
end
