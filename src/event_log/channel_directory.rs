//! The channels by name and by account, and the order in which they are evicted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::ChannelsFull;
use super::channel_account::{ChannelAccount, ChannelAccountId, ChannelBudget};
use super::channel_state::{ChannelLoss, ChannelNumber, MemoryChannel, RemovedEvents};
use crate::domain::{Account, ChannelName, Lookup, Sequence, Timestamp};

/// All channels and the accounts that hold them. Lock order: the directory before the log of a channel, never after.
pub struct ChannelDirectory {
    pub channels: HashMap<ChannelName, ListedChannel>,
    accounts: HashMap<Account, ChannelAccountId>,
    ledgers: Lookup<ChannelAccountId, AccountLedger>,
    /// The accounts by their bytes when they were last ranked ([`ChannelAccount::has_outgrown_rank`]).
    by_bytes: BTreeSet<(usize, ChannelAccountId)>,
    /// The accounts that have an idle channel, by the number of all channels that they hold.
    by_channels: BTreeSet<(usize, ChannelAccountId)>,
    tombstones: HashMap<ChannelName, ChannelTombstone>,
    all: Arc<ChannelBudget>,
    retention: Duration,
    most: usize,
    /// The last number assigned to an account, a channel, an idle channel or a tombstone.
    last: u64,
    /// The greatest position of all removed logs. New logs begin above it even if the clock is set back.
    spent: Sequence,
}

/// A channel in the directory.
///
/// It is held by the account that opened it. If another account appends while the channel keeps no event, that account
/// holds it from then on. An account that only subscribes therefore does not hold a channel that others publish into.
pub struct ListedChannel {
    pub channel: Arc<MemoryChannel>,
    owner: ChannelAccountId,
    /// The number of its handles.
    handles: usize,
    /// Its place in the order of eviction, while it has no handle.
    idle: Option<IdleKey>,
}

/// The channels and tombstones of one account.
struct AccountLedger {
    name: Account,
    account: Arc<ChannelAccount>,
    handles: usize,
    /// The number of channels that it holds, and that number in its entry in `by_channels`.
    channels: usize,
    ranked_channels: Option<usize>,
    /// Its channels without a handle, in the order of eviction: empty ones first, then by how long they have been idle.
    idle: BTreeMap<IdleKey, ChannelName>,
    /// The channels that have events of this account, by the time of the oldest one. A time may be too early; it is
    /// corrected when it comes first.
    listed: BTreeMap<ListedKey, Arc<MemoryChannel>>,
    /// Its tombstones, in the order of their expiry.
    tombstones: BTreeMap<(Instant, u64), ChannelName>,
}

type IdleKey = (Occupancy, u64);

/// Whether an idle channel held events when its last handle was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Occupancy {
    Empty,
    Used,
}

type ListedKey = (Instant, ChannelNumber);

/// Records the loss of a log that was evicted whole, so that a later log of the name can report the gap. Counted
/// against the account that held the channel.
struct ChannelTombstone {
    loss: ChannelLoss,
    key: (Instant, u64),
    account: ChannelAccountId,
}

/// What is evicted next to make room.
pub enum Evictable {
    /// The account's oldest events in this channel.
    Events { account: ChannelAccountId, channel: Arc<MemoryChannel>, key: ListedKey },
    /// A tombstone, which has already been removed.
    Tombstone,
}

/// Positions that a log may use for each millisecond without reaching those of a later log.
const NUMBERS_PER_MILLI: u64 = 1000;
/// Bytes counted for a tombstone beside the channel's name.
const TOMBSTONE_BYTES: usize = 256;

impl ChannelDirectory {
    pub fn new(all: Arc<ChannelBudget>, retention: Duration, most: usize) -> Self {
        Self {
            channels: HashMap::new(),
            accounts: HashMap::new(),
            ledgers: Lookup::default(),
            by_bytes: BTreeSet::new(),
            by_channels: BTreeSet::new(),
            tombstones: HashMap::new(),
            all,
            retention,
            most,
            last: 0,
            spent: Sequence::START,
        }
    }

