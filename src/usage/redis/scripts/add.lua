#!lua flags=allow-oom
-- Adds to the sums of rows, unless this batch was added before. A field is a day, a space and the names of a row. Rows
-- of days that are no longer kept are removed. If there is no room for a new row, the callers of the oldest day become
-- one row, and if only the day of the new row is left, it is added to the row of the other callers of its day.
-- KEYS: rows, number of the last batch of the replica.
-- ARGV: number of the batch, lifetime of that number, lifetime of the rows, oldest day that is kept, most rows, and for
--   each row: field, figures.
if redis.call('GET', KEYS[2]) == ARGV[1] then return {'ok'} end
-- The field with the oldest day that is kept.
local OLDEST = '!'
local oldest, most, has_older = ARGV[4], tonumber(ARGV[5]), true

local function others(day) return day .. ' ["others",null,null,"other","other"]' end

local function add(field, figures)
  local before = redis.call('HGET', KEYS[1], field)
  if before then
    local sums, next_figure = {}, string.gmatch(figures, '%d+')
    for figure in string.gmatch(before, '%d+') do
      -- Exact up to 2^53: 9 million dollars of a day and row.
      sums[#sums + 1] = string.format('%.0f', math.min(2 ^ 53 - 1, figure + (next_figure() or 0)))
    end
    figures = table.concat(sums, ' ')
  end
  redis.call('HSET', KEYS[1], field, figures)
end

local function is_row(field) return field ~= OLDEST end

local kept_from = redis.call('HGET', KEYS[1], OLDEST)
if not kept_from or kept_from < oldest then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if is_row(field) and string.sub(field, 1, 10) < oldest then redis.call('HDEL', KEYS[1], field) end
  end
  redis.call('HSET', KEYS[1], OLDEST, oldest)
end

-- Makes one row of the callers of the oldest day before a day.
local function merge_before(day)
  local rows, first = redis.call('HGETALL', KEYS[1]), day
  for at = 1, #rows, 2 do
    local of_row = string.sub(rows[at], 1, 10)
    if is_row(rows[at]) and rows[at] ~= others(of_row) and of_row < first then first = of_row end
  end
  has_older = first < day
  if not has_older then return end
  for at = 1, #rows, 2 do
    if is_row(rows[at]) and string.sub(rows[at], 1, 10) == first and rows[at] ~= others(first) then
      add(others(first), rows[at + 1])
      redis.call('HDEL', KEYS[1], rows[at])
    end
  end
end

for at = 6, #ARGV, 2 do
  local field, day = ARGV[at], string.sub(ARGV[at], 1, 10)
  local function is_full() return redis.call('HLEN', KEYS[1]) > most and redis.call('HEXISTS', KEYS[1], field) == 0 end
  if has_older and is_full() then merge_before(day) end
  if is_full() then field = others(day) end
  if day >= oldest then add(field, ARGV[at + 1]) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'ok'}
