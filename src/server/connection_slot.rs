//! A connection's share of the connection limit, and its eviction.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::Load;
use super::exchange::InFlight;
use super::socket::WriteBacklog;

/// A connection that has been idle for less than this is not evicted.
const MIN_IDLE: Duration = Duration::from_secs(1);

/// One open connection, counted against the connection limit until dropped.
pub(super) struct ConnectionSlot {
    pub open: Arc<()>,
    /// Notified once for each connection above the limit. Idle connections wait for it in the order in which they
    /// became idle.
    pub over_limit: Arc<Notify>,
    /// Number of open connections when this one was accepted.
    pub before: usize,
    pub limit: usize,
}

impl ConnectionSlot {
    /// Returns `Crowded` if the limit was reached when this connection was accepted and still is.
    pub fn load(&self) -> Load {
        if self.before >= self.limit && self.other_connections() >= self.limit { Load::Crowded } else { Load::Normal }
    }

    /// Resolves when this connection must be evicted: it is idle, and more connections are open than the limit allows.
    pub async fn evicted(&self, in_flight: &InFlight, backlog: &WriteBacklog) {
        loop {
            // `MIN_IDLE` protects new connections, which are idle until their request arrives, and responses that
            // HTTP/2's flow control still holds.
            let idle_since = in_flight.idle().await;
            sleep(MIN_IDLE).await;
            self.over_limit.notified().await;
            if self.other_connections() < self.limit {
                continue;
            }
            if in_flight.is_idle_since(idle_since) && !backlog.exists() {
                return;
            }
            // A request arrived in the meantime, or a response is still being written: evict the next idle connection.
            self.over_limit.notify_one();
        }
    }

    /// Returns the number of other connections: excludes this connection's reference and the accept loop's.
    fn other_connections(&self) -> usize {
        Arc::strong_count(&self.open).saturating_sub(2)
    }
}
