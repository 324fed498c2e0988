//! A table that is asked with each request.

use std::collections::HashMap;

/// A hash table of what no stranger can add to at will: ids that were drawn, settings, those who are here now, the names
/// within one answer. Its hash is a fraction of the standard library's and seeded for each table, and would not hold
/// against one who adds keys of their own for long and measures.
pub type Lookup<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
