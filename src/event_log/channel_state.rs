//! The log of one channel in this process's memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::time::Instant;

use super::channel_account::{ChannelAccount, ChannelAccountId, ChannelBudget};
use super::channel_limits::ChannelLimits;
use super::channel_slot::{ChannelSlot, Cost, costs, shape, total};
use super::memory_roster::MemoryRoster;
use super::sync::{Mutex, MutexGuard, unpoisoned};
use super::tail::TailMark;
use super::{Tail, TailState};
use crate::domain::{ChannelEvent, Keeping, Lookup, Sequence};

/// Identifies a log among all that the process has made, including other logs of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChannelNumber(pub u64);

pub struct MemoryChannel {
    pub number: ChannelNumber,
    pub tail: TailMark,
    /// The id of the account that holds the channel: a copy of the owner in the directory.
    pub owner: AtomicU64,
    roster: Mutex<MemoryRoster>,
    state: Mutex<ChannelState>,
}

pub struct ChannelState {
    pub(super) all: Arc<ChannelBudget>,
    /// `kept` and `ephemeral` are in the order of their positions.
    pub(super) kept: VecDeque<ChannelSlot>,
    pub(super) ephemeral: VecDeque<ChannelSlot>,
    pub(super) tail: Sequence,
    /// Of the events that are not ephemeral: the last one removed before the first kept one, and the last removed one
    /// that counted.
    pub(super) lost: Sequence,
    pub(super) lost_counted: Sequence,
    /// The last event that expired by age or count. Events lost after it were evicted.
    pub(super) expired: Sequence,
    /// When the last event evicted from the front was appended.
    pub(super) lost_at: Instant,
    /// Holes, where events were evicted between kept ones or after the last: the last position of each, and when its
    /// event was appended. There is at most one hole before each kept event and one after the last.
    pub(super) holes: BTreeMap<Sequence, Instant>,
    /// The number of kept events that count towards the history.
    pub(super) counted: usize,
    pub(super) bytes: usize,
    holdings: Lookup<ChannelAccountId, ChannelHolding>,
}

/// The events of one account in one channel.
pub struct ChannelHolding {
    account: Arc<ChannelAccount>,
    /// The time under which the directory lists the channel for the account. None of the account's events here is
    /// older.
    pub listed_at: Instant,
    /// The positions of its events, in order.
    kept: VecDeque<Sequence>,
    ephemeral: VecDeque<Sequence>,
    bytes: usize,
}

/// The events that a channel lost to eviction before they expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelLoss {
    /// The first position that may be missing.
    pub from: Sequence,
    /// When the last of them was appended.
    pub at: Instant,
}

/// Why an event is removed from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    Expired,
    Evicted,
}

/// The events of a log that was removed whole. Must be dropped outside every lock.
pub struct RemovedEvents {
    _kept: VecDeque<ChannelSlot>,
    _ephemeral: VecDeque<ChannelSlot>,
}

impl MemoryChannel {
    /// `loss` is the loss of an earlier log of this name.
    pub fn new(
        number: ChannelNumber,
        owner: ChannelAccountId,
        all: Arc<ChannelBudget>,
        before: Sequence,
        loss: Option<ChannelLoss>,
    ) -> Self {
        let state = ChannelState::new(all, before, loss);
        let (tail, owner) = (TailMark::new(state.tail().sequence), AtomicU64::new(owner.0));
        Self { number, tail, owner, roster: Mutex::new(MemoryRoster::default()), state: Mutex::new(state) }
    }

    /// Must not be called while the directory or the log is locked.
    pub fn lock_roster(&self) -> MutexGuard<'_, MemoryRoster> {
        unpoisoned(self.roster.lock())
    }

    pub fn lock(&self) -> MutexGuard<'_, ChannelState> {
        unpoisoned(self.state.lock())
    }
}

impl ChannelState {
    pub fn new(all: Arc<ChannelBudget>, before: Sequence, loss: Option<ChannelLoss>) -> Self {
        Self {
            all,
            kept: VecDeque::new(),
            ephemeral: VecDeque::new(),
            tail: before,
            lost: before,
            lost_counted: before,
            expired: loss.map_or(before, |loss| loss.from.before()),
            lost_at: loss.map_or_else(Instant::now, |loss| loss.at),
            holes: BTreeMap::new(),
            counted: 0,
            bytes: 0,
            holdings: Lookup::default(),
        }
    }

    pub const fn tail(&self) -> Tail {
        Tail { sequence: self.tail, state: TailState::Open }
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.ephemeral.is_empty()
    }

    pub fn keeps_events(&self) -> bool {
        !self.kept.is_empty()
    }

    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether the account may append, that is, whether the directory lists the channel for it.
    pub fn has_holding(&self, account: ChannelAccountId) -> bool {
        self.holdings.contains_key(&account)
    }

    pub fn add_holding(&mut self, account: &Arc<ChannelAccount>, listed_at: Instant) {
        let account = Arc::clone(account);
        let id = account.id;
        let (kept, ephemeral) = (VecDeque::new(), VecDeque::new());
        self.holdings.insert(id, ChannelHolding { account, listed_at, kept, ephemeral, bytes: 0 });
    }

