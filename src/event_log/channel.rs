//! The logs of channels, in this process's memory.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::channel_slot::{Cost, Slot, costs, shape, total};
use super::sync::{Mutex, MutexGuard, unpoisoned};
use super::tail::{TailReader, TailWriter};
use super::{
    AppendError, ChannelLog, ChannelLogs, ChannelsFull, History, Limit, Page, ReadError, Readable, Reply, Tail,
    TailState, ready,
};
use crate::domain::{ChannelEvent, ChannelName, Entry, Keeping, Sequence, Timestamp};

/// What the logs of channels may hold.
#[derive(Debug, Clone, Copy)]
pub struct ChannelLimits {
    /// Events that one keeps (`channels.history`); a generation's answer counts as one.
    pub history: usize,
    /// How long one keeps an event (`channels.retention`).
    pub retention: Duration,
    /// Bytes of one log (`channels.max_bytes`).
    pub bytes: usize,
    /// Bytes of all of them together (`channels.max_bytes_total`). Apart from those of generations: whoever publishes
    /// takes no answer's room.
    pub total: usize,
    /// How many there may be (`channels.max_channels`).
    pub channels: usize,
}

/// Logs that live as long as somebody reads them or they hold anything.
pub struct MemoryChannels {
    limits: ChannelLimits,
    all: Arc<Budget>,
    by_name: Mutex<HashMap<ChannelName, Arc<MemoryChannel>>>,
    /// The greatest number of the logs that are gone: the clock may be set back.
    spent: AtomicU64,
}

struct MemoryChannel {
    limits: ChannelLimits,
    all: Arc<Budget>,
    state: Mutex<State>,
    tail: TailWriter,
}

struct State {
    /// Both in the order of their positions.
    kept: VecDeque<Slot>,
    ephemeral: VecDeque<Slot>,
    tail: Sequence,
    /// The last event to keep that was evicted, and the last of those that counted.
    lost: Sequence,
    lost_counted: Sequence,
    /// Of those that are kept, those that count.
    counted: usize,
    bytes: usize,
}

/// What all may hold together, and hold.
struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Whether there would be, if who holds `own` gave all of it back.
    fn has_room_but_for(&self, own: usize, bytes: usize) -> bool {
        self.used.load(Ordering::Relaxed).saturating_sub(own).saturating_add(bytes) <= self.limit
    }

    fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// So long every event stays, for those who are there and slow: whoever takes nothing for longer is cut off.
const LIVE: Duration = Duration::from_secs(30);
/// A page ends at the first entry that takes it past this.
const PAGE_BYTES: usize = 16 * 1024;
/// Numbers that a log may use for each millisecond before those of a later log could meet them.
const NUMBERS_PER_MILLI: u64 = 1000;

impl MemoryChannels {
    pub fn new(limits: ChannelLimits) -> Self {
        let all = Arc::new(Budget { limit: limits.total, used: AtomicUsize::new(0) });
        Self { limits, all, by_name: Mutex::default(), spent: AtomicU64::new(0) }
    }

    /// Bytes that all of them hold.
    pub fn bytes(&self) -> usize {
        self.all.used.load(Ordering::Relaxed)
    }

    /// Channels that are there.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Of those that nobody reads or writes at the moment, the one that was written to least recently.
    fn let_go_of_one(&self, by_name: &mut HashMap<ChannelName, Arc<MemoryChannel>>) -> bool {
        let unheld = by_name.iter().filter(|(_, log)| Arc::strong_count(log) == 1);
        let least = unheld.min_by_key(|(_, log)| log.lock().last_write()).map(|(name, _)| name.clone());
        let gone = least.and_then(|name| by_name.remove(&name));
        gone.is_some_and(|log| {
            self.note_spent(&log);
            true
        })
    }

