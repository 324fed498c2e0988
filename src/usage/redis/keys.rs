//! The names of the keys of the sums in Redis.

use std::sync::Arc;

use crate::domain::ReplicaId;

/// Names keys with one prefix and one hash tag of Redis Cluster.
#[derive(Debug, Clone)]
pub struct SumKeys {
    /// What all names begin with.
    begin: Arc<str>,
}

impl SumKeys {
    pub fn new(prefix: &str) -> Self {
        Self { begin: format!("{prefix}:{{{prefix}.usage}}:").into() }
    }

    /// Hash: the sums of each row.
    pub fn rows(&self) -> String {
        format!("{}s", self.begin)
    }

    /// String: the number of the last batch that a replica has added.
    pub fn batch(&self, replica: ReplicaId) -> String {
        format!("{}b:{replica}", self.begin)
    }
}
