//! The event log in this process's memory.

use std::collections::{BTreeSet, HashMap, VecDeque, hash_map};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::entries::Entries;
use super::sync::{Mutex, MutexGuard, unpoisoned};
use super::tail::{TailReader, TailWriter};
use super::{
    AppendError, Closing, Conflict, CreateError, Created, EventLog, Events, Limit, Log, Page, ReadError, Readable,
    Reply, ready,
};
use crate::domain::{
    Claim, Event, Fingerprint, GenerationId, IdempotencyKey, Listed, Lookup, Principal, Sequence, Start,
};

/// What the logs may hold, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct MemoryLimits {
    /// Bytes of all logs together (`event_log.memory.max_bytes`).
    pub total: usize,
    /// Bytes of one generation's log (`generation.max_bytes`), its terminal event apart.
    pub generation: usize,
    /// How long a closed log stays readable (`generation.retention`).
    pub retention: Duration,
}

/// Logs that live as long as the process.
///
/// Bytes are counted by what is stored: 8 for each chunk beside its text, shapes and rare events by
/// their size. The memory behind a growing log can be twice that.
///
/// Locks are taken in one order: a log's, then that of all logs.
#[derive(Clone)]
pub struct Memory(Arc<Shared>);

struct Shared {
    limits: MemoryLimits,
    logs: Mutex<Logs>,
    expiry_set: Notify,
}

#[derive(Default)]
struct Logs {
    by_id: Lookup<GenerationId, Kept>,
    /// What each caller's keys name (contract 8).
    claims: HashMap<(Principal, IdempotencyKey), (GenerationId, Fingerprint)>,
    /// Each named caller's, oldest first (contract 9).
    by_owner: Lookup<Principal, BTreeSet<Listed>>,
    /// Closed logs by the moment they expire, which is the order in which they closed. A log that has
    /// been removed meanwhile keeps its place here until then.
    closed: VecDeque<(Instant, GenerationId)>,
    /// The sum over `by_id`.
    bytes: usize,
}

struct Kept {
    log: Arc<MemoryLog>,
    key: Option<IdempotencyKey>,
    bytes: usize,
}

struct MemoryLog {
    start: Arc<Start>,
    all: Weak<Shared>,
    state: Mutex<State>,
    tail: TailWriter,
}

struct State {
    entries: Entries,
    bytes: usize,
}

/// What a claim is counted as, with the longest key twice: in the index, and with its log.
const CLAIM_BYTES: usize = 768;

impl Memory {
    pub fn new(limits: MemoryLimits) -> Self {
        Self(Arc::new(Shared { limits, logs: Mutex::default(), expiry_set: Notify::new() }))
    }

    /// Forgets each closed log when its retention ends. Runs until dropped.
    pub async fn expire(&self) {
        loop {
            let set = self.0.expiry_set.notified();
            let next = self.0.lock().closed.front().map(|(expiry, _)| *expiry);
            match next {
                Some(expiry) => tokio::time::sleep_until(expiry).await,
                None => set.await,
            }
            self.0.lock().forget_closed_before(Instant::now());
        }
    }

    /// Bytes that all kept logs hold. One that is forgotten while somebody still reads it is not counted.
    pub fn bytes(&self) -> usize {
        self.0.lock().bytes
    }

    /// Logs that are kept, running ones included.
    pub fn count(&self) -> usize {
        self.0.lock().by_id.len()
    }
}

impl EventLog for Memory {
    fn create(&self, start: Arc<Start>, claim: Option<Claim>) -> Reply<'_, Result<Created, CreateError>> {
        ready(self.0.create(start, claim))
    }

    fn open(&self, generation: GenerationId) -> Reply<'_, Option<Arc<dyn Log>>> {
        let log = self.0.lock().by_id.get(&generation).map(|kept| Arc::clone(&kept.log) as Arc<dyn Log>);
        ready(log)
    }

    fn claimed(&self, owner: &Principal, claim: &Claim) -> Reply<'_, Result<Option<GenerationId>, Conflict>> {
        ready(self.0.lock().claimed(owner, claim))
    }

    fn knows(&self, owner: &Principal, key: &IdempotencyKey) -> Reply<'_, bool> {
        ready(self.0.lock().claims.contains_key(&(owner.clone(), key.clone())))
    }

    fn release(&self, generation: GenerationId) -> Reply<'_, ()> {
        self.0.lock().release(generation);
        ready(())
    }

    fn list(&self, owner: &Principal, before: Option<Listed>, most: usize) -> Reply<'_, Vec<Listed>> {
        let logs = self.0.lock();
        let Some(all) = logs.by_owner.get(owner) else { return ready(Vec::new()) };
        let older = match before {
            Some(before) => all.range(..before),
            None => all.range(..),
        };
        ready(older.rev().take(most).copied().collect())
    }

    fn remove(&self, generation: GenerationId) -> Reply<'_, ()> {
        self.0.lock().forget(generation);
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

    fn close(&self, terminal: Event) -> Reply<'_, Closing> {
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
            if !all.lock().charge(self.start.generation, cost, all.limits.total) {
                return Err(AppendError::Full(Limit::Total));
            }
        }
        for event in events {
            state.entries.push(event);
        }
        state.bytes += cost;
        Ok(self.announce(&state))
    }

    fn close_now(&self, terminal: Event) -> Closing {
        let mut state = self.lock();
        if let Some(winner) = state.entries.terminal() {
            return Closing::Lost(winner.clone());
        }
        let cost = state.entries.cost(std::slice::from_ref(&terminal));
        state.entries.push(terminal);
        state.bytes += cost;
        self.announce(&state);
        state.entries.fit();
        if let Some(all) = self.all.upgrade() {
            let expiry = Instant::now() + all.limits.retention;
            all.lock().close(self.start.generation, cost, all.limits.total, expiry);
            all.expiry_set.notify_one();
        }
        Closing::Won
    }

    /// Under the log's lock: announced after it, two tails could overtake one another, and readers
    /// would sleep beside a closed log that says it is open.
    fn announce(&self, state: &State) -> Sequence {
        let tail = state.entries.tail();
        self.tail.move_to(tail);
        tail.sequence
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }
}

