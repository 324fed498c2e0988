-- Takes one cell of a rate. Returns the nanoseconds until its limit is full again.
-- KEYS: rate. ARGV: limit.
local limit, moment = tonumber(ARGV[1]), micros()
local nanos = full_in(KEYS[1], moment)
local after = nanos + interval(limit)
if after > limit * interval(limit) then return {'used_up', string.format('%.0f', nanos)} end
set_full_in(KEYS[1], after, moment)
return {'ok', string.format('%.0f', after)}