    fn note_spent(&self, log: &MemoryChannel) {
        self.spent.fetch_max(log.lock().tail.get(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelName, Arc<MemoryChannel>>> {
        unpoisoned(self.by_name.lock())
    }
}

impl ChannelLogs for MemoryChannels {
    fn open(&self, name: &ChannelName) -> Reply<'_, Result<Arc<dyn ChannelLog>, ChannelsFull>> {
        let mut by_name = self.lock();
        if let Some(log) = by_name.get(name) {
            return ready(Ok(Arc::clone(log) as Arc<dyn ChannelLog>));
        }
        if by_name.len() >= self.limits.channels && !self.let_go_of_one(&mut by_name) {
            return ready(Err(ChannelsFull));
        }
        let before = Timestamp::now().millis().saturating_mul(NUMBERS_PER_MILLI);
        let before = Sequence::new(before.max(self.spent.load(Ordering::Relaxed)));
        let log = Arc::new(MemoryChannel::new(self.limits, Arc::clone(&self.all), before));
        by_name.insert(name.clone(), Arc::clone(&log));
        ready(Ok(log as Arc<dyn ChannelLog>))
    }

    fn find(&self, name: &ChannelName) -> Reply<'_, Option<Arc<dyn ChannelLog>>> {
        ready(self.lock().get(name).map(|log| Arc::clone(log) as Arc<dyn ChannelLog>))
    }

    fn sweep(&self) -> Reply<'_, ()> {
        let now = Instant::now();
        // Under the lock under which it would be found: nobody gets hold of one that goes.
        self.lock().retain(|_, log| {
            let mut state = log.lock();
            log.trim(&mut state, now);
            let is_empty = state.kept.is_empty() && state.ephemeral.is_empty();
            drop(state);
            let stays = !is_empty || Arc::strong_count(log) > 1;
            if !stays {
                self.note_spent(log);
            }
            stays
        });
        ready(())
    }
}

impl MemoryChannel {
    fn new(limits: ChannelLimits, all: Arc<Budget>, before: Sequence) -> Self {
        let state = State {
            kept: VecDeque::new(),
            ephemeral: VecDeque::new(),
            tail: before,
            lost: before,
            lost_counted: before,
            counted: 0,
            bytes: 0,
        };
        Self { limits, all, tail: TailWriter::new(state.tail()), state: Mutex::new(state) }
    }

    fn append_now(&self, events: Vec<ChannelEvent>) -> Result<Sequence, AppendError> {
        // As if nothing were kept: room that is made for it may evict a shape that it shares.
        let cost = total(&costs(&events, None));
        if cost > self.limits.bytes {
            return Err(AppendError::Full(Limit::Own));
        }
        let now = Instant::now();
        let mut state = self.lock();
        // Before anything goes for it: what finds no room changes nothing.
        if !self.all.has_room_but_for(state.bytes, cost) {
            return Err(AppendError::Full(Limit::Total));
        }
        while state.bytes + cost > self.limits.bytes && self.let_go_of_oldest(&mut state) {}
        while !self.all.take(cost) {
            if !self.let_go_of_oldest(&mut state) {
                return Err(AppendError::Full(Limit::Total));
            }
        }
        let costs = costs(&events, state.kept.back().and_then(|slot| shape(&slot.event)));
        self.all.give(cost - total(&costs));
        for (event, cost) in events.into_iter().zip(costs) {
            state.push(event, cost, now);
        }
        self.trim(&mut state, now);
        // Under the log's lock, lest two tails overtake one another.
        self.tail.move_to(state.tail());
        Ok(state.tail)
    }

    /// Lets go of what is too old, and of what is beyond the history once nobody who is there can lack it.
    fn trim(&self, state: &mut State, now: Instant) {
        let age = |slot: &Slot| now.saturating_duration_since(slot.at);
        while state.ephemeral.front().is_some_and(|slot| age(slot) > LIVE) {
            self.let_go(state, Keeping::Ephemeral);
        }
        while let Some(slot) = state.kept.front() {
            let beyond =
                state.counted > self.limits.history || (state.counted == self.limits.history && !slot.event.counts());
            if age(slot) <= self.limits.retention && !(beyond && age(slot) > LIVE) {
                break;
            }
            self.let_go(state, Keeping::Kept);
        }
        for slots in [&mut state.kept, &mut state.ephemeral] {
            if slots.len() < slots.capacity() / 4 {
                slots.shrink_to(slots.len() * 2);
            }
        }
    }

    fn let_go_of_oldest(&self, state: &mut State) -> bool {
        let first = |slots: &VecDeque<Slot>| slots.front().map_or(Sequence::new(u64::MAX), |slot| slot.sequence);
        let ephemeral_first = first(&state.ephemeral) < first(&state.kept);
        self.let_go(state, if ephemeral_first { Keeping::Ephemeral } else { Keeping::Kept })
    }

    fn let_go(&self, state: &mut State, keeping: Keeping) -> bool {
        let slots = match keeping {
            Keeping::Kept => &mut state.kept,
            Keeping::Ephemeral => &mut state.ephemeral,
        };
        let Some(mut slot) = slots.pop_front() else { return false };
        if let Some(next) = slots.front_mut().filter(|next| slot.shape_bytes > 0 && next.has_shape_of(&slot)) {
            slot.bytes -= slot.shape_bytes;
            next.bytes += slot.shape_bytes;
            next.shape_bytes = slot.shape_bytes;
        }
        if keeping == Keeping::Kept {
            state.lost = slot.sequence;
            if slot.event.counts() {
                state.lost_counted = slot.sequence;
                state.counted -= 1;
            }
        }
        state.bytes -= slot.bytes;
        self.all.give(slot.bytes);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }
}

