//! The viewers of a generation, and the grace after the last one disconnects.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

pub use crate::domain::OnDisconnect;

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
pub struct Audience {
    on_disconnect: OnDisconnect,
    grace: Duration,
    count: Mutex<ViewerCount>,
    last_left: Notify,
}

/// One viewer. Dropping it removes the viewer.
#[derive(Debug)]
pub struct Viewer(Arc<Audience>);

#[derive(Debug)]
struct ViewerCount {
    viewers: usize,
    /// When the last viewer left; meaningful only while there is none.
    empty_since: Instant,
    /// No viewer can join any more: the generation is being ended because it had none.
    closed: bool,
}

enum AudienceState {
    Followed,
    Unfollowed { closes_at: Instant },
    Closed,
}

impl Audience {
    /// Creates an audience without viewers. The grace runs from now.
    pub fn new(on_disconnect: OnDisconnect, grace: Duration) -> Arc<Self> {
        let count = Mutex::new(ViewerCount { viewers: 0, empty_since: Instant::now(), closed: false });
        Arc::new(Self { on_disconnect, grace, count, last_left: Notify::new() })
    }

    /// Adds a viewer. Returns `None` once the generation is abandoned: its terminal event is or will be in the log.
    pub fn join(self: &Arc<Self>) -> Option<Viewer> {
        let mut count = self.lock();
        if count.closed {
            return None;
        }
        count.viewers += 1;
        Some(Viewer(Arc::clone(self)))
    }

    /// Resolves when there has been no viewer for the grace and the generation must end. Never resolves with
    /// [`OnDisconnect::Continue`].
    pub async fn abandoned(&self) {
        if self.on_disconnect == OnDisconnect::Continue {
            return std::future::pending().await;
        }
        loop {
            // Armed before the check, so that a viewer that leaves after it wakes this task.
            let left = self.last_left.notified();
            match self.state() {
                AudienceState::Followed => left.await,
                // A viewer that joins meanwhile is seen at the next check.
                AudienceState::Unfollowed { closes_at } => sleep_until(closes_at).await,
                AudienceState::Closed => return,
            }
        }
    }

    fn state(&self) -> AudienceState {
        let mut count = self.lock();
        let closes_at = count.empty_since + self.grace;
        count.closed |= count.viewers == 0 && closes_at <= Instant::now();
        match count.viewers {
            _ if count.closed => AudienceState::Closed,
            0 => AudienceState::Unfollowed { closes_at },
            _ => AudienceState::Followed,
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
        let audience = Audience::new(OnDisconnect::Cancel, Duration::ZERO);
        let (first, second) = (audience.join(), audience.join());
        let mut abandoned = Box::pin(audience.abandoned());
        assert_eq!((&mut abandoned).now_or_never(), None);
        drop(first);
        assert_eq!((&mut abandoned).now_or_never(), None, "one is still there");
        drop(second);
        assert_eq!(abandoned.now_or_never(), Some(()));
        assert!(audience.join().is_none());
    }

    #[tokio::test]
    async fn a_viewer_that_reconnects_before_the_check_is_in_time() {
        let audience = Audience::new(OnDisconnect::Cancel, Duration::ZERO);
        drop(audience.join());
        let back = audience.join();
        assert_eq!(audience.abandoned().now_or_never(), None);
        drop(back);
        assert_eq!(audience.abandoned().now_or_never(), Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_generation_is_abandoned_when_the_grace_has_passed_and_not_before() {
        let audience = Audience::new(OnDisconnect::Cancel, GRACE);
        let viewer = audience.join();
        advance(GRACE * 3).await;
        drop(viewer);
        assert!(timeout(NEARLY, audience.abandoned()).await.is_err());
        timeout(MOMENT, audience.abandoned()).await.expect("the grace has passed");
        assert!(audience.join().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn each_reconnect_restarts_the_grace() {
        let audience = Audience::new(OnDisconnect::Cancel, GRACE);
        let mut abandoned = Box::pin(audience.abandoned());
        for _ in 0..5 {
            drop(audience.join().expect("in time"));
            assert!(timeout(NEARLY, &mut abandoned).await.is_err());
        }
        let back = audience.join().expect("in time");
        assert!(timeout(GRACE * 2, &mut abandoned).await.is_err(), "one is there");
        drop(back);
        assert!(timeout(NEARLY, &mut abandoned).await.is_err());
        timeout(MOMENT * 2, abandoned).await.expect("the grace has passed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_viewer_that_joins_after_the_grace_is_in_time_until_the_check() {
        let audience = Audience::new(OnDisconnect::Cancel, GRACE);
        drop(audience.join());
        advance(GRACE).await;
        let late = audience.join();
        assert!(late.is_some(), "the audience has not been checked yet");
        assert_eq!(audience.abandoned().now_or_never(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_generation_that_continues_is_never_abandoned() {
        let audience = Audience::new(OnDisconnect::Continue, Duration::ZERO);
        drop(audience.join());
        assert!(timeout(GRACE, audience.abandoned()).await.is_err());
        assert!(audience.join().is_some());
    }
}
