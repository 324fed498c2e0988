//! Who is listening to a generation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Counts the viewers of one generation, from the acceptance of their requests on.
///
/// ```text
///            the last leaves              the grace passes
///   followed ───────────────▶ unfollowed ─────────────────▶ closed: nobody joins any more
///       ▲                         │
///       └──────── one joins ──────┘
/// ```
///
/// Joining and closing are decided under one lock: who comes back as the grace ends is a viewer, or
/// finds the ending in the log.
#[derive(Debug)]
pub struct Audience {
    on_disconnect: OnDisconnect,
    grace: Duration,
    seats: Mutex<Seats>,
    last_left: Notify,
}

/// What becomes of a generation when its last viewer has been gone for the grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDisconnect {
    /// It ends as `cancelled`, and the upstream connection is closed.
    #[default]
    Cancel,
    /// It runs to its end and stays readable for the retention.
    Continue,
}

/// One viewer's seat; dropping it is leaving.
#[derive(Debug)]
pub struct Viewer(Arc<Audience>);

#[derive(Debug)]
struct Seats {
    taken: usize,
    /// When the last viewer left, while none is there.
    empty_since: Instant,
    /// Nobody can join any more: the generation is being ended because nobody was there.
    closed: bool,
}

enum Attendance {
    Followed,
    Unfollowed { closes_at: Instant },
    Closed,
}

impl Audience {
    /// Without a viewer at first; the grace counts from here.
    pub fn new(on_disconnect: OnDisconnect, grace: Duration) -> Arc<Self> {
        let seats = Mutex::new(Seats { taken: 0, empty_since: Instant::now(), closed: false });
        Arc::new(Self { on_disconnect, grace, seats, last_left: Notify::new() })
    }

    /// Takes a seat. `None` after [`Audience::abandoned`]: the joiner then finds the ending in the log.
    pub fn join(self: &Arc<Self>) -> Option<Viewer> {
        let mut seats = self.lock();
        if seats.closed {
            return None;
        }
        seats.taken += 1;
        Some(Viewer(Arc::clone(self)))
    }

    /// Resolves when nobody has been there for the grace and the generation is to end with that.
    pub async fn abandoned(&self) {
        if self.on_disconnect == OnDisconnect::Continue {
            return std::future::pending().await;
        }
        loop {
            // Armed before the look: a leaver who comes after it wakes us.
            let left = self.last_left.notified();
            match self.attendance() {
                Attendance::Followed => left.await,
                // Who joins meanwhile is seen at the next look.
                Attendance::Unfollowed { closes_at } => sleep_until(closes_at).await,
                Attendance::Closed => return,
            }
        }
    }

    fn attendance(&self) -> Attendance {
        let mut seats = self.lock();
        let closes_at = seats.empty_since + self.grace;
        seats.closed |= seats.taken == 0 && closes_at <= Instant::now();
        match seats.taken {
            _ if seats.closed => Attendance::Closed,
            0 => Attendance::Unfollowed { closes_at },
            _ => Attendance::Followed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut seats = self.0.lock();
        seats.taken -= 1;
        if seats.taken == 0 {
            seats.empty_since = Instant::now();
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
    async fn without_grace_the_last_to_leave_ends_it_and_nobody_joins_after() {
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
    async fn one_who_comes_back_before_the_look_is_in_time() {
        let audience = Audience::new(OnDisconnect::Cancel, Duration::ZERO);
        drop(audience.join());
        let back = audience.join();
        assert_eq!(audience.abandoned().now_or_never(), None);
        drop(back);
        assert_eq!(audience.abandoned().now_or_never(), Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_abandoned_when_the_grace_has_passed_and_not_before() {
        let audience = Audience::new(OnDisconnect::Cancel, GRACE);
        let viewer = audience.join();
        advance(GRACE * 3).await;
        drop(viewer);
        assert!(timeout(NEARLY, audience.abandoned()).await.is_err());
        timeout(MOMENT, audience.abandoned()).await.expect("it is over");
        assert!(audience.join().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn each_return_gives_the_whole_grace_again() {
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
        timeout(MOMENT * 2, abandoned).await.expect("it is over");
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_as_the_grace_ends_is_in_time_until_the_look() {
        let audience = Audience::new(OnDisconnect::Cancel, GRACE);
        drop(audience.join());
        advance(GRACE).await;
        let late = audience.join();
        assert!(late.is_some(), "nobody has looked yet");
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
