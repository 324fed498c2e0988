//! The viewers of one generation in this process, and the grace after the last one disconnects.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Counts the viewers of one generation, each from the acceptance of its request on.
///
/// ```text
///            the last leaves              the grace passes
///   followed ───────────────▶ unfollowed ─────────────────▶ closed: no viewer can join
///       ▲                         │
///       └──────── one joins ──────┘
/// ```
///
/// Joining and closing are decided under one lock: a client that reconnects as the grace ends either becomes a viewer
/// or finds the terminal event in the log.
#[derive(Debug)]
pub struct Viewers {
    count: Mutex<ViewerCount>,
    last_left: Notify,
}

/// One viewer. Dropping it removes the viewer.
#[derive(Debug)]
pub struct Viewer(Arc<Viewers>);

#[derive(Debug)]
struct ViewerCount {
    viewers: usize,
    /// When the last viewer left; meaningful only while there is none.
    empty_since: Instant,
    /// No viewer can join any more: the generation is being ended because it had none.
    closed: bool,
}

enum ViewersState {
    Followed,
    Unfollowed { closes_at: Instant },
    Closed,
}

impl Viewers {
    /// Creates a count of no viewers. A grace runs from now.
    pub fn new() -> Arc<Self> {
        let count = Mutex::new(ViewerCount { viewers: 0, empty_since: Instant::now(), closed: false });
        Arc::new(Self { count, last_left: Notify::new() })
    }

    /// Adds a viewer. Returns `None` once the log is shut: its terminal event is or will be in the log.
    pub fn join(self: &Arc<Self>) -> Option<Viewer> {
        let mut count = self.lock();
        if count.closed {
            return None;
        }
        count.viewers += 1;
        Some(Viewer(Arc::clone(self)))
    }

    /// Resolves when there has been no viewer for the grace. From then on no viewer can join.
    pub async fn shut_when_empty(&self, grace: Duration) {
        loop {
            // Armed before the check, so that a viewer that leaves after it wakes this task.
            let left = self.last_left.notified();
            match self.state(grace) {
                ViewersState::Followed => left.await,
                // A viewer that joins meanwhile is seen at the next check.
                ViewersState::Unfollowed { closes_at } => sleep_until(closes_at).await,
                ViewersState::Closed => return,
            }
        }
    }

    /// Shuts the log if there is no viewer now. Returns whether it is shut.
    pub fn shut_if_empty(&self) -> bool {
        matches!(self.state(Duration::ZERO), ViewersState::Closed)
    }

    fn state(&self, grace: Duration) -> ViewersState {
        let mut count = self.lock();
        let closes_at = count.empty_since + grace;
        count.closed |= count.viewers == 0 && closes_at <= Instant::now();
        match count.viewers {
            _ if count.closed => ViewersState::Closed,
            0 => ViewersState::Unfollowed { closes_at },
            _ => ViewersState::Followed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, ViewerCount> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut count = self.0.lock();
        count.viewers -= 1;
        if count.viewers == 0 {
            count.empty_since = Instant::now();
            self.0.last_left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::{advance, timeout};

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);
    const NEARLY: Duration = Duration::from_millis(9_999);
    const MOMENT: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn without_grace_the_last_departure_abandons_and_no_viewer_can_join() {
        let viewers = Viewers::new();
        let (first, second) = (viewers.join(), viewers.join());
        let mut abandoned = Box::pin(viewers.shut_when_empty(Duration::ZERO));
        assert_eq!((&mut abandoned).now_or_never(), None);
        drop(first);
        assert_eq!((&mut abandoned).now_or_never(), None, "one viewer is still connected");
        drop(second);
        assert_eq!(abandoned.now_or_never(), Some(()));
        assert!(viewers.join().is_none());
    }

    #[tokio::test]
    async fn a_viewer_that_reconnects_before_the_check_is_in_time() {
        let viewers = Viewers::new();
        drop(viewers.join());
        let back = viewers.join();
        assert_eq!(viewers.shut_when_empty(Duration::ZERO).now_or_never(), None);
        drop(back);
        assert_eq!(viewers.shut_when_empty(Duration::ZERO).now_or_never(), Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_generation_is_abandoned_when_the_grace_has_passed_and_not_before() {
        let viewers = Viewers::new();
        let viewer = viewers.join();
        advance(GRACE * 3).await;
        drop(viewer);
        assert!(timeout(NEARLY, viewers.shut_when_empty(GRACE)).await.is_err());
        timeout(MOMENT, viewers.shut_when_empty(GRACE)).await.expect("the grace has passed");
        assert!(viewers.join().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn each_reconnect_restarts_the_grace() {
        let viewers = Viewers::new();
        let mut abandoned = Box::pin(viewers.shut_when_empty(GRACE));
        for _ in 0..5 {
            drop(viewers.join().expect("in time"));
            assert!(timeout(NEARLY, &mut abandoned).await.is_err());
        }
        let back = viewers.join().expect("in time");
        assert!(timeout(GRACE * 2, &mut abandoned).await.is_err(), "one viewer is connected");
        drop(back);
        assert!(timeout(NEARLY, &mut abandoned).await.is_err());
        timeout(MOMENT * 2, abandoned).await.expect("the grace has passed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_joins_after_the_grace_is_in_time_until_the_check() {
        let viewers = Viewers::new();
        drop(viewers.join());
        advance(GRACE).await;
        let late = viewers.join();
        assert!(late.is_some(), "the viewers have not been checked yet");
        assert_eq!(viewers.shut_when_empty(GRACE).now_or_never(), None);
    }
}