    /// Adds a handle of the account; [`Self::leave`] or [`Self::release`] removes it.
    pub fn enter(&mut self, name: &Account) -> Arc<ChannelAccount> {
        let next = ChannelAccountId(self.last + 1);
        let id = self.accounts.get(name).copied().unwrap_or(next);
        if id == next {
            self.last += 1;
            self.accounts.insert(name.clone(), id);
        }
        let ledger = self.ledgers.entry(id).or_insert_with(|| AccountLedger::new(name.clone(), id));
        ledger.handles += 1;
        Arc::clone(&ledger.account)
    }

    /// Adds a handle of the channel, if the channel exists.
    pub fn hold(&mut self, name: &ChannelName) -> Option<Arc<MemoryChannel>> {
        let listed = self.channels.get_mut(name)?;
        listed.handles += 1;
        let (channel, owner) = (Arc::clone(&listed.channel), listed.owner);
        if let (Some(order), Some(ledger)) = (listed.idle.take(), self.ledgers.get_mut(&owner)) {
            ledger.idle.remove(&order);
            self.rank_channels(owner);
        }
        Some(channel)
    }

    /// Returns the account that holds the channel.
    pub fn owner(&self, name: &ChannelName) -> Option<&Account> {
        let owner = self.channels.get(name)?.owner;
        self.ledgers.get(&owner).map(|ledger| &ledger.name)
    }

    /// Adds a channel that the account holds, with one handle.
    pub fn add(&mut self, name: &ChannelName, owner: ChannelAccountId) -> Arc<MemoryChannel> {
        let by_clock = Sequence::new(Timestamp::now().millis().saturating_mul(NUMBERS_PER_MILLI));
        let before = by_clock.max(self.spent);
        self.last += 1;
        let (number, loss) = (ChannelNumber(self.last), self.take_tombstone(name));
        let loss = loss.filter(|loss| loss.at.elapsed() <= self.retention);
        let channel = Arc::new(MemoryChannel::new(number, owner, Arc::clone(&self.all), before, loss));
        let listed = ListedChannel { channel: Arc::clone(&channel), owner, handles: 1, idle: None };
        self.channels.insert(name.clone(), listed);
        self.count_channel(owner, 1);
        channel
    }

    /// Makes room for another channel of the account if the number of channels is at its limit. Of the accounts that
    /// have an idle channel, the one that holds most loses the first in its order of eviction. An account that itself
    /// holds as many evicts its own; it is refused if none of its channels is idle.
    pub fn make_room(&mut self, account: ChannelAccountId) -> Result<Option<RemovedEvents>, ChannelsFull> {
        if self.channels.len() < self.most {
            return Ok(None);
        }
        let own = self.ledgers.get(&account).map_or((0, false), |ledger| (ledger.channels, !ledger.idle.is_empty()));
        let (most, id) = *self.by_channels.last().ok_or(ChannelsFull)?;
        let id = match own {
            (own, true) if own >= most => account,
            (own, false) if own >= most => return Err(ChannelsFull),
            _ => id,
        };
        let name = self.ledgers.get(&id).and_then(|ledger| ledger.idle.values().next()).cloned().ok_or(ChannelsFull)?;
        self.remove(&name).map(Some).ok_or(ChannelsFull)
    }

    /// Removes a handle of the channel and of the account.
    pub fn release(&mut self, name: &ChannelName, account: ChannelAccountId) {
        if let Some(listed) = self.channels.get_mut(name) {
            listed.handles = listed.handles.saturating_sub(1);
            if listed.handles == 0 {
                self.last += 1;
                let is_empty = listed.channel.lock().is_empty();
                let key = (if is_empty { Occupancy::Empty } else { Occupancy::Used }, self.last);
                listed.idle = Some(key);
                let owner = listed.owner;
                if let Some(ledger) = self.ledgers.get_mut(&owner) {
                    ledger.idle.insert(key, name.clone());
                }
                self.rank_channels(owner);
            }
        }
        self.leave(account);
    }

    /// Removes a handle of the account.
    pub fn leave(&mut self, account: ChannelAccountId) {
        if let Some(ledger) = self.ledgers.get_mut(&account) {
            ledger.handles = ledger.handles.saturating_sub(1);
        }
        self.close_unused(account);
    }

