//! A log with given entries, for tests of its readers.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use tokio::task::yield_now;

use super::following::{Following, ViewerHandle};
use crate::domain::{Entry, Event, Sequence, Start};
use crate::event_log::{GenerationLog, Page, ReadError, Readable, Tail, TailState, Wake};
use crate::telemetry::Metrics;

/// A log whose reads are not ready at once, and which can grow and be lost.
pub struct FixtureLog {
    start: Arc<Start>,
    /// Entries of one page.
    page: usize,
    state: Arc<Mutex<FixtureState>>,
}

struct FixtureState {
    entries: Vec<Entry>,
    /// The number of entries that can be read.
    visible: usize,
    is_lost: bool,
    reads: usize,
    readers: Vec<Waker>,
}

impl FixtureLog {
    /// Creates a log with these entries, none of which can be read yet.
    ///
    /// # Panics
    ///
    /// If the first entry is not the start.
    pub fn new(entries: Vec<Entry>, page: usize) -> Arc<Self> {
        let Some(Event::Start(start)) = entries.first().map(|entry| entry.event.clone()) else {
            panic!("the first entry is the start")
        };
        let state = FixtureState { entries, visible: 0, is_lost: false, reads: 0, readers: Vec::new() };
        Arc::new(Self { start, page, state: Arc::new(Mutex::new(state)) })
    }

    /// Makes the first entries readable, at most this number.
    pub fn show(&self, most: usize) {
        let mut state = self.lock();
        state.visible = most.min(state.entries.len());
        state.readers.drain(..).for_each(Waker::wake);
    }

    /// Lets every later read fail.
    pub fn lose(&self) {
        self.lock().is_lost = true;
    }

    /// Returns the number of reads so far.
    pub fn reads(&self) -> usize {
        self.lock().reads
    }

    /// Returns a viewer that begins after a position.
    pub fn viewer(self: &Arc<Self>, after: Sequence) -> Following {
        let log: Arc<dyn GenerationLog> = Arc::<Self>::clone(self);
        Following::new(log, after, ViewerHandle::new(None, None, Metrics::new().viewer(), None))
    }

    fn lock(&self) -> MutexGuard<'_, FixtureState> {
        self.state.lock().expect("no test panics with the lock")
    }
}

impl FixtureState {
    fn tail(&self) -> Tail {
        let last = self.visible.checked_sub(1).and_then(|last| self.entries.get(last));
        let is_closed = last.is_some_and(|last| last.event.is_terminal());
        Tail {
            sequence: last.map_or(Sequence::START, |last| last.sequence),
            state: if is_closed { TailState::Closed } else { TailState::Open },
        }
    }
}

impl Readable for FixtureLog {
    type Event = Event;

    fn try_read(&self, _: Sequence) -> Option<Result<Page, ReadError>> {
        None
    }

    fn read(&self, after: Sequence) -> BoxFuture<'static, Result<Page, ReadError>> {
        let (shared, page) = (Arc::clone(&self.state), self.page);
        Box::pin(async move {
            yield_now().await;
            let mut state = shared.lock().expect("no test panics with the lock");
            state.reads += 1;
            if state.is_lost {
                return Err(ReadError::Lost);
            }
            let visible = state.entries.iter().take(state.visible);
            let entries = visible.filter(|entry| entry.sequence > after).take(page).cloned().collect();
            Ok(Page { entries, tail: state.tail() })
        })
    }

    fn tail(&self) -> BoxFuture<'static, Result<Tail, ReadError>> {
        let tail = self.lock().tail();
        Box::pin(async move { Ok(tail) })
    }

    fn wake(&self) -> Box<dyn Wake> {
        Box::new(FixtureWake(Arc::clone(&self.state)))
    }
}

impl GenerationLog for FixtureLog {
    fn start(&self) -> &Arc<Start> {
        &self.start
    }
}

struct FixtureWake(Arc<Mutex<FixtureState>>);

impl Wake for FixtureWake {
    fn poll_moved(&mut self, seen: Sequence, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().expect("no test panics with the lock");
        if state.tail().sequence > seen {
            return Poll::Ready(());
        }
        state.readers.push(context.waker().clone());
        Poll::Pending
    }
}
