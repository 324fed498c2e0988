#!lua flags=allow-oom
-- Reads the events after a number, those that are kept first, after removing what has expired. A log that does not exist
-- is created if that is asked for.
-- KEYS: head, kept, passing. ARGV: terms, number, most events, "create" or "find".
if ARGV[10] == 'find' and redis.call('EXISTS', KEYS[1]) == 0 then return {'missing'} end
local terms, head = read_terms(ARGV), load_head(KEYS)
local is_new = redis.call('EXISTS', KEYS[1]) == 0
local bytes, lost = head.bytes, head.lost
trim(KEYS, head, terms)
if is_new or bytes ~= head.bytes or lost ~= head.lost then save(KEYS, head, terms) end
local upto, entries = head.tail, {}
for stream = KEPT, PASSING do
  local read = redis.call('XRANGE', KEYS[stream], '(' .. ARGV[8] .. '-0', '+', 'COUNT', ARGV[9])
  if #read == tonumber(ARGV[9]) then upto = math.min(upto, tonumber(read[#read][1]:match('^%d+'))) end
  for _, entry in ipairs(read) do entries[#entries + 1] = {entry, stream} end
end
local lost_since = math.max(0, head.at - head.lost_at)
local reply = {'ok', text(upto), text(head.tail), text(head.lost), text(head.lost_counted), text(head.expired), text(lost_since)}
for _, found in ipairs(entries) do
  local id, fields = found[1][1], found[1][2]
  local number = id:match('^%d+')
  if tonumber(number) <= upto then
    for _, value in ipairs({number, text(math.max(0, head.at - fields[2])), fields[4], fields[6], text(found[2]), fields[8]}) do
      reply[#reply + 1] = value
    end
  end
end
return reply
