-- Time for the readers of a removed log to read to its end.
local READERS = 60000

-- Starts the retention of a closed log. A log that was removed or discarded before is kept only for its readers.
local function retain(keys, retention, usage, id)
  local head = redis.call('HMGET', keys[1], 'gone', 'discard')
  redis.call('HSET', keys[1], 'usage', usage)
  redis.call('HDEL', keys[1], 'orphan', 'req')
  if keys[4] and redis.call('HGET', keys[4], 'id') == id then
    if head[2] then redis.call('HSET', keys[4], 'lost', usage) end
    redis.call('PEXPIRE', keys[4], retention)
  end
  if head[2] then redis.call('HSET', keys[1], 'gone', 1) end
  local time = (head[1] or head[2]) and READERS or retention
  for key = 1, 3 do redis.call('PEXPIRE', keys[key], time) end
end
