//! The event log in this process's memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::{AppendError, Closing, CreateError, EventLog, Limit, Log, ReadError, Reply, Tail, TailState, ready};
use crate::domain::{Chunk, Entry, Escaped, Event, GenerationId, Sequence, Shape, Trailer};

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
/// Bytes are counted by what is stored: 12 for each entry beside its text, shapes and rare events by
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
    by_id: HashMap<GenerationId, Kept>,
    /// Closed logs by the moment they expire, which is the order in which they closed. A log that has
    /// been removed meanwhile keeps its place here until then.
    closed: VecDeque<(Instant, GenerationId)>,
    /// The sum over `by_id`.
    bytes: usize,
}

struct Kept {
    log: Arc<MemoryLog>,
    bytes: usize,
}

struct MemoryLog {
    id: GenerationId,
    all: Weak<Shared>,
    state: Mutex<State>,
    tail: watch::Sender<Tail>,
}

/// Entries by position, their texts end to end in one arena, what they share once.
#[derive(Default)]
struct State {
    slots: Vec<Slot>,
    arena: Vec<u8>,
    shapes: Vec<Arc<Shape>>,
    /// The rare events: the first and the last.
    events: Vec<Event>,
    bytes: usize,
    closed: bool,
}

#[derive(Clone, Copy)]
struct Slot {
    kind: SlotKind,
    text_end: u32,
}

#[derive(Clone, Copy)]
enum SlotKind {
    Chunk { shape: u32 },
    Event { index: u32 },
}

/// A page ends at the first entry that takes it past this.
const PAGE_BYTES: usize = 16 * 1024;
/// So many shapes back a chunk's shape is looked for. Streams alternate between a few.
const SHAPES_LOOKED_AT: usize = 8;
/// What a start or a terminal event is counted as, beside the texts that callers and providers choose.
const EVENT_BYTES: usize = 512;

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
    fn create(&self, generation: GenerationId, first: Event) -> Reply<'_, Result<Arc<dyn Log>, CreateError>> {
        let mut state = State::default();
        let bytes = state.cost(std::slice::from_ref(&first));
        state.push(first);
        state.bytes = bytes;
        let log = Arc::new(MemoryLog {
            id: generation,
            all: Arc::downgrade(&self.0),
            tail: watch::Sender::new(state.tail()),
            state: Mutex::new(state),
        });
        let mut logs = self.0.lock();
        if !logs.make_room(bytes, self.0.limits.total) {
            return ready(Err(CreateError::Full));
        }
        logs.bytes += bytes;
        logs.by_id.insert(generation, Kept { log: Arc::clone(&log), bytes });
        ready(Ok(log))
    }

    fn open(&self, generation: GenerationId) -> Reply<'_, Option<Arc<dyn Log>>> {
        let log = self.0.lock().by_id.get(&generation).map(|kept| Arc::clone(&kept.log) as Arc<dyn Log>);
        ready(log)
    }

    fn remove(&self, generation: GenerationId) -> Reply<'_, ()> {
        self.0.lock().forget(generation);
        ready(())
    }
}

impl Log for MemoryLog {
    fn append(&self, tail: Sequence, events: Vec<Event>) -> Reply<'_, Result<Sequence, AppendError>> {
        ready(self.append_now(tail, events))
    }

    fn close(&self, terminal: Event) -> Reply<'_, Closing> {
        ready(self.close_now(terminal))
    }

    fn read(&self, after: Sequence) -> Reply<'_, Result<Vec<Entry>, ReadError>> {
        ready(self.lock().page(after))
    }

    fn tail(&self) -> watch::Receiver<Tail> {
        self.tail.subscribe()
    }
}

impl MemoryLog {
    fn append_now(&self, tail: Sequence, events: Vec<Event>) -> Result<Sequence, AppendError> {
        let mut state = self.lock();
        if state.closed {
            return Err(AppendError::Closed);
        }
        if state.tail().sequence != tail {
            return Err(AppendError::Moved);
        }
        let cost = state.cost(&events);
        if let Some(all) = self.all.upgrade() {
            if state.bytes + cost > all.limits.generation {
                return Err(AppendError::Full(Limit::Generation));
            }
            if !all.lock().charge(self.id, cost, all.limits.total) {
                return Err(AppendError::Full(Limit::Total));
            }
        }
        for event in events {
            state.push(event);
        }
        state.bytes += cost;
        Ok(self.announce(&state))
    }

    fn close_now(&self, terminal: Event) -> Closing {
        let mut state = self.lock();
        if state.closed {
            return match state.events.last() {
                Some(winner) => Closing::Lost(winner.clone()),
                None => Closing::Lost(terminal),
            };
        }
        let cost = state.cost(std::slice::from_ref(&terminal));
        state.push(terminal);
        state.bytes += cost;
        state.closed = true;
        self.announce(&state);
        if let Some(all) = self.all.upgrade() {
            all.lock().close(self.id, cost, all.limits.total, Instant::now() + all.limits.retention);
            all.expiry_set.notify_one();
        }
        Closing::Won
    }

