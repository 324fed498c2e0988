//! One generation's log in this process's memory.

use std::future::ready;
use std::sync::{Arc, Weak};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::SetOnce;

use super::entries::Entries;
use super::log_budget::LogBudget;
use super::sync::{Mutex, MutexGuard, unpoisoned};
use super::tail::TailMark;
use super::viewers::Viewers;
use super::{AppendError, CloseOutcome, Events, GenerationLog, Limit, Page, ReadError, Readable, Tail, Wake};
use crate::domain::{CancelReason, Event, Sequence, Start};

/// One log, with its viewers and the request to end it. After it is removed, readers at its end can still read to the
/// end.
pub struct MemoryLog {
    start: Arc<Start>,
    budget: Weak<dyn LogBudget>,
    state: Mutex<MemoryLogState>,
    tail: TailMark,
    viewers: Arc<Viewers>,
    end_request: SetOnce<CancelReason>,
}

struct MemoryLogState {
    entries: Entries,
    bytes: usize,
}

impl MemoryLog {
    pub fn new(start: Arc<Start>, budget: Weak<dyn LogBudget>) -> Arc<Self> {
        let entries = Entries::new(Arc::clone(&start));
        let bytes = entries.cost(&[Event::Start(Arc::clone(&start))]);
        Arc::new(Self {
            budget,
            tail: TailMark::new(entries.tail().sequence),
            state: Mutex::new(MemoryLogState { entries, bytes }),
            viewers: Viewers::new(),
            end_request: SetOnce::new(),
            start,
        })
    }

    /// Returns the counted bytes of its entries.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    pub const fn viewers(&self) -> &Arc<Viewers> {
        &self.viewers
    }

    /// Stores the first request to end the generation.
    pub fn request_end(&self, reason: CancelReason) {
        _ = self.end_request.set(reason);
    }

    pub async fn end_requested(&self) -> CancelReason {
        *self.end_request.wait().await
    }

    /// Appends events, none of them terminal; returns the new tail. Must only be called by the log's writer.
    pub fn append(&self, events: Events) -> Result<Sequence, AppendError> {
        let mut state = self.lock();
        if state.entries.terminal().is_some() {
            return Err(AppendError::Closed);
        }
        self.add(&mut state, events).map_err(AppendError::Full)?;
        Ok(self.announce(&state))
    }

    /// Appends the events and the terminal event if the log has none.
    pub fn close(&self, events: Events, terminal: Event) -> Result<CloseOutcome, Limit> {
        let mut state = self.lock();
        if let Some(winner) = state.entries.terminal() {
            return Ok(CloseOutcome::Lost(winner.clone()));
        }
        self.add(&mut state, events)?;
        let (cost, usage) = (state.entries.cost(std::slice::from_ref(&terminal)), terminal.usage());
        state.entries.push(terminal);
        state.bytes += cost;
        self.announce(&state);
        state.entries.fit();
        if let Some(budget) = self.budget.upgrade() {
            budget.close(self.start.generation, cost, usage);
        }
        Ok(CloseOutcome::Won)
    }

    /// Drops all but the last page of a closed log. Of an open log calls `if_open`, while it cannot close.
    pub fn shorten_or(&self, if_open: impl FnOnce()) {
        let mut state = self.lock();
        if state.entries.terminal().is_some() {
            state.entries.keep_end();
        } else {
            if_open();
        }
    }

    fn add(&self, state: &mut MemoryLogState, events: Events) -> Result<(), Limit> {
        if events.is_empty() {
            return Ok(());
        }
        let cost = state.entries.cost(&events);
        if let Some(budget) = self.budget.upgrade() {
            // The limit is that of the answer: the notes are a part of the request.
            if state.bytes - self.start.notes_size() + cost > budget.most_of_one_log() {
                return Err(Limit::Own);
            }
            if !budget.charge(self.start.generation, cost) {
                return Err(Limit::Total);
            }
        }
        for event in events {
            state.entries.push(event);
        }
        state.bytes += cost;
        Ok(())
    }

    /// Must run under the log's lock: outside it, an older tail could overwrite a newer one, and readers of a closed
    /// log would wait forever.
    fn announce(&self, state: &MemoryLogState) -> Sequence {
        let tail = state.entries.tail().sequence;
        self.tail.move_to(tail);
        tail
    }

    fn lock(&self) -> MutexGuard<'_, MemoryLogState> {
        unpoisoned(self.state.lock())
    }
}

impl GenerationLog for MemoryLog {
    fn start(&self) -> &Arc<Start> {
        &self.start
    }
}

impl Readable for MemoryLog {
    type Event = Event;

    fn try_read(&self, after: Sequence) -> Option<Result<Page, ReadError>> {
        Some(self.lock().entries.page(after))
    }

    fn read(&self, after: Sequence) -> BoxFuture<'static, Result<Page, ReadError>> {
        ready(self.lock().entries.page(after)).boxed()
    }

    fn tail(&self) -> BoxFuture<'static, Result<Tail, ReadError>> {
        ready(Ok(self.lock().entries.tail())).boxed()
    }

    fn wake(&self) -> Box<dyn Wake> {
        Box::new(self.tail.wake())
    }
}