    /// Makes the account the holder of the channel, which must have a handle.
    pub fn hand_over(&mut self, name: &ChannelName, to: ChannelAccountId) {
        let Some(listed) = self.channels.get_mut(name) else { return };
        let from = std::mem::replace(&mut listed.owner, to);
        listed.channel.owner.store(to.0, Ordering::Relaxed);
        if from != to {
            self.count_channel(from, -1);
            self.count_channel(to, 1);
            self.close_unused(from);
        }
    }

    /// Lists the channel for the account, before the account's first event is appended to it.
    pub fn list(&mut self, channel: &Arc<MemoryChannel>, account: &Arc<ChannelAccount>) {
        let mut state = channel.lock();
        let Some(ledger) = self.ledgers.get_mut(&account.id).filter(|_| !state.has_holding(account.id)) else { return };
        let now = Instant::now();
        state.add_holding(account, now);
        ledger.listed.insert((now, channel.number), Arc::clone(channel));
    }

    /// Lists the channel under the account's oldest event in it, or removes it from the list if it has none.
    pub fn list_again(&mut self, account: ChannelAccountId, channel: &Arc<MemoryChannel>, key: ListedKey) {
        let Some(ledger) = self.ledgers.get_mut(&account) else { return };
        // A concurrent eviction may have done this already.
        if ledger.listed.remove(&key).is_none() {
            return;
        }
        if let Some(oldest) = channel.lock().list_again(account) {
            ledger.listed.insert((oldest, channel.number), Arc::clone(channel));
        }
        self.close_unused(account);
    }

    /// Updates the account's rank.
    pub fn rank_bytes(&mut self, account: ChannelAccountId) {
        let Some(ledger) = self.ledgers.get(&account) else { return };
        let (ranked, bytes) = (ledger.account.ranked(), ledger.account.bytes());
        self.by_bytes.remove(&(ranked, account));
        if bytes > 0 {
            self.by_bytes.insert((bytes, account));
        }
        ledger.account.set_ranked(bytes);
    }

    /// Returns what to evict next: events or a tombstone of the account that holds most bytes.
    pub fn next_evictable(&mut self) -> Option<Evictable> {
        loop {
            let (ranked, account) = *self.by_bytes.last()?;
            let ledger = self.ledgers.get(&account)?;
            if ledger.account.bytes() < ranked {
                self.rank_bytes(account);
            } else if let Some((key, channel)) = ledger.listed.first_key_value() {
                return Some(Evictable::Events { account, channel: Arc::clone(channel), key: *key });
            } else {
                let name = ledger.tombstones.values().next()?.clone();
                self.take_tombstone(&name)?;
                return Some(Evictable::Tombstone);
            }
        }
    }

    /// Removes the channel if it is idle and empty; else unlists it for accounts without events in it.
    pub fn clean(&mut self, name: &ChannelName) {
        let Some(listed) = self.channels.get(name) else { return };
        let (channel, is_idle) = (Arc::clone(&listed.channel), listed.handles == 0);
        let mut state = channel.lock();
        if is_idle && state.is_empty() {
            drop(state);
            self.remove(name);
            return;
        }
        let removed = state.remove_empty_holdings();
        drop(state);
        for (account, at) in removed {
            self.unlist(account, (at, channel.number));
        }
    }

    /// Removes expired tombstones.
    pub fn expire_tombstones(&mut self, now: Instant) {
        let is_over = |ledger: &AccountLedger| ledger.tombstones.keys().next().is_some_and(|(until, _)| *until < now);
        let over: Vec<_> = self.ledgers.iter().filter(|(_, ledger)| is_over(ledger)).map(|(id, _)| *id).collect();
        for account in over {
            while let Some(ledger) = self.ledgers.get(&account).filter(|ledger| is_over(ledger))
                && let Some(name) = ledger.tombstones.values().next().cloned()
                && self.take_tombstone(&name).is_some()
            {}
        }
    }