    /// Under the log's lock: announced after it, two tails could overtake one another, and readers
    /// would sleep beside a closed log that says it is open.
    fn announce(&self, state: &State) -> Sequence {
        let tail = state.tail();
        self.tail.send_replace(tail);
        tail.sequence
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Logs {
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

    fn forget(&mut self, id: GenerationId) {
        if let Some(kept) = self.by_id.remove(&id) {
            self.bytes -= kept.bytes;
        }
    }
}

impl State {
    fn tail(&self) -> Tail {
        let state = if self.closed { TailState::Closed } else { TailState::Open };
        Tail { sequence: Sequence::new(self.slots.len() as u64), state }
    }

    fn cost(&self, events: &[Event]) -> usize {
        let mut unknown: Vec<&Arc<Shape>> = Vec::new();
        let mut cost = 0;
        for event in events {
            cost += size_of::<Slot>();
            let Event::Chunk(chunk) = event else {
                cost += event_size(event);
                continue;
            };
            cost += chunk.text().as_str().len();
            let shape = chunk.shape();
            if self.shape(shape).is_none() && !unknown.iter().any(|known| Arc::ptr_eq(known, shape)) {
                cost += shape.size();
                unknown.push(shape);
            }
        }
        cost
    }

    fn push(&mut self, event: Event) {
        let kind = match event {
            Event::Chunk(chunk) => {
                self.arena.extend_from_slice(chunk.text().as_str().as_bytes());
                let shape = self.shape(chunk.shape()).unwrap_or_else(|| {
                    self.shapes.push(Arc::clone(chunk.shape()));
                    self.shapes.len() - 1
                });
                SlotKind::Chunk { shape: index(shape) }
            }
            event => {
                self.events.push(event);
                SlotKind::Event { index: index(self.events.len() - 1) }
            }
        };
        self.slots.push(Slot { kind, text_end: index(self.arena.len()) });
    }

    fn shape(&self, shape: &Arc<Shape>) -> Option<usize> {
        let recent = self.shapes.iter().enumerate().rev().take(SHAPES_LOOKED_AT);
        recent.into_iter().find(|(_, known)| Arc::ptr_eq(known, shape)).map(|(at, _)| at)
    }

    fn page(&self, after: Sequence) -> Result<Vec<Entry>, ReadError> {
        let start = usize::try_from(after.get()).map_err(|_| ReadError::BeyondTail)?;
        let slots = self.slots.get(start..).ok_or(ReadError::BeyondTail)?;
        let text_start =
            start.checked_sub(1).and_then(|at| self.slots.get(at)).map_or(0, |slot| slot.text_end as usize);
        let mut size = 0;
        let mut text_end = text_start;
        let length = slots
            .iter()
            .position(|slot| {
                size += self.size(*slot, text_end);
                text_end = slot.text_end as usize;
                size > PAGE_BYTES
            })
            .map_or(slots.len(), |at| at + 1);
        // One copy for the page, cut into its texts without another.
        let texts = Bytes::copy_from_slice(self.arena.get(text_start..text_end).unwrap_or_default());
        let mut from = text_start;
        slots
            .iter()
            .take(length)
            .zip(start as u64 + 1..)
            .map(|(slot, sequence)| {
                let text = texts.slice(from - text_start..slot.text_end as usize - text_start);
                from = slot.text_end as usize;
                let event = self.event(*slot, text).ok_or(ReadError::Lost)?;
                Ok(Entry { sequence: Sequence::new(sequence), event })
            })
            .collect()
    }

    fn event(&self, slot: Slot, text: Bytes) -> Option<Event> {
        match slot.kind {
            SlotKind::Event { index } => self.events.get(index as usize).cloned(),
            SlotKind::Chunk { shape } => {
                let shape = Arc::clone(self.shapes.get(shape as usize)?);
                Some(Event::Chunk(Chunk::new(shape, Escaped::from_stored(text).ok()?)))
            }
        }
    }

    /// What an entry will take on a wire, about.
    fn size(&self, slot: Slot, text_start: usize) -> usize {
        let shape = match slot.kind {
            SlotKind::Chunk { shape } => self.shapes.get(shape as usize).map_or(0, |shape| shape.size()),
            SlotKind::Event { .. } => EVENT_BYTES,
        };
        shape + slot.text_end as usize - text_start
    }
}

fn event_size(event: &Event) -> usize {
    let texts = match event {
        Event::Start(start) => {
            let metadata = start.metadata.iter().map(|(key, value)| key.len() + value.len());
            start.model.len() + metadata.sum::<usize>()
        }
        Event::Done(done) => {
            let Trailer { chunks_json, head_json, usage_json } = &done.trailer;
            chunks_json.len() + head_json.len() + usage_json.as_ref().map_or(0, |usage| usage.len())
        }
        Event::Cancelled(_) | Event::Failed(_) | Event::Chunk(_) => 0,
    };
    EVENT_BYTES + texts
}

/// Positions inside one log fit 32 bits: `generation.max_bytes` is at most 1 GiB.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