impl Shared {
    /// One critical section from the look at the claim to the log that it then names.
    fn create(self: &Arc<Self>, start: Arc<Start>, claim: Option<Claim>) -> Result<Created, CreateError> {
        let entries = Entries::new(Arc::clone(&start));
        let bytes = entries.cost(&[Event::Start(Arc::clone(&start))]);
        let log = Arc::new(MemoryLog {
            all: Arc::downgrade(self),
            tail: TailWriter::new(entries.tail()),
            state: Mutex::new(State { entries, bytes }),
            start,
        });
        let mut logs = self.lock();
        if let Some(claim) = &claim
            && let Some(known) = logs.claimed(&log.start.owner, claim)?
        {
            return Ok(Created::Known(known));
        }
        let bytes = bytes + claim.as_ref().map_or(0, |_| CLAIM_BYTES);
        if !logs.make_room(bytes, self.limits.total) {
            return Err(CreateError::Full);
        }
        logs.keep(Arc::clone(&log), claim, bytes);
        Ok(Created::New(log))
    }

    fn lock(&self) -> MutexGuard<'_, Logs> {
        unpoisoned(self.logs.lock())
    }
}

impl Logs {
    fn keep(&mut self, log: Arc<MemoryLog>, claim: Option<Claim>, bytes: usize) {
        let (owner, generation) = (log.start.owner.clone(), log.start.generation);
        let key = claim.map(|Claim { key, request }| {
            self.claims.insert((owner.clone(), key.clone()), (generation, request));
            key
        });
        if owner != Principal::Anonymous {
            self.by_owner.entry(owner).or_default().insert(Listed::from(&*log.start));
        }
        self.bytes += bytes;
        self.by_id.insert(generation, Kept { log, key, bytes });
    }

    fn claimed(&self, owner: &Principal, claim: &Claim) -> Result<Option<GenerationId>, Conflict> {
        match self.claims.get(&(owner.clone(), claim.key.clone())) {
            None => Ok(None),
            Some((generation, request)) if *request == claim.request => Ok(Some(*generation)),
            Some(_) => Err(Conflict),
        }
    }

    /// Takes `bytes` more for the log `id`, if they fit. A log that is no longer kept takes no room.
    fn charge(&mut self, id: GenerationId, bytes: usize, limit: usize) -> bool {
        let fits = !self.by_id.contains_key(&id) || self.make_room(bytes, limit);
        if fits && let Some(kept) = self.by_id.get_mut(&id) {
            kept.bytes += bytes;
            self.bytes += bytes;
        }
        fits
    }

    /// Forgets closed logs until `bytes` fit.
    fn make_room(&mut self, bytes: usize, limit: usize) -> bool {
        while self.bytes + bytes > limit && self.forget_oldest_closed() {}
        self.bytes + bytes <= limit
    }

    /// Takes `bytes` for the terminal event, which always fits: closed logs go for it, and where there
    /// are none it stands above the limit.
    fn close(&mut self, id: GenerationId, bytes: usize, limit: usize, expiry: Instant) {
        let Some(kept) = self.by_id.get_mut(&id) else { return };
        kept.bytes += bytes;
        self.bytes += bytes;
        self.make_room(0, limit);
        self.closed.push_back((expiry, id));
    }

    fn forget_closed_before(&mut self, now: Instant) {
        while self.closed.front().is_some_and(|(expiry, _)| *expiry <= now) {
            self.forget_oldest_closed();
        }
    }

    fn forget_oldest_closed(&mut self) -> bool {
        self.closed.pop_front().map(|(_, id)| self.forget(id)).is_some()
    }

    fn release(&mut self, id: GenerationId) {
        let Some(kept) = self.by_id.get_mut(&id) else { return };
        if let Some(key) = kept.key.take() {
            self.claims.remove(&(kept.log.start.owner.clone(), key));
        }
    }

    fn forget(&mut self, id: GenerationId) {
        self.release(id);
        let Some(Kept { log, bytes, .. }) = self.by_id.remove(&id) else { return };
        self.bytes -= bytes;
        let owner = log.start.owner.clone();
        if let hash_map::Entry::Occupied(mut owned) = self.by_owner.entry(owner) {
            owned.get_mut().remove(&Listed::from(&*log.start));
            if owned.get().is_empty() {
                owned.remove();
            }
        }
    }
}
