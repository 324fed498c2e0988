//! The event log in this process's memory.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::entries::Entries;
use super::kept::KeptLogs;
use super::sync::{Mutex, MutexGuard, unpoisoned};
use super::tail::{TailReader, TailWriter};
use super::{
    AppendError, ClaimError, CloseOutcome, CreateError, Created, EventLog, Events, Limit, Log, Page, ReadError,
    Readable, Reply, ready,
};
use crate::domain::{Account, Claim, Event, GenerationId, IdempotencyKey, Listed, Principal, Sequence, Start};

/// The limits of the logs in memory.
#[derive(Debug, Clone, Copy)]
pub struct MemoryLimits {
    /// Bytes of all logs together (`event_log.memory.max_bytes`).
    pub total: usize,
    /// Bytes of one generation's log (`generation.max_bytes`), without its terminal event.
    pub generation: usize,
    /// Bytes that an open log counts beside its entries: the memory that its generation holds elsewhere.
    pub running: usize,
    /// How long a closed log stays readable (`generation.retention`).
    pub retention: Duration,
}

/// Logs that live as long as the process.
///
/// The counted bytes are those of the stored data: 8 for each chunk beside its text; shapes and rare events by their
/// size. The memory allocated for a growing log can be twice that.
///
/// Lock order: a log's lock first, then the lock of all logs.
#[derive(Clone)]
pub struct Memory(Arc<SharedLogs>);

struct SharedLogs {
    limits: MemoryLimits,
    logs: Mutex<KeptLogs<MemoryLog>>,
    expiry_set: Notify,
    released: Notify,
}

/// One log. After it is removed, readers at its end can still read to the end.
pub struct MemoryLog {
    start: Arc<Start>,
    all: Weak<SharedLogs>,
    state: Mutex<MemoryLogState>,
    tail: TailWriter,
}

struct MemoryLogState {
    entries: Entries,
    bytes: usize,
}

impl Memory {
    pub fn new(limits: MemoryLimits) -> Self {
        let logs = Mutex::new(KeptLogs::new(limits.total, limits.running));
        let (expiry_set, released) = (Notify::new(), Notify::new());
        Self(Arc::new(SharedLogs { limits, logs, expiry_set, released }))
    }

    /// Removes each closed log or tombstone when its retention ends, and shortens removed logs that are still read.
    /// Runs until dropped.
    pub async fn expire(&self) {
        loop {
            let set = self.0.expiry_set.notified();
            let next = self.0.lock().next_expiry();
            let expired = async {
                match next {
                    Some(expiry) => tokio::time::sleep_until(expiry).await,
                    None => set.await,
                }
            };
            tokio::select! {
                () = expired => {}
                () = self.0.released.notified() => {}
            }
            self.0.change(|logs| logs.remove_expired(Instant::now()));
            self.0.shorten_released();
        }
    }

    /// Returns the bytes of all kept logs and tombstones. A removed log that a viewer still reads is not counted: it
    /// holds a page at most.
    pub fn bytes(&self) -> usize {
        self.0.lock().bytes()
    }

    /// Returns the number of logs that are kept, open ones included.
    pub fn count(&self) -> usize {
        self.0.lock().count()
    }

    /// Returns the number of claims whose logs were evicted or discarded before their retention ended (contract 8).
    pub fn tombstones(&self) -> usize {
        self.0.lock().tombstones()
    }

    /// Returns how many closed logs were evicted since the start.
    pub fn evicted(&self) -> u64 {
        self.0.lock().evicted()
    }
}

impl EventLog for Memory {
    fn create(
        &self,
        start: Arc<Start>,
        account: &Account,
        claim: Option<Claim>,
    ) -> Reply<'_, Result<Created, CreateError>> {
        ready(self.0.create(start, account, claim))
    }

    fn open(&self, generation: GenerationId) -> Reply<'_, Option<Arc<dyn Log>>> {
        let log = self.0.lock().get(generation).map(|log| Arc::clone(log) as Arc<dyn Log>);
        ready(log)
    }

    fn claimed(&self, owner: &Principal, claim: &Claim) -> Reply<'_, Result<Option<GenerationId>, ClaimError>> {
        ready(self.0.lock().claimed(owner, claim))
    }

    fn knows(&self, owner: &Principal, key: &IdempotencyKey) -> Reply<'_, bool> {
        ready(self.0.lock().knows(owner, key))
    }

    fn release(&self, generation: GenerationId) -> Reply<'_, ()> {
        self.0.change(|logs| logs.release(generation));
        ready(())
    }

    fn list(&self, owner: &Principal, before: Option<Listed>, most: usize) -> Reply<'_, Vec<Listed>> {
        ready(self.0.lock().list(owner, before, most))
    }

    fn remove(&self, generation: GenerationId) -> Reply<'_, ()> {
        self.0.change(|logs| logs.remove(generation));
        ready(())
    }

    fn discard(&self, generation: GenerationId) -> Reply<'_, ()> {
        self.0.change(|logs| logs.discard(generation));
        ready(())
    }
}

