//! This process's copy of a log in Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::batch::BatchDecoder;
use super::script;
use super::store::{RecoveryMode, Store};
use crate::domain::{Epoch, Event, GenerationId, Sequence, Start};
use crate::event_log::entries::Entries;
use crate::event_log::sync::{Mutex, MutexGuard, unpoisoned};
use crate::event_log::tail::{TailMark, TailWake};
use crate::event_log::{Limit, Page, ReadError, Tail, TailState};
use crate::redis_client::{CallError, PATIENCE, Patience, Reply, ScriptCall};

/// A copy from the first entry on, shared by all readers of this process.
///
/// The owner adds entries when Redis has acknowledged them; another process reads them from Redis. A reader that has
/// read up to the copy's tail waits for its next move, so that it never waits for Redis.
pub struct Mirror {
    store: Arc<Store>,
    start: Arc<Start>,
    state: Mutex<MirrorState>,
    tail: TailMark,
    /// At most one read of Redis at a time: two readers would both add what they have read.
    reading: tokio::sync::Mutex<()>,
    /// Set when a task begins to keep it up to date.
    is_followed: AtomicBool,
}

struct MirrorState {
    entries: Entries,
    bytes: usize,
    decoder: BatchDecoder,
    /// The last batch that was read or written.
    position: BatchPosition,
    role: MirrorRole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MirrorRole {
    /// The writer of this process adds the entries.
    Owner,
    /// The entries are read from Redis.
    Reader,
    /// The log is gone, or has other entries than the copy.
    Lost,
}

/// The id of a batch in its stream: the epoch and the sequence number of its last entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BatchPosition {
    epoch: Epoch,
    last: Sequence,
}

/// What a read of Redis found out about the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// Open also if it has no owner and waits to be taken over.
    pub state: TailState,
    /// The time until the lease of the owner expires.
    pub lease_left: Duration,
}

/// Whether a removed log can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovedLogs {
    Hidden,
    /// To readers that have it already.
    Readable,
}

/// Why a copy cannot be brought up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefreshError {
    Missing,
    Unavailable,
}

/// Batches of one read.
const MOST_BATCHES: u64 = 256;
/// How long a log whose owner is lost may wait to be taken over, from the first read on.
const TAKEOVER_TIME: Duration = Duration::from_secs(10);
/// The state of such a log in a reply.
const ORPHANED: &[u8] = b"orphaned";
/// The interval in which a reader reads such a log.
const ORPHAN_INTERVAL: Duration = Duration::from_millis(200);

impl Mirror {
    /// Returns the copy of a log that this process owns and has just made.
    pub fn owned(store: Arc<Store>, start: Arc<Start>) -> Arc<Self> {
        Self::new(store, start, MirrorRole::Owner, BatchDecoder::default())
    }

    /// Reads a whole log.
    pub async fn read_whole(store: Arc<Store>, generation: GenerationId) -> Result<Arc<Self>, RefreshError> {
        let nothing = BatchPosition { epoch: Epoch::new(0), last: Sequence::START };
        let reply = read(&store, generation, nothing, RemovedLogs::Hidden).await?;
        let mut decoder = BatchDecoder::default();
        let mut batches = batches(&reply);
        let first = batches.next().and_then(|(_, batch)| decoder.decode(batch).ok());
        let Some(Event::Start(start)) = first.and_then(|events| events.into_iter().next()) else {
            return Err(RefreshError::Missing);
        };
        let mirror = Self::new(store, start, MirrorRole::Reader, decoder);
        mirror.add(&reply);
        if !is_last(&reply) {
            mirror.refresh(RemovedLogs::Readable).await?;
        }
        Ok(mirror)
    }

    fn new(store: Arc<Store>, start: Arc<Start>, role: MirrorRole, decoder: BatchDecoder) -> Arc<Self> {
        let entries = Entries::new(Arc::clone(&start));
        let bytes = entries.cost(&[Event::Start(Arc::clone(&start))]);
        let position = BatchPosition { epoch: Epoch::FIRST, last: Sequence::new(1) };
        Arc::new(Self {
            store,
            tail: TailMark::new(entries.tail().sequence),
            state: Mutex::new(MirrorState { entries, bytes, decoder, position, role }),
            start,
            reading: tokio::sync::Mutex::default(),
            is_followed: AtomicBool::new(false),
        })
    }

