//! The port to the other replicas of the deployment.

use futures_util::future::BoxFuture;

use crate::domain::ConnectionId;

/// The other replicas, whose connections are not in the table of this one.
pub trait OtherReplicas: Send + Sync {
    /// Closes a connection of another replica. Returns whether one of them has it.
    fn close_connection(&self, id: ConnectionId) -> BoxFuture<'static, Result<bool, ReplicasUnavailable>>;
}

/// The other replicas cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the other replicas cannot be asked")]
pub struct ReplicasUnavailable;
