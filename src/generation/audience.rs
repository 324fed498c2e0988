//! Who is listening to a generation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Counts the viewers of one generation, from the acceptance of their requests on.
#[derive(Debug)]
pub struct Audience {
    on_disconnect: OnDisconnect,
    seats: Mutex<Seats>,
    last_left: Notify,
}

/// What becomes of a generation when its last viewer has gone.
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

#[derive(Debug, Default)]
struct Seats {
    taken: usize,
    /// Nobody can join any more: the generation is being ended because nobody was there.
    closed: bool,
}

impl Audience {
    pub fn new(on_disconnect: OnDisconnect) -> Arc<Self> {
        Arc::new(Self { on_disconnect, seats: Mutex::default(), last_left: Notify::new() })
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

    /// Resolves when the last viewer has gone and the generation is to end with that. From then on
    /// nobody can join: leaving last and joining again are decided under one lock.
    pub async fn abandoned(&self) {
        if self.on_disconnect == OnDisconnect::Continue {
            return std::future::pending().await;
        }
        loop {
            // Armed before the look: a leaver who comes after it wakes us.
            let left = self.last_left.notified();
            if self.close_if_empty() {
                return;
            }
            left.await;
        }
    }

    fn close_if_empty(&self) -> bool {
        let mut seats = self.lock();
        seats.closed |= seats.taken == 0;
        seats.closed
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
            self.0.last_left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn the_last_to_leave_ends_it_and_nobody_joins_after() {
        let audience = Audience::new(OnDisconnect::Cancel);
        let (first, second) = (audience.join(), audience.join());
        let mut abandoned = Box::pin(audience.abandoned());
        assert_eq!((&mut abandoned).now_or_never(), None);
        drop(first);
        assert_eq!((&mut abandoned).now_or_never(), None, "one is still there");
        drop(second);
        assert_eq!(abandoned.now_or_never(), Some(()));
        assert!(audience.join().is_none());
    }

    #[test]
    fn one_who_comes_back_before_the_look_is_in_time() {
        let audience = Audience::new(OnDisconnect::Cancel);
        drop(audience.join());
        let back = audience.join();
        assert_eq!(audience.abandoned().now_or_never(), None);
        drop(back);
        assert_eq!(audience.abandoned().now_or_never(), Some(()));
    }

    #[test]
    fn a_generation_that_continues_is_never_abandoned() {
        let audience = Audience::new(OnDisconnect::Continue);
        drop(audience.join());
        assert_eq!(audience.abandoned().now_or_never(), None);
        assert!(audience.join().is_some());
    }
}