    pub fn generation(&self) -> GenerationId {
        self.start.generation
    }

    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub fn is_owned(&self) -> bool {
        self.lock().role == MirrorRole::Owner
    }

    pub fn is_lost(&self) -> bool {
        self.lock().role == MirrorRole::Lost
    }

    pub const fn start(&self) -> &Arc<Start> {
        &self.start
    }

    /// Returns the entries after a position, at most a page.
    pub fn page(&self, after: Sequence) -> Result<Page, ReadError> {
        self.lock().page(after)
    }

    pub fn tail(&self) -> Result<Tail, ReadError> {
        let state = self.lock();
        if state.role == MirrorRole::Lost { Err(ReadError::Lost) } else { Ok(state.entries.tail()) }
    }

    pub fn epoch_of(&self, sequence: Sequence) -> Epoch {
        self.lock().entries.epoch_of(sequence)
    }

    pub fn wake(&self) -> TailWake {
        self.tail.wake()
    }

    /// Returns whether the caller must start the task that keeps the copy up to date.
    pub fn begin_following(&self) -> bool {
        !self.is_owned() && !self.is_followed.swap(true, Ordering::AcqRel)
    }

    /// Returns the entries after a position, without their numbers.
    pub fn events_after(&self, after: Sequence) -> Vec<Event> {
        let state = self.lock();
        let (mut events, mut at) = (Vec::new(), after);
        while let Ok(page) = state.entries.page(at)
            && let Some(last) = page.entries.last()
        {
            at = last.sequence;
            events.extend(page.entries.into_iter().map(|entry| entry.event));
        }
        events
    }

    /// Returns whether the log has room for these events (`generation.max_bytes`).
    pub fn check_room(&self, events: &[Event]) -> Result<(), Limit> {
        let state = self.lock();
        let answer = state.bytes - self.start.notes_size();
        let fits = events.is_empty() || answer + state.entries.cost(events) <= self.store.terms.most_of_one_log;
        if fits { Ok(()) } else { Err(Limit::Own) }
    }

    /// Adds what the writer of this process has written or, while Redis is silent, will write.
    pub fn add_own(&self, events: impl IntoIterator<Item = Event>) {
        let mut state = self.lock();
        for event in events {
            state.push(event);
        }
        self.announce(&state);
    }

    /// Ends the role of the owner: the entries that follow are read from Redis. `tail` is the last one that Redis has
    /// acknowledged; a copy that is ahead of it is lost.
    pub fn give_up(&self, epoch: Epoch, tail: Sequence) {
        let mut state = self.lock();
        if state.role != MirrorRole::Owner {
            return;
        }
        if state.entries.tail().sequence > tail {
            self.lose(&mut state);
            return;
        }
        state.role = MirrorRole::Reader;
        state.position = BatchPosition { epoch, last: tail };
    }

    /// Makes this process the owner from `epoch` on, once the copy has all entries up to `tail`, the last one in Redis.
    /// Returns whether it has.
    pub async fn own(&self, epoch: Epoch, tail: Sequence) -> bool {
        if self.refresh(RemovedLogs::Readable).await.is_err() {
            return false;
        }
        let mut state = self.lock();
        if state.role != MirrorRole::Reader || state.entries.tail().sequence != tail {
            return false;
        }
        state.role = MirrorRole::Owner;
        state.entries.begin_epoch(epoch);
        true
    }

    /// Returns about what the log takes in memory.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Ends all readers: the log is gone.
    pub fn set_lost(&self) {
        self.lose(&mut self.lock());
    }

    fn lose(&self, state: &mut MirrorState) {
        state.role = MirrorRole::Lost;
        // Beyond every position, so that no reader waits any more.
        self.tail.move_to(Sequence::new(u64::MAX));
    }

    /// Reads what Redis has beyond the copy. Closes the log if the lease of its owner has expired.
    pub async fn refresh(&self, removed: RemovedLogs) -> Result<LogHead, RefreshError> {
        let _single = self.reading.lock().await;
        loop {
            let (position, role) = {
                let state = self.lock();
                (state.position, state.role)
            };
            match role {
                MirrorRole::Lost => return Err(RefreshError::Missing),
                // Its writer adds the entries.
                MirrorRole::Owner => return Ok(LogHead { state: TailState::Open, lease_left: self.store.terms.lease }),
                MirrorRole::Reader => {}
            }
            let reply = read(&self.store, self.generation(), position, removed).await?;
            self.add(&reply);
            if is_last(&reply) {
                let lease_left = Duration::from_millis(reply.number(5));
                return Ok(match reply.bytes(4) {
                    b"open" => LogHead { state: TailState::Open, lease_left },
                    ORPHANED => LogHead { state: TailState::Open, lease_left: ORPHAN_INTERVAL },
                    _ => LogHead { state: TailState::Closed, lease_left },
                });
            }
        }
    }

