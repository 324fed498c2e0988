//! The event log in this process's memory.

use std::future::{pending, ready};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::kept::KeptLogs;
use super::log_budget::LogBudget;
use super::memory_log::MemoryLog;
use super::memory_writer::MemoryWriter;
use super::sync::{Mutex, MutexGuard, unpoisoned};
use super::{
    ChatGeneration, Chats, ClaimError, Control, CreateError, Created, EventLog, GenerationEnded, GenerationLog,
    LogTerms, LogUnavailable, NamedChat, ViewerLease, ViewerPresence,
};
use crate::domain::{
    CancelReason, ChatKey, ChatTurn, Claim, GenerationId, IdempotencyKey, Listed, Principal, Sequence, Start, Usage,
};

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
    fn create(&self, start: Arc<Start>, terms: LogTerms) -> BoxFuture<'static, Result<Created, CreateError>> {
        ready(self.0.create(start, terms)).boxed()
    }

    fn open(
        &self,
        generation: GenerationId,
        _at_least: Sequence,
    ) -> BoxFuture<'static, Result<Option<Arc<dyn GenerationLog>>, LogUnavailable>> {
        ready(Ok(self.0.get(generation).map(|log| log as Arc<dyn GenerationLog>))).boxed()
    }

    fn claimed(
        &self,
        owner: &Principal,
        claim: &Claim,
    ) -> BoxFuture<'static, Result<Option<GenerationId>, ClaimError>> {
        ready(self.0.lock().claimed(owner, claim)).boxed()
    }

    fn knows(&self, owner: &Principal, key: &IdempotencyKey) -> BoxFuture<'static, Result<bool, LogUnavailable>> {
        ready(Ok(self.0.lock().knows(owner, key))).boxed()
    }

    fn release(&self, generation: GenerationId) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        self.0.change(|logs| logs.release(generation));
        ready(Ok(())).boxed()
    }

    fn list(
        &self,
        owner: &Principal,
        before: Option<Listed>,
        most: usize,
    ) -> BoxFuture<'static, Result<Vec<Listed>, LogUnavailable>> {
        ready(Ok(self.0.lock().list(owner, before, most))).boxed()
    }

    fn remove(&self, generation: GenerationId) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        self.0.change(|logs| logs.remove(generation));
        ready(Ok(())).boxed()
    }

    fn discard(&self, generation: GenerationId) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        self.0.change(|logs| logs.discard(generation));
        ready(Ok(())).boxed()
    }
}

impl Control for Memory {
    fn request_end(
        &self,
        generation: GenerationId,
        reason: CancelReason,
    ) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        if let Some(log) = self.0.get(generation) {
            log.request_end(reason);
        }
        ready(Ok(())).boxed()
    }

    fn end_requested(&self, generation: GenerationId) -> BoxFuture<'static, CancelReason> {
        match self.0.get(generation) {
            Some(log) => async move { log.end_requested().await }.boxed(),
            None => pending().boxed(),
        }
    }
}

impl ViewerPresence for Memory {
    fn join(&self, generation: GenerationId) -> BoxFuture<'static, Result<ViewerLease, GenerationEnded>> {
        let joined = self.0.get(generation).and_then(|log| log.viewers().join());
        ready(joined.map(ViewerLease::new).ok_or(GenerationEnded)).boxed()
    }

    fn shut_when_empty(&self, generation: GenerationId, grace: Duration) -> BoxFuture<'static, ()> {
        match self.0.get(generation) {
            Some(log) => async move { Arc::clone(log.viewers()).shut_when_empty(grace).await }.boxed(),
            None => pending().boxed(),
        }
    }

    fn shut_if_empty(&self, generation: GenerationId) -> BoxFuture<'static, Result<bool, LogUnavailable>> {
        let log = self.0.get(generation);
        ready(Ok(log.is_none_or(|log| log.viewers().shut_if_empty()))).boxed()
    }
}

impl Chats for Memory {
    fn name(
        &self,
        owner: &Principal,
        turn: ChatTurn,
        generation: GenerationId,
        ended: Option<GenerationId>,
    ) -> BoxFuture<'static, Result<NamedChat, LogUnavailable>> {
        ready(Ok(self.0.change(|logs| logs.name_chat(owner, turn, generation, ended)))).boxed()
    }

    fn chat(
        &self,
        owner: &Principal,
        chat: ChatKey,
    ) -> BoxFuture<'static, Result<Option<ChatGeneration>, LogUnavailable>> {
        ready(Ok(self.0.lock().chats().get(owner, chat))).boxed()
    }

    fn close_chat(
        &self,
        owner: &Principal,
        chat: ChatKey,
        generation: GenerationId,
    ) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        self.0.change(|logs| logs.close_chat(owner, chat, generation));
        ready(Ok(())).boxed()
    }
}

impl LogBudget for SharedLogs {
    fn most_of_one_log(&self) -> usize {
        self.limits.generation
    }

    fn charge(&self, generation: GenerationId, bytes: usize) -> bool {
        self.change(|logs| logs.charge(generation, bytes))
    }

    fn close(&self, generation: GenerationId, bytes: usize, usage: Option<Usage>) {
        let expiry = Instant::now() + self.limits.retention;
        self.change(|logs| logs.close(generation, bytes, expiry, usage));
        self.expiry_set.notify_one();
    }
}

impl SharedLogs {
    /// Creates a log. The lookup of the claim and the insertion of the log are one critical section.
    fn create(self: &Arc<Self>, start: Arc<Start>, terms: LogTerms) -> Result<Created, CreateError> {
        let LogTerms { account, claim, if_orphaned, recovery: _ } = terms;
        let budget: Weak<dyn LogBudget> = Arc::downgrade(&(Arc::clone(self) as Arc<dyn LogBudget>));
        let log = MemoryLog::new(start, budget);
        let known = self.change(|logs| {
            if let Some(claim) = &claim
                && let Some(known) = logs.claimed(&log.start().owner, claim)?
            {
                return Ok(Some(known));
            }
            logs.keep(Arc::clone(&log), &account, claim, log.bytes())?;
            Ok::<_, CreateError>(None)
        })?;
        if let Some(known) = known {
            return Ok(Created::Known(known));
        }
        let viewer = log.viewers().join().map_or_else(|| ViewerLease::new(()), ViewerLease::new);
        Ok(Created::New { writer: Box::new(MemoryWriter::new(log, if_orphaned)), viewer })
    }

    fn get(&self, generation: GenerationId) -> Option<Arc<MemoryLog>> {
        self.lock().get(generation).map(Arc::clone)
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
            log.shorten_or(|| self.lock().put_back_open(Arc::downgrade(&log)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, KeptLogs<MemoryLog>> {
        unpoisoned(self.logs.lock())
    }
}
