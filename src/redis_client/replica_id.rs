//! The id of one process.

use crate::domain::ConnectionId;

/// Identifies one process among those that share a Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaId(String);

impl ReplicaId {
    pub fn random() -> Self {
        // An id of a connection has as many random bits as are needed here.
        Self(ConnectionId::random().to_string())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