    /// Adds the batches of a read. A batch may begin before the tail: what the copy has is dropped.
    fn add(&self, reply: &Reply) {
        let mut state = self.lock();
        if state.role == MirrorRole::Lost {
            return;
        }
        for (position, batch) in batches(reply) {
            let Ok(events) = state.decoder.decode(batch) else {
                tracing::error!("a log in Redis cannot be read: another version may have written it");
                self.lose(&mut state);
                return;
            };
            let tail = state.entries.tail();
            let base = position.last.get().saturating_sub(events.len() as u64);
            let is_other_end = position.epoch > state.position.epoch && base < tail.sequence.get();
            if base > tail.sequence.get() || is_other_end {
                self.lose(&mut state);
                return;
            }
            if position.epoch > state.position.epoch {
                state.entries.begin_epoch(position.epoch);
            }
            let known = usize::try_from(tail.sequence.get() - base).unwrap_or(usize::MAX);
            for event in events.into_iter().skip(known) {
                state.push(event);
            }
            state.position = position;
        }
        self.announce(&state);
    }

    /// Must run under the lock, so that no older tail overwrites a newer one.
    fn announce(&self, state: &MirrorState) {
        let tail = state.entries.tail();
        self.tail.move_to(tail.sequence);
    }

    fn lock(&self) -> MutexGuard<'_, MirrorState> {
        unpoisoned(self.state.lock())
    }
}

impl MirrorState {
    fn push(&mut self, event: Event) {
        self.bytes += self.entries.cost(std::slice::from_ref(&event));
        let is_terminal = event.is_terminal();
        self.entries.push(event);
        if is_terminal {
            self.entries.fit();
        }
    }

    fn page(&self, after: Sequence) -> Result<Page, ReadError> {
        match self.role {
            MirrorRole::Lost => Err(ReadError::Lost),
            MirrorRole::Owner | MirrorRole::Reader => self.entries.page(after),
        }
    }
}

async fn read(
    store: &Store,
    generation: GenerationId,
    position: BatchPosition,
    removed: RemovedLogs,
) -> Result<Reply, RefreshError> {
    let keys = store.keys.of(generation);
    let call = ScriptCall::new(&script::READ, [&keys.head, &keys.entries, &keys.viewers])
        .arg(format!("{}-{}", position.epoch.get(), position.last))
        .number(MOST_BATCHES)
        .millis(store.terms.retention)
        .arg(keys.wakes)
        .arg(if removed == RemovedLogs::Hidden { "hidden" } else { "readable" })
        .millis(if store.terms.recovery == RecoveryMode::TakeOver { TAKEOVER_TIME } else { Duration::ZERO });
    let reply = store.client.connection.call(&call, Patience::For(PATIENCE)).await;
    let reply = reply.map_err(|_: CallError| RefreshError::Unavailable)?;
    if reply.code() != "ok" {
        return Err(RefreshError::Missing);
    }
    if reply.bytes(4) == ORPHANED {
        store.orphans.report(generation);
    }
    let claim = reply.bytes(6);
    if !claim.is_empty() {
        store.retain_claim(generation, claim).await;
    }
    Ok(reply)
}

/// Returns whether no batch follows those of the reply.
fn is_last(reply: &Reply) -> bool {
    (batches(reply).count() as u64) < MOST_BATCHES
}

/// Returns the batches of a read, with their positions.
fn batches(reply: &Reply) -> impl Iterator<Item = (BatchPosition, &[u8])> {
    (7..reply.len()).step_by(2).filter_map(|at| Some((BatchPosition::parse(reply.bytes(at))?, reply.bytes(at + 1))))
}

impl BatchPosition {
    fn parse(id: &[u8]) -> Option<Self> {
        let (epoch, last) = std::str::from_utf8(id).ok()?.split_once('-')?;
        Some(Self { epoch: Epoch::new(epoch.parse().ok()?), last: last.parse().ok()? })
    }
}
