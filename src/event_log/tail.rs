//! Where a log ends, and who waits for that to move.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use super::sync::{Mutex, MutexGuard, unpoisoned};
use super::{Tail, TailState};

/// The writer's end: tells where the log ends now.
///
/// Not tokio's `watch`: that serves any number of threads with eight lists of waiters, which takes ten times as many
/// instructions for the one reader that a generation has as a rule.
pub struct TailWriter(Arc<Mutex<Shared>>);

/// One reader's view of a log's tail; it has seen the tail as it was when this was made.
pub struct TailReader {
    shared: Arc<Mutex<Shared>>,
    seen: Tail,
    waiting: Option<Place>,
}

struct Shared {
    tail: Tail,
    /// Those that wait for the next move. A place is left empty by who goes before that.
    waiters: Waiters,
    /// How many places are empty.
    empty: usize,
    /// Moves so far: who waits since an earlier one has been woken.
    moves: u64,
}

type Waiters = SmallVec<[Option<Waker>; 2]>;

#[derive(Clone, Copy)]
struct Place {
    moves: u64,
    index: usize,
}

impl TailWriter {
    pub fn new(tail: Tail) -> Self {
        Self(Arc::new(Mutex::new(Shared { tail, waiters: Waiters::new(), empty: 0, moves: 0 })))
    }

    /// Wakes all who wait (contract 4: what is behind this tail can be read).
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
    /// Where the log ends now; it has been seen from here on.
    pub fn look(&mut self) -> Tail {
        self.seen = lock(&self.shared).tail;
        self.seen
    }

    /// Where the log ends now, for one who does not wait.
    pub fn get(&self) -> Tail {
        lock(&self.shared).tail
    }

    /// Waits until the tail is another than the one that was seen, and sees that.
    pub async fn changed(&mut self) -> Tail {
        poll_fn(|context| self.poll_changed(context)).await
    }

    /// Waits for a tail that is as wished.
    pub async fn until(&mut self, wished: impl Fn(&Tail) -> bool) {
        let mut tail = self.look();
        while !wished(&tail) {
            tail = self.changed().await;
        }
    }

    /// Waits for the end.
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
        // Outside the lock: it may be the last hold on a task, whose end may look here.
        drop(replaced);
        Poll::Pending
    }
}

impl Shared {
    /// Takes an empty place before a new one: who comes and goes while nothing moves takes no room.
    fn wait(&mut self, waker: Waker) -> Place {
        let empty = if self.empty == 0 { None } else { self.waiters.iter().position(Option::is_none) };
        let index = empty.unwrap_or(self.waiters.len());
        match self.waiters.get_mut(index) {
            Some(place) => {
                *place = Some(waker);
                self.empty -= 1;
            }
            None => self.waiters.push(Some(waker)),
        }
        Place { moves: self.moves, index }
    }

    fn leave(&mut self, place: Place) -> Option<Waker> {
        let waker = self.waiter(place)?.take();
        self.empty += usize::from(waker.is_some());
        waker
    }

    fn waiter(&mut self, place: Place) -> Option<&mut Option<Waker>> {
        if place.moves == self.moves { self.waiters.get_mut(place.index) } else { None }
    }
}

impl Drop for TailReader {
    fn drop(&mut self) {
        let waker = self.waiting.and_then(|place| lock(&self.shared).leave(place));
        // Outside the lock, as above.
        drop(waker);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
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
        assert_eq!(reader.changed().now_or_never(), None, "it was seen");
    }

    #[test]
    fn who_waits_has_one_place_and_who_goes_leaves_none() {
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
        assert_eq!(lock(&writer.0).waiters.len(), 2, "who comes and goes takes no room");
        writer.move_to(at(2));
        assert_eq!(waiting(), 0);
        let mut late = writer.reader();
        assert!(late.poll_changed(&context).is_pending());
        // Its place is of an earlier move: the other's is not its to leave.
        drop(other);
        assert_eq!(waiting(), 1);
    }
}