    /// Removes a channel, which must have no handle; returns its events.
    fn remove(&mut self, name: &ChannelName) -> Option<RemovedEvents> {
        let ListedChannel { channel, owner, idle, .. } = self.channels.remove(name)?;
        if let (Some(order), Some(ledger)) = (idle, self.ledgers.get_mut(&owner)) {
            ledger.idle.remove(&order);
        }
        let mut state = channel.lock();
        self.spent = self.spent.max(state.tail().sequence);
        let loss = state.loss(self.retention, Instant::now());
        let (events, listed) = state.remove_all();
        drop(state);
        if let Some(loss) = loss {
            self.add_tombstone(name, owner, loss);
        }
        for (account, at) in listed {
            self.unlist(account, (at, channel.number));
        }
        self.count_channel(owner, -1);
        self.close_unused(owner);
        Some(events)
    }

    fn unlist(&mut self, account: ChannelAccountId, key: ListedKey) {
        if let Some(ledger) = self.ledgers.get_mut(&account) {
            ledger.listed.remove(&key);
        }
        self.close_unused(account);
    }

    /// Adds a tombstone. If the account then has more of them than the limit of channels, the first to expire is
    /// removed.
    fn add_tombstone(&mut self, name: &ChannelName, account: ChannelAccountId, loss: ChannelLoss) {
        self.last += 1;
        let key = (loss.at + self.retention, self.last);
        let Some(ledger) = self.ledgers.get_mut(&account) else { return };
        let oldest = ledger.tombstones.values().next().filter(|_| ledger.tombstones.len() >= self.most).cloned();
        ledger.tombstones.insert(key, name.clone());
        let bytes = tombstone_bytes(name);
        ledger.account.add(bytes);
        // Not checked against the limit: the removed log has freed about as many bytes.
        self.all.force(bytes);
        self.tombstones.insert(name.clone(), ChannelTombstone { loss, key, account });
        self.rank_bytes(account);
        if let Some(oldest) = oldest {
            self.take_tombstone(&oldest);
        }
    }

    fn take_tombstone(&mut self, name: &ChannelName) -> Option<ChannelLoss> {
        let ChannelTombstone { loss, key, account } = self.tombstones.remove(name)?;
        let bytes = tombstone_bytes(name);
        self.all.refund(bytes);
        if let Some(ledger) = self.ledgers.get_mut(&account) {
            ledger.tombstones.remove(&key);
            ledger.account.subtract(bytes);
        }
        self.close_unused(account);
        Some(loss)
    }

    fn count_channel(&mut self, owner: ChannelAccountId, change: isize) {
        if let Some(ledger) = self.ledgers.get_mut(&owner) {
            ledger.channels = ledger.channels.saturating_add_signed(change);
        }
        self.rank_channels(owner);
    }

    fn rank_channels(&mut self, owner: ChannelAccountId) {
        let Some(ledger) = self.ledgers.get_mut(&owner) else { return };
        let rank = (!ledger.idle.is_empty()).then_some(ledger.channels);
        if let Some(ranked) = std::mem::replace(&mut ledger.ranked_channels, rank) {
            self.by_channels.remove(&(ranked, owner));
        }
        self.by_channels.extend(rank.map(|channels| (channels, owner)));
    }

    /// Removes an account that holds nothing.
    fn close_unused(&mut self, account: ChannelAccountId) {
        let Some(ledger) = self.ledgers.get(&account).filter(|ledger| ledger.is_unused()) else { return };
        self.by_bytes.remove(&(ledger.account.ranked(), account));
        self.accounts.remove(&ledger.name);
        self.ledgers.remove(&account);
    }
}

impl AccountLedger {
    fn new(name: Account, id: ChannelAccountId) -> Self {
        Self {
            name,
            account: Arc::new(ChannelAccount::new(id)),
            handles: 0,
            channels: 0,
            ranked_channels: None,
            idle: BTreeMap::new(),
            listed: BTreeMap::new(),
            tombstones: BTreeMap::new(),
        }
    }

    fn is_unused(&self) -> bool {
        self.handles == 0 && self.channels == 0 && self.listed.is_empty() && self.tombstones.is_empty()
    }
}

fn tombstone_bytes(name: &ChannelName) -> usize {
    TOMBSTONE_BYTES + name.as_str().len()
}
