//! A log's tail, and the readers that wait for it to move.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use super::sync::{Mutex, MutexGuard, unpoisoned};
use super::{Tail, TailState};

/// The writer's end: sets the tail and wakes the readers.
///
/// Not tokio's `watch`: that has eight lists of waiters, for many threads, which takes ten times as many instructions
/// for the one reader that a generation usually has.
pub struct TailWriter(Arc<Mutex<SharedTail>>);

/// One reader's view of a log's tail. The tail at its creation counts as seen.
pub struct TailReader {
    shared: Arc<Mutex<SharedTail>>,
    seen: Tail,
    waiting: Option<WaiterIndex>,
}

struct SharedTail {
    tail: Tail,
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

impl TailWriter {
    pub fn new(tail: Tail) -> Self {
        Self(Arc::new(Mutex::new(SharedTail { tail, waiters: Waiters::new(), empty: 0, moves: 0 })))
    }

    /// Sets the tail and wakes all waiting readers. The entries up to it must already be readable (contract 4).
    pub fn move_to(&self, tail: Tail) {
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

    pub fn reader(&self) -> TailReader {
        TailReader { shared: Arc::clone(&self.0), seen: lock(&self.0).tail, waiting: None }
    }
}

impl TailReader {
    /// Returns the tail and marks it as seen.
    pub fn look(&mut self) -> Tail {
        self.seen = lock(&self.shared).tail;
        self.seen
    }

    /// Returns the tail without marking it as seen.
    pub fn get(&self) -> Tail {
        lock(&self.shared).tail
    }

    /// Waits until the tail differs from the one that was seen, and marks it as seen.
    pub async fn changed(&mut self) -> Tail {
        poll_fn(|context| self.poll_changed(context)).await
    }

    /// Waits for a tail that satisfies the predicate.
    pub async fn until(&mut self, wished: impl Fn(&Tail) -> bool) {
        let mut tail = self.look();
        while !wished(&tail) {
            tail = self.changed().await;
        }
    }

    /// Waits until the log is closed.
    pub async fn closed(&mut self) {
        self.until(|tail| tail.state == TailState::Closed).await;
    }

    pub fn poll_changed(&mut self, context: &Context<'_>) -> Poll<Tail> {
        let mut shared = lock(&self.shared);
        if shared.tail != self.seen {
            self.seen = shared.tail;
            return Poll::Ready(shared.tail);
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

impl Drop for TailReader {
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
    use futures_util::FutureExt;
    use futures_util::task::noop_waker;

    use super::*;
    use crate::domain::Sequence;

    fn at(sequence: u64) -> Tail {
        Tail { sequence: Sequence::new(sequence), state: TailState::Open }
    }

    #[test]
    fn a_move_is_seen_once_and_none_is_missed() {
        let writer = TailWriter::new(at(1));
        let mut reader = writer.reader();
        assert_eq!(reader.changed().now_or_never(), None);
        writer.move_to(at(2));
        writer.move_to(at(3));
        assert_eq!(reader.changed().now_or_never(), Some(at(3)));
        assert_eq!(reader.changed().now_or_never(), None);
        writer.move_to(at(4));
        assert_eq!(reader.look(), at(4));
        assert_eq!(reader.changed().now_or_never(), None, "the tail was seen");
    }

    #[test]
    fn a_waiting_reader_has_one_place_and_a_dropped_reader_has_none() {
        let writer = TailWriter::new(at(1));
        let waker = noop_waker();
        let context = Context::from_waker(&waker);
        let waiting = || lock(&writer.0).waiters.iter().flatten().count();
        let (mut one, mut other) = (writer.reader(), writer.reader());
        for _ in 0..3 {
            assert!(one.poll_changed(&context).is_pending() && other.poll_changed(&context).is_pending());
            assert_eq!(waiting(), 2);
        }
        drop(one);
        assert_eq!(waiting(), 1);
        for _ in 0..3 {
            assert!(writer.reader().poll_changed(&context).is_pending());
        }
        assert_eq!(lock(&writer.0).waiters.len(), 2, "empty places are reused");
        writer.move_to(at(2));
        assert_eq!(waiting(), 0);
        let mut late = writer.reader();
        assert!(late.poll_changed(&context).is_pending());
        // Its place is of an earlier move, so its drop must not free the place of the late reader.
        drop(other);
        assert_eq!(waiting(), 1);
    }
}
