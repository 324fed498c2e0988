//! The writer of a log in this process's memory.

use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::memory_log::MemoryLog;
use super::{AppendError, CloseOutcome, Events, GenerationLog, Limit, Writer};
use crate::domain::{Epoch, Event, Sequence};

/// Appends to a log in memory. No other process can take the log over, so its lease ends only when it is dropped.
pub struct MemoryWriter {
    log: Arc<MemoryLog>,
    /// The same log, as readers name it.
    shared: Arc<dyn GenerationLog>,
    tail: Sequence,
    pending: Events,
    /// Closes the log if this is dropped before a close; `None` after one.
    if_orphaned: Option<Event>,
}

impl MemoryWriter {
    pub fn new(log: Arc<MemoryLog>, if_orphaned: Event) -> Self {
        let shared = Arc::clone(&log) as Arc<dyn GenerationLog>;
        Self { log, shared, tail: Sequence::new(1), pending: Events::new(), if_orphaned: Some(if_orphaned) }
    }
}

impl Writer for MemoryWriter {
    fn log(&self) -> &Arc<dyn GenerationLog> {
        &self.shared
    }

    fn epoch(&self) -> Epoch {
        Epoch::FIRST
    }

    fn tail(&self) -> Sequence {
        self.tail
    }

    fn push(&mut self, events: Events) {
        if self.pending.is_empty() {
            self.pending = events;
        } else {
            self.pending.extend(events);
        }
    }

    fn pending(&self) -> &[Event] {
        &self.pending
    }

    fn poll_append(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), AppendError>> {
        if self.pending.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let appended = self.log.append(std::mem::take(&mut self.pending));
        Poll::Ready(appended.map(|tail| self.tail = tail))
    }

    fn poll_renew(&mut self, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn close(&mut self, terminal: Event) -> BoxFuture<'_, Result<CloseOutcome, Limit>> {
        let closed = self.log.close(std::mem::take(&mut self.pending), terminal);
        if closed.is_ok() {
            self.if_orphaned = None;
        }
        ready(closed).boxed()
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        if let Some(terminal) = self.if_orphaned.take() {
            // Without pending events this cannot fail. They are dropped: no viewer has seen them.
            _ = self.log.close(Events::new(), terminal);
        }
    }
}
