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