impl Log for MemoryLog {
    fn start(&self) -> &Arc<Start> {
        &self.start
    }

    fn append(&self, tail: Sequence, events: Events) -> Reply<'_, Result<Sequence, AppendError>> {
        ready(self.append_now(tail, events))
    }

    fn close(&self, terminal: Event) -> Reply<'_, CloseOutcome> {
        ready(self.close_now(terminal))
    }
}

impl Readable for MemoryLog {
    type Event = Event;

    fn read(&self, after: Sequence) -> Reply<'_, Result<Page, ReadError>> {
        ready(self.lock().entries.page(after))
    }

    fn tail(&self) -> TailReader {
        self.tail.reader()
    }
}

impl MemoryLog {
    fn append_now(&self, tail: Sequence, events: Events) -> Result<Sequence, AppendError> {
        let mut state = self.lock();
        if state.entries.terminal().is_some() {
            return Err(AppendError::Closed);
        }
        if state.entries.tail().sequence != tail {
            return Err(AppendError::Moved);
        }
        let cost = state.entries.cost(&events);
        if let Some(all) = self.all.upgrade() {
            if state.bytes + cost > all.limits.generation {
                return Err(AppendError::Full(Limit::Own));
            }
            if !all.change(|logs| logs.charge(self.start.generation, cost)) {
                return Err(AppendError::Full(Limit::Total));
            }
        }
        for event in events {
            state.entries.push(event);
        }
        state.bytes += cost;
        Ok(self.announce(&state))
    }

    fn close_now(&self, terminal: Event) -> CloseOutcome {
        let mut state = self.lock();
        if let Some(winner) = state.entries.terminal() {
            return CloseOutcome::Lost(winner.clone());
        }
        let (cost, usage) = (state.entries.cost(std::slice::from_ref(&terminal)), terminal.usage());
        state.entries.push(terminal);
        state.bytes += cost;
        self.announce(&state);
        state.entries.fit();
        if let Some(all) = self.all.upgrade() {
            let expiry = Instant::now() + all.limits.retention;
            all.change(|logs| logs.close(self.start.generation, cost, expiry, usage));
            all.expiry_set.notify_one();
        }
        CloseOutcome::Won
    }

    /// Must run under the log's lock: outside it, an older tail could overwrite a newer one, and readers of a closed
    /// log would wait forever.
    fn announce(&self, state: &MemoryLogState) -> Sequence {
        let tail = state.entries.tail();
        self.tail.move_to(tail);
        tail.sequence
    }

    fn lock(&self) -> MutexGuard<'_, MemoryLogState> {
        unpoisoned(self.state.lock())
    }
}

impl SharedLogs {
    /// Creates a log. The lookup of the claim and the insertion of the log are one critical section.
    fn create(
        self: &Arc<Self>,
        start: Arc<Start>,
        account: &Account,
        claim: Option<Claim>,
    ) -> Result<Created, CreateError> {
        let entries = Entries::new(Arc::clone(&start));
        let bytes = entries.cost(&[Event::Start(Arc::clone(&start))]);
        let log = Arc::new(MemoryLog {
            all: Arc::downgrade(self),
            tail: TailWriter::new(entries.tail()),
            state: Mutex::new(MemoryLogState { entries, bytes }),
            start,
        });
        self.change(|logs| {
            if let Some(claim) = &claim
                && let Some(known) = logs.claimed(&log.start.owner, claim)?
            {
                return Ok(Created::Known(known));
            }
            logs.keep(Arc::clone(&log), account, claim, bytes)?;
            Ok(Created::New(log))
        })
    }

    /// Changes the kept logs under their lock. Logs that this releases are shortened by [`Memory::expire`], because a
    /// log's lock must not be taken after the lock of all logs.
    fn change<T>(&self, change: impl FnOnce(&mut KeptLogs<MemoryLog>) -> T) -> T {
        let mut logs = self.lock();
        let changed = change(&mut logs);
        if logs.has_released() {
            self.released.notify_one();
        }
        changed
    }

    fn shorten_released(&self) {
        let released = self.lock().take_released();
        for log in released.iter().filter_map(Weak::upgrade) {
            let mut state = log.lock();
            if state.entries.terminal().is_some() {
                state.entries.keep_end();
            } else {
                // Under the log's lock, so that it cannot close in between.
                self.lock().put_back_open(Arc::downgrade(&log));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, KeptLogs<MemoryLog>> {
        unpoisoned(self.logs.lock())
    }
}
