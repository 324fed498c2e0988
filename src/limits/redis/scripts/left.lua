#!lua flags=no-writes
-- Returns for each rate the nanoseconds until its limit is full again.
-- KEYS: rates.
local reply, moment = {'ok'}, micros()
for at = 1, #KEYS do reply[at + 1] = string.format('%.0f', full_in(KEYS[at], moment)) end
return reply
