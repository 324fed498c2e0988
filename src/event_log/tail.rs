//! The mark of a log's tail, and the readers that wait for it to move.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use super::Wake;
use super::sync::{Mutex, MutexGuard, unpoisoned};
use crate::domain::Sequence;

/// The tail of one log in memory, set by its writer.
///
/// Not tokio's `watch`: that has eight lists of waiters, for many threads, which takes ten times as many instructions
/// for the one reader that a generation usually has.
pub struct TailMark(Arc<Mutex<SharedTail>>);

/// The wake of one reader.
pub struct TailWake {
    shared: Arc<Mutex<SharedTail>>,
    waiting: Option<WaiterIndex>,
}

struct SharedTail {
    tail: Sequence,
    /// The readers that wait for the next move. A reader that is dropped before it leaves its place empty.
    waiters: Waiters,
    /// The number of empty places.
    empty: usize,
    /// Moves so far. A reader whose place is of an earlier move has been woken.
    moves: u64,
}

type Waiters = SmallVec<[Option<Waker>; 2]>;

#[derive(Clone, Copy)]
struct WaiterIndex {
    moves: u64,
    index: usize,
}

impl TailMark {
    pub fn new(tail: Sequence) -> Self {
        Self(Arc::new(Mutex::new(SharedTail { tail, waiters: Waiters::new(), empty: 0, moves: 0 })))
    }

    /// Sets the tail and wakes all waiting readers. The entries up to it must already be readable (contract 4).
    pub fn move_to(&self, tail: Sequence) {
        let waiters = {
            let mut shared = lock(&self.0);
            shared.tail = tail;
            shared.moves += 1;
            shared.empty = 0;
            std::mem::take(&mut shared.waiters)
        };
        for waiter in waiters.into_iter().flatten() {
            waiter.wake();
        }
    }

    pub fn wake(&self) -> TailWake {
        TailWake { shared: Arc::clone(&self.0), waiting: None }
    }
}

impl Wake for TailWake {
    fn poll_moved(&mut self, seen: Sequence, context: &mut Context<'_>) -> Poll<()> {
        let mut shared = lock(&self.shared);
        if shared.tail > seen {
            return Poll::Ready(());
        }
        let replaced = match self.waiting.and_then(|place| shared.waiter(place)) {
            Some(Some(waker)) if waker.will_wake(context.waker()) => None,
            Some(waiter) => waiter.replace(context.waker().clone()),
            None => {
                self.waiting = Some(shared.wait(context.waker().clone()));
                None
            }
        };
        drop(shared);
        // Dropped outside the lock: a waker may own the last reference to a task, whose drop may take this lock.
        drop(replaced);
        Poll::Pending
    }
}

impl SharedTail {
    /// Reuses an empty place before it adds one. Readers that come and go between two moves then take no more memory.
    fn wait(&mut self, waker: Waker) -> WaiterIndex {
        let empty = if self.empty == 0 { None } else { self.waiters.iter().position(Option::is_none) };
        let index = empty.unwrap_or(self.waiters.len());
        match self.waiters.get_mut(index) {
            Some(place) => {
                *place = Some(waker);
                self.empty -= 1;
            }
            None => self.waiters.push(Some(waker)),
        }
        WaiterIndex { moves: self.moves, index }
    }

    fn leave(&mut self, place: WaiterIndex) -> Option<Waker> {
        let waker = self.waiter(place)?.take();
        self.empty += usize::from(waker.is_some());
        waker
    }

    fn waiter(&mut self, place: WaiterIndex) -> Option<&mut Option<Waker>> {
        if place.moves == self.moves { self.waiters.get_mut(place.index) } else { None }
    }
}

impl Drop for TailWake {
    fn drop(&mut self) {
        let waker = self.waiting.and_then(|place| lock(&self.shared).leave(place));
        // Dropped outside the lock, as in `poll_changed`.
        drop(waker);
    }
}

fn lock(shared: &Mutex<SharedTail>) -> MutexGuard<'_, SharedTail> {
    unpoisoned(shared.lock())
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;

    const fn at(sequence: u64) -> Sequence {
        Sequence::new(sequence)
    }

    #[test]
    fn a_move_beyond_the_seen_tail_resolves_at_once_and_no_other_does() {
        let mark = TailMark::new(at(1));
        let waker = noop_waker();
        let context = &mut Context::from_waker(&waker);
        let mut wake = mark.wake();
        assert!(wake.poll_moved(at(1), context).is_pending());
        mark.move_to(at(2));
        mark.move_to(at(3));
        assert!(wake.poll_moved(at(1), context).is_ready());
        assert!(wake.poll_moved(at(2), context).is_ready(), "a tail that the reader has not seen");
        assert!(wake.poll_moved(at(3), context).is_pending());
    }

    #[test]
    fn a_waiting_reader_has_one_place_and_a_dropped_reader_has_none() {
        let mark = TailMark::new(at(1));
        let waker = noop_waker();
        let context = &mut Context::from_waker(&waker);
        let waiting = || lock(&mark.0).waiters.iter().flatten().count();
        let (mut one, mut other) = (mark.wake(), mark.wake());
        for _ in 0..3 {
            assert!(one.poll_moved(at(1), context).is_pending() && other.poll_moved(at(1), context).is_pending());
            assert_eq!(waiting(), 2);
        }
        drop(one);
        assert_eq!(waiting(), 1);
        for _ in 0..3 {
            assert!(mark.wake().poll_moved(at(1), context).is_pending());
        }
        assert_eq!(lock(&mark.0).waiters.len(), 2, "empty places are reused");
        mark.move_to(at(2));
        assert_eq!(waiting(), 0);
        let mut late = mark.wake();
        assert!(late.poll_moved(at(2), context).is_pending());
        // Its place is of an earlier move, so its drop must not free the place of the late reader.
        drop(other);
        assert_eq!(waiting(), 1);
    }
}