    /// Lists the account under its oldest event here, or removes its empty holding. Returns the new time.
    pub fn list_again(&mut self, account: ChannelAccountId) -> Option<Instant> {
        let oldest = self.oldest_of(account).map(|(keeping, index)| self.slots(keeping).get(index).map(|slot| slot.at));
        let Some(at) = oldest.flatten() else {
            self.holdings.remove(&account);
            return None;
        };
        if let Some(holding) = self.holdings.get_mut(&account) {
            holding.listed_at = at;
        }
        Some(at)
    }

    /// Removes the holdings without events; returns the accounts and the times under which they were listed.
    pub fn remove_empty_holdings(&mut self) -> Vec<(ChannelAccountId, Instant)> {
        let is_empty = |holding: &mut ChannelHolding| holding.kept.is_empty() && holding.ephemeral.is_empty();
        let removed = self.holdings.extract_if(|_, holding| is_empty(holding));
        removed.map(|(account, holding)| (account, holding.listed_at)).collect()
    }

    pub fn has_empty_holdings(&self) -> bool {
        self.holdings.values().any(|holding| holding.kept.is_empty() && holding.ephemeral.is_empty())
    }

    /// Appends events that take at most `taken` bytes of the budget together; refunds the rest.
    pub fn append(&mut self, account: ChannelAccountId, events: Vec<ChannelEvent>, taken: usize, at: Instant) {
        let costs = costs(&events, self.kept.back().and_then(|slot| shape(&slot.event)));
        self.all.refund(taken - total(&costs));
        for (event, cost) in events.into_iter().zip(costs) {
            self.push(account, event, cost, at);
        }
    }

    fn push(&mut self, account: ChannelAccountId, event: ChannelEvent, cost: Cost, at: Instant) {
        let Cost { bytes, shape_bytes } = cost;
        self.tail = self.tail.plus(1);
        self.bytes += bytes;
        let keeping = event.keeping();
        if let Some(holding) = self.holdings.get_mut(&account) {
            holding.add(bytes);
            holding.positions(keeping).push_back(self.tail);
        }
        let slot = ChannelSlot { sequence: self.tail, at, bytes, shape_bytes, account, event };
        if keeping == Keeping::Kept {
            self.counted += usize::from(slot.event.counts());
        }
        self.slots_mut(keeping).push_back(slot);
    }

    /// Removes events older than the retention, events beyond the history that are older than `LIVE`, and ephemeral
    /// events older than `LIVE`.
    pub fn trim(&mut self, limits: &ChannelLimits, now: Instant) {
        let age = |slot: &ChannelSlot| now.saturating_duration_since(slot.at);
        while self.ephemeral.front().is_some_and(|slot| age(slot) > ChannelLimits::LIVE) {
            self.remove(Keeping::Ephemeral, 0, Departure::Expired);
        }
        while let Some(slot) = self.kept.front() {
            let beyond = self.counted > limits.history || (self.counted == limits.history && !slot.event.counts());
            if age(slot) <= limits.retention && !(beyond && age(slot) > ChannelLimits::LIVE) {
                break;
            }
            self.remove(Keeping::Kept, 0, Departure::Expired);
        }
        shrink(&mut self.kept);
        shrink(&mut self.ephemeral);
    }

    /// Evicts the oldest event of the log.
    pub fn evict_oldest(&mut self) -> bool {
        let first = |slots: &VecDeque<ChannelSlot>| slots.front().map_or(Sequence::new(u64::MAX), |slot| slot.sequence);
        let is_ephemeral = first(&self.ephemeral) < first(&self.kept);
        let keeping = if is_ephemeral { Keeping::Ephemeral } else { Keeping::Kept };
        self.remove(keeping, 0, Departure::Evicted).is_some()
    }

    /// Evicts the oldest events of an account until `wanted` bytes are freed or the account has none.
    pub fn evict_of(&mut self, account: ChannelAccountId, wanted: usize) {
        let mut freed = 0;
        while freed < wanted
            && let Some((keeping, index)) = self.oldest_of(account)
            && let Some(bytes) = self.remove(keeping, index, Departure::Evicted)
        {
            freed += bytes;
        }
        shrink(&mut self.kept);
        shrink(&mut self.ephemeral);
    }

    /// Returns the list and the index of the account's oldest event.
    fn oldest_of(&self, account: ChannelAccountId) -> Option<(Keeping, usize)> {
        let holding = self.holdings.get(&account)?;
        let first = |keeping, positions: &VecDeque<Sequence>| positions.front().map(|position| (*position, keeping));
        let kept = first(Keeping::Kept, &holding.kept);
        let (position, keeping) = match (kept, first(Keeping::Ephemeral, &holding.ephemeral)) {
            (Some(kept), Some(ephemeral)) if ephemeral.0 < kept.0 => ephemeral,
            (kept, ephemeral) => kept.or(ephemeral)?,
        };
        Some((keeping, self.slots(keeping).partition_point(|slot| slot.sequence < position)))
    }

