//! Keeps a copy of another process's log up to date.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::mirror::{LogHead, Mirror, RefreshError, RemovedLogs};
use crate::event_log::TailState;

/// The reads of one log, until it is closed or has no reader.
struct Follower {
    mirror: Weak<Mirror>,
    lease: Duration,
    missing_since: Option<Instant>,
}

/// The wait before a failed read is repeated.
const RETRY: Duration = Duration::from_millis(200);
/// Time after the end of a lease at which the log is read, which closes it if its owner is gone.
const AFTER_LEASE: Duration = Duration::from_millis(20);

/// Reads the log whenever it is announced to have moved, whenever the lease of its owner ends, and after each new
/// connection to Redis.
pub fn follow_log(mirror: &Arc<Mirror>) {
    let store = Arc::clone(mirror.store());
    let mut announced = store.client.subscriptions.subscribe(store.keys.of(mirror.generation()).wakes);
    let mut follower = Follower { mirror: Arc::downgrade(mirror), lease: store.terms.lease, missing_since: None };
    let stop = store.stop.clone();
    let following = async move {
        while let Some(wait) = follower.read().await {
            _ = timeout(wait, announced.next()).await;
        }
    };
    store.tasks.spawn(async move { stop.run_until_cancelled(following).await });
}

impl Follower {
    /// Reads the log; returns how long to wait for the next announcement. `None` at the end.
    ///
    /// A log that is gone may have been lost by Redis: its owner writes it again within the lease.
    async fn read(&mut self) -> Option<Duration> {
        let mirror = self.mirror.upgrade()?;
        match mirror.refresh(RemovedLogs::Readable).await {
            Ok(LogHead { state: TailState::Closed, .. }) => {
                if mirror.tail().is_ok_and(|tail| tail.state == TailState::Open) {
                    // Its end is of a kind that this version does not know.
                    mirror.set_lost();
                }
                None
            }
            Ok(LogHead { lease_left, .. }) => {
                self.missing_since = None;
                Some(lease_left + AFTER_LEASE)
            }
            Err(RefreshError::Missing)
                if self.missing_since.get_or_insert_with(Instant::now).elapsed() > self.lease =>
            {
                mirror.set_lost();
                None
            }
            Err(RefreshError::Missing | RefreshError::Unavailable) => Some(RETRY),
        }
    }
}
