-- The head of a channel, the addition of events, and the removal of those that are no longer kept.
--
-- An entry has the time of its append (t), its cost in bytes (c), its kind (n: 1 counts towards the history, 0 does not,
-- 2 is a gap in place of an event that did not fit) and the event (b). Its id is its number.

local KEPT, PASSING = 2, 3
local COUNTS, GAP = '1', '2'
-- Events that one call removes because they have expired. The next call removes the rest.
local MOST_EXPIRED = 1000
local FIELDS = {'tail', 'lost', 'lost_counted', 'expired', 'lost_at', 'counted', 'bytes'}
-- The arguments that all scripts have first.
local TERMS = {'retention', 'live', 'history', 'lifetime', 'bytes', 'wakes', 'cost'}

-- Numbers have more digits than Lua writes by default.
local function text(number) return string.format('%.0f', number) end

local function micros()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function read_terms(args)
  local terms = {}
  for at, name in ipairs(TERMS) do terms[name] = tonumber(args[at]) or args[at] end
  return terms
end

-- Returns the head, a new one if there is none. Numbers of a new log are above those of all earlier ones by the clock.
local function load_head(keys)
  local stored = redis.call('HMGET', keys[1], unpack(FIELDS))
  local now = micros()
  local head = {now = now, at = math.floor(now / 1000), evicted = 0}
  for at, name in ipairs(FIELDS) do head[name] = tonumber(stored[at] or 0) end
  if not stored[1] then
    redis.call('DEL', keys[KEPT], keys[PASSING])
    for _, name in ipairs({'tail', 'lost', 'lost_counted', 'expired'}) do head[name] = now end
  end
  head.before = head.tail
  return head
end

local function first(stream)
  local entry = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not entry then return nil end
  local fields = entry[2]
  return {id = entry[1], number = tonumber(entry[1]:match('^%d+')), at = tonumber(fields[2]), cost = tonumber(fields[4]),
    kind = fields[6]}
end

-- Removes the first entry of a stream.
local function remove(keys, head, stream, entry, is_evicted)
  redis.call('XDEL', keys[stream], entry.id)
  head.bytes = head.bytes - entry.cost
  if is_evicted then head.evicted = head.evicted + 1 end
  if stream == PASSING then return end
  if entry.kind == COUNTS then
    head.counted = head.counted - 1
    head.lost_counted = math.max(head.lost_counted, entry.number)
  end
  head.lost = entry.number
  if is_evicted or entry.kind == GAP then head.lost_at = entry.at else head.expired = entry.number end
end

-- Removes the oldest events until the cost fits, or nothing is left.
local function make_room(keys, head, terms, cost)
  while cost <= terms.bytes and head.bytes + cost > terms.bytes do
    local kept, passing = first(keys[KEPT]), first(keys[PASSING])
    if passing and (not kept or passing.number < kept.number) then
      remove(keys, head, PASSING, passing, true)
    elseif kept then
      remove(keys, head, KEPT, kept, kept.kind ~= GAP)
    else
      return
    end
  end
end

-- Removes events older than the retention, events beyond the history and passing ones that are older than `live`, and
-- gaps that no event precedes.
local function trim(keys, head, terms)
  local left = MOST_EXPIRED
  local entry = first(keys[PASSING])
  while entry and left > 0 and head.at - entry.at > terms.live do
    remove(keys, head, PASSING, entry, false)
    entry, left = first(keys[PASSING]), left - 1
  end
  entry = first(keys[KEPT])
  while entry and left > 0 do
    local beyond = head.counted > terms.history or (head.counted == terms.history and entry.kind ~= COUNTS)
    local age = head.at - entry.at
    if entry.kind ~= GAP and age <= terms.retention and not (beyond and age > terms.live) then return end
    remove(keys, head, KEPT, entry, false)
    entry, left = first(keys[KEPT]), left - 1
  end
end

-- Adds an event with the next number, which is not below the clock: an old number is never used again, even if Redis
-- has lost its last writes.
local function add(keys, head, stream, kind, cost, event)
  head.tail = math.max(head.tail + 1, head.now)
  redis.call('XADD', keys[stream], text(head.tail) .. '-0', 't', text(head.at), 'c', text(cost), 'n', kind, 'b', event)
  head.bytes = head.bytes + cost
  if stream == KEPT and kind == COUNTS then head.counted = head.counted + 1 end
end

-- Writes the head, extends the time of the keys, and announces a new tail.
local function save(keys, head, terms)
  local fields = {'v', '1'}
  for _, name in ipairs(FIELDS) do
    fields[#fields + 1] = name
    fields[#fields + 1] = text(head[name])
  end
  redis.call('HSET', keys[1], unpack(fields))
  for _, key in ipairs(keys) do redis.call('PEXPIRE', key, terms.lifetime) end
  if head.tail > head.before then redis.call('PUBLISH', terms.wakes, text(head.tail)) end
end

-- Appends events. KEYS: head, kept, passing, nonces. ARGV: terms, nonce, then stream, kind, cost, event for each.
local function append(keys, args)
  local known = redis.call('ZSCORE', keys[4], args[8])
  if known then return {'ok', text(tonumber(known)), '0'} end
  local terms, head, cost = read_terms(args), load_head(keys), 0
  for at = 9, #args, 4 do cost = cost + args[at + 2] end
  make_room(keys, head, terms, cost)
  for at = 9, #args, 4 do add(keys, head, tonumber(args[at]), args[at + 1], tonumber(args[at + 2]), args[at + 3]) end
  trim(keys, head, terms)
  redis.call('ZADD', keys[4], text(head.tail), args[8])
  -- Far more than the appends that can be unanswered.
  redis.call('ZREMRANGEBYRANK', keys[4], 0, -1001)
  save(keys, head, terms)
  return {'ok', text(head.tail), text(head.evicted)}
end