    /// Removes an event, which must be the first of its account in its list; returns the freed bytes.
    pub(super) fn remove(&mut self, keeping: Keeping, index: usize, departure: Departure) -> Option<usize> {
        let slots = self.slots_mut(keeping);
        let slot = slots.remove(index)?;
        let mut freed = slot.bytes;
        let heir = slots.get_mut(index).filter(|next| slot.shape_bytes > next.shape_bytes && next.has_shape_of(&slot));
        let heir = heir.map(|next| {
            freed -= slot.shape_bytes;
            next.bytes += slot.shape_bytes;
            next.shape_bytes = slot.shape_bytes;
            next.account
        });
        if let Some(holding) = self.holdings.get_mut(&slot.account) {
            holding.positions(keeping).pop_front();
            shrink(holding.positions(keeping));
            holding.subtract(slot.bytes);
        }
        if let Some(holding) = heir.and_then(|account| self.holdings.get_mut(&account)) {
            holding.add(slot.shape_bytes);
        }
        self.bytes -= freed;
        self.all.refund(freed);
        if departure == Departure::Evicted {
            self.all.count_evicted(1);
        }
        if keeping == Keeping::Kept {
            if slot.event.counts() {
                self.lost_counted = self.lost_counted.max(slot.sequence);
                self.counted -= 1;
            }
            match departure {
                Departure::Expired => (self.lost, self.expired) = (slot.sequence, slot.sequence),
                Departure::Evicted => self.note_evicted(slot.sequence, slot.at, index),
            }
            self.merge_holes_at_front();
        }
        Some(freed)
    }

    /// Records an evicted event, which stood at `index`, as a hole or as lost at the front.
    pub(super) fn note_evicted(&mut self, position: Sequence, at: Instant, index: usize) {
        let Some(before) = index.checked_sub(1).and_then(|before| self.kept.get(before)) else {
            (self.lost, self.lost_at) = (position, at);
            return;
        };
        let after = self.kept.get(index).map_or(Sequence::new(u64::MAX), |next| next.sequence);
        let neighbours = before.sequence..after;
        let (mut last, mut last_at) = (position, at);
        while let Some((hole, hole_at)) = self.holes.range(neighbours.clone()).next().map(|(hole, at)| (*hole, *at)) {
            self.holes.remove(&hole);
            if hole > last {
                (last, last_at) = (hole, hole_at);
            }
        }
        self.holes.insert(last, last_at);
    }

    /// Merges each hole without a kept event before it into the loss at the front.
    fn merge_holes_at_front(&mut self) {
        let first = self.kept.front().map(|slot| slot.sequence);
        while let Some(hole) = self.holes.first_entry()
            && first.is_none_or(|first| *hole.key() < first)
        {
            (self.lost, self.lost_at) = hole.remove_entry();
        }
    }

    /// Leaves the next position empty, as a hole.
    pub fn skip(&mut self, at: Instant) {
        self.tail = self.tail.plus(1);
        self.note_evicted(self.tail, at, self.kept.len());
    }

    /// Empties the log before its removal; returns its events, and the accounts with the times under which they were
    /// listed.
    pub fn remove_all(&mut self) -> (RemovedEvents, Vec<(ChannelAccountId, Instant)>) {
        let listed = self.holdings.drain().map(|(account, holding)| {
            holding.account.subtract(holding.bytes);
            (account, holding.listed_at)
        });
        let listed = listed.collect();
        self.all.refund(std::mem::take(&mut self.bytes));
        self.all.count_evicted(self.kept.len() + self.ephemeral.len());
        self.counted = 0;
        let removed =
            RemovedEvents { _kept: std::mem::take(&mut self.kept), _ephemeral: std::mem::take(&mut self.ephemeral) };
        (removed, listed)
    }

    /// Returns the loss if the log is removed now.
    pub fn loss(&self, retention: Duration, now: Instant) -> Option<ChannelLoss> {
        let evicted_at = (self.lost > self.expired).then_some(self.lost_at);
        let at = self.kept.back().map(|slot| slot.at).or(evicted_at)?;
        (now.saturating_duration_since(at) <= retention).then(|| ChannelLoss { from: self.expired.plus(1), at })
    }

    const fn slots(&self, keeping: Keeping) -> &VecDeque<ChannelSlot> {
        match keeping {
            Keeping::Kept => &self.kept,
            Keeping::Ephemeral => &self.ephemeral,
        }
    }

    const fn slots_mut(&mut self, keeping: Keeping) -> &mut VecDeque<ChannelSlot> {
        match keeping {
            Keeping::Kept => &mut self.kept,
            Keeping::Ephemeral => &mut self.ephemeral,
        }
    }
}

impl ChannelHolding {
    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.account.add(bytes);
    }

    fn subtract(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.account.subtract(bytes);
    }

    const fn positions(&mut self, keeping: Keeping) -> &mut VecDeque<Sequence> {
        match keeping {
            Keeping::Kept => &mut self.kept,
            Keeping::Ephemeral => &mut self.ephemeral,
        }
    }
}

fn shrink<T>(list: &mut VecDeque<T>) {
    if list.len() < list.capacity() / 4 {
        list.shrink_to(list.len() * 2);
    }
}
