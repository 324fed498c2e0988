#!lua flags=no-writes
-- Returns the rows, each with its figures. KEYS: rows. ARGV: the begin of the names of the wanted rows, or "" for all.
local reply, rows = {'ok'}, redis.call('HGETALL', KEYS[1])
for at = 1, #rows, 2 do
  local names = string.sub(rows[at], 12)
  if string.sub(names, 1, #ARGV[1]) == ARGV[1] then
    reply[#reply + 1] = rows[at]
    reply[#reply + 1] = rows[at + 1]
  end
end
return reply
