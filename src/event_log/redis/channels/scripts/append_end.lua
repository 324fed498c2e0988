#!lua flags=allow-oom
-- Appends the terminal event of an answer to a channel, also at maxmemory. A repeat of the call appends nothing.
return append(KEYS, ARGV)