impl ChannelLog for MemoryChannel {
    fn append(&self, events: Vec<ChannelEvent>) -> Reply<'_, Result<Sequence, AppendError>> {
        ready(self.append_now(events))
    }

    fn skip(&self) -> Reply<'_, ()> {
        let mut state = self.lock();
        while self.let_go_of_oldest(&mut state) {}
        state.tail = state.tail.plus(1);
        state.lost = state.tail;
        self.tail.move_to(state.tail());
        ready(())
    }

    fn history(&self, most: usize) -> Reply<'_, History> {
        let mut state = self.lock();
        self.trim(&mut state, Instant::now());
        ready(state.history(most.min(self.limits.history)))
    }
}

impl Readable for MemoryChannel {
    type Event = ChannelEvent;

    fn read(&self, after: Sequence) -> Reply<'_, Result<Page<ChannelEvent>, ReadError>> {
        ready(self.lock().page(after))
    }

    fn tail(&self) -> TailReader {
        self.tail.reader()
    }
}

impl Drop for MemoryChannel {
    fn drop(&mut self) {
        let bytes = self.lock().bytes;
        self.all.give(bytes);
    }
}

impl State {
    const fn tail(&self) -> Tail {
        Tail { sequence: self.tail, state: TailState::Open }
    }

    fn push(&mut self, event: ChannelEvent, Cost { bytes, shape_bytes }: Cost, at: Instant) {
        self.tail = self.tail.plus(1);
        self.bytes += bytes;
        let slot = Slot { sequence: self.tail, at, bytes, shape_bytes, event };
        match slot.event.keeping() {
            Keeping::Ephemeral => self.ephemeral.push_back(slot),
            Keeping::Kept => {
                self.counted += usize::from(slot.event.counts());
                self.kept.push_back(slot);
            }
        }
    }

    fn last_write(&self) -> Option<Instant> {
        self.kept.back().map(|slot| slot.at).max(self.ephemeral.back().map(|slot| slot.at))
    }

    fn history(&self, most: usize) -> History {
        let events = self.counted.max(usize::from(!self.kept.is_empty())).min(most);
        let counting = self.kept.iter().rev().filter(|slot| slot.event.counts());
        let first = if most == 0 { None } else { counting.take(most).last().or(self.kept.front()) };
        let Some(first) = first else {
            return History { after: self.tail, cut: None, events, bytes: self.bytes };
        };
        let from = self.kept.partition_point(|slot| slot.sequence < first.sequence);
        let go_on: HashSet<_> = self.kept.range(from..).filter_map(Slot::generation).collect();
        let is_of_one = |slot: &&Slot| slot.generation().is_some_and(|generation| go_on.contains(&generation));
        // A reader needs an answer's first event, so replay an unfinished answer from there.
        let first = self.kept.range(..from).find(is_of_one).unwrap_or(first);
        let mut begun = HashSet::new();
        // Of each answer the first event that is kept.
        let mut beginnings = self.kept.iter().filter(is_of_one).filter(|slot| begun.insert(slot.generation()));
        let cut = beginnings.any(|slot| !slot.event.counts()).then_some(self.lost_counted);
        History { after: first.sequence.before(), cut, events, bytes: self.bytes }
    }

    fn page(&self, after: Sequence) -> Result<Page<ChannelEvent>, ReadError> {
        if after > self.tail {
            return Err(ReadError::BeyondTail);
        }
        if after < self.lost {
            return Err(ReadError::Trimmed(self.lost));
        }
        let from = |slots: &VecDeque<Slot>| slots.partition_point(|slot| slot.sequence <= after);
        let mut kept = self.kept.range(from(&self.kept)..).peekable();
        let mut ephemeral = self.ephemeral.range(from(&self.ephemeral)..).peekable();
        let (mut page, mut bytes) = (Page::new(), 0);
        while bytes <= PAGE_BYTES {
            let next = match (kept.peek(), ephemeral.peek()) {
                (Some(one), Some(other)) if other.sequence < one.sequence => ephemeral.next(),
                (Some(_), _) => kept.next(),
                (None, _) => ephemeral.next(),
            };
            let Some(slot) = next else { break };
            bytes += slot.bytes;
            page.push(Entry { sequence: slot.sequence, event: slot.event.clone() });
        }
        Ok(page)
    }
}
