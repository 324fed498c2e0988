-- Appends events to a channel. A repeat of the call appends nothing.
return append(KEYS, ARGV)
