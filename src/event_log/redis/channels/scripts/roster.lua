-- The subscribers of a channel.
--
-- MEMBERS is a hash: connection -> mode ("t" is sent presence events, "p" is present, "x" takes one response) and
-- subscriber; `told`: the number of those with "t"; `last`: the number of the last one that joined. LEASES: connection ->
-- end of its time. ORDER: connection -> number, without those with "x".

local MEMBERS, LEASES, ORDER = 4, 5, 6
-- Members that one call removes because their time has ended.
local MOST_PURGED = 500

local function told(keys) return tonumber(redis.call('HGET', keys[MEMBERS], 'told') or 0) end

-- Adds a presence event if a member receives it.
local function announce(keys, head, terms, name, subscriber)
  if told(keys) <= 0 then return end
  make_room(keys, head, terms, terms.cost)
  add(keys, head, PASSING, '0', terms.cost, name .. redis.call('ZCARD', keys[ORDER]) .. '\n' .. subscriber)
end

local function part(keys, head, terms, connection)
  redis.call('ZREM', keys[LEASES], connection)
  local member = redis.call('HGET', keys[MEMBERS], connection)
  if not member then return end
  redis.call('HDEL', keys[MEMBERS], connection)
  local mode = member:sub(1, 1)
  if mode == 't' then redis.call('HINCRBY', keys[MEMBERS], 'told', -1) end
  if mode == 'x' then return end
  redis.call('ZREM', keys[ORDER], connection)
  announce(keys, head, terms, 'L', member:sub(2))
end

-- Removes members whose time has ended. Returns whether there may be more of them.
local function purge(keys, head, terms)
  local ended = redis.call('ZRANGEBYSCORE', keys[LEASES], '-inf', head.at, 'LIMIT', 0, MOST_PURGED)
  for _, connection in ipairs(ended) do part(keys, head, terms, connection) end
  return #ended == MOST_PURGED
end
