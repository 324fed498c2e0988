//! A hash table for lookups with each request.

use std::collections::HashMap;

/// A `HashMap` with foldhash, seeded for each table, which costs a fraction of the standard library's hash. Not
/// HashDoS-resistant against a client that adds chosen keys for long and measures. Use it only for keys that clients
/// cannot add at will: random ids, settings, connected clients, the names within one answer.
pub type Lookup<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
