//! The channels by name and by account, and which of them is evicted next.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::ChannelsFull;
use super::channel_account::{ChannelAccount, ChannelAccountId, ChannelBudget};
use super::channel_state::{ChannelLoss, ChannelNumber, MemoryChannel, RemovedEvents};
use crate::domain::{Account, ChannelName, Lookup, Sequence, Timestamp};

/// All channels and the accounts that hold them. It is locked before the log of a channel, never after one.
pub struct ChannelDirectory {
    pub channels: HashMap<ChannelName, ListedChannel>,
    accounts: HashMap<Account, ChannelAccountId>,
    ledgers: Lookup<ChannelAccountId, AccountLedger>,
    /// The accounts by the bytes that they hold, as far as known ([`ChannelAccount::has_outgrown_rank`]).
    by_bytes: BTreeSet<(usize, ChannelAccountId)>,
    /// The accounts that have a channel that may be evicted, by the number of all channels that they hold.
    by_channels: BTreeSet<(usize, ChannelAccountId)>,
    tombstones: HashMap<ChannelName, ChannelTombstone>,
    all: Arc<ChannelBudget>,
    retention: Duration,
    most: usize,
    /// The last number that was given to an account, a channel, an idle channel or a tombstone.
    last: u64,
    /// The greatest position of the logs that are gone: the clock may be set back.
    spent: Sequence,
}

/// A channel in the directory.
///
/// It is held by the account that opened it, until another account appends while it keeps no event: from then on by
/// that account. So an account that only subscribes does not hold the channel that others publish into.
pub struct ListedChannel {
    pub channel: Arc<MemoryChannel>,
    owner: ChannelAccountId,
    /// How many handles there are.
    handles: usize,
    /// Its place in the order of eviction, while there is no handle.
    idle: Option<IdleKey>,
}

/// What one account holds.
struct AccountLedger {
    name: Account,
    account: Arc<ChannelAccount>,
    handles: usize,
    /// The number of channels that it holds, and with which it stands in `by_channels`.
    channels: usize,
    ranked_channels: Option<usize>,
    /// Of its channels those without a handle, in the order of eviction: the one that has been idle for longest first, but
    /// before all the empty ones.
    idle: BTreeMap<IdleKey, ChannelName>,
    /// The channels that have events of this account, by the age of the oldest one. A time may be too early: it is
    /// corrected when it comes first.
    listed: BTreeMap<ListedKey, Arc<MemoryChannel>>,
    /// Its tombstones, the one that expires first first.
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

/// What is remembered of a log that was evicted whole, so that a later log of the name can report the gap. Counted
/// against the account that held the channel.
struct ChannelTombstone {
    loss: ChannelLoss,
    key: (Instant, u64),
    account: ChannelAccountId,
}

/// What goes next to make room.
pub enum Evictable {
    /// The account's oldest events in this channel.
    Events { account: ChannelAccountId, channel: Arc<MemoryChannel>, key: ListedKey },
    /// A tombstone, which is gone already.
    Tombstone,
}

/// Numbers that a log may use for each millisecond before those of a later log could meet them.
const NUMBERS_PER_MILLI: u64 = 1000;
/// What is counted for a tombstone beside the channel's name.
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

    /// Counts a handle of the account; [`Self::release`] is its counterpart.
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

    /// Counts a handle of the channel, if there is one.
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

    /// The account that holds the channel.
    pub fn owner(&self, name: &ChannelName) -> Option<&Account> {
        let owner = self.channels.get(name)?.owner;
        self.ledgers.get(&owner).map(|ledger| &ledger.name)
    }

    /// Makes a channel that an account holds, with one handle.
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

    /// Makes room for another channel of the account, where there are as many as may be. Evicts the channel that has
    /// been idle for longest, of the account that holds most of those that have an idle one. An account that itself
    /// holds as many is refused.
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

    /// Gives a handle back.
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

    /// Counts a handle of the account less.
    pub fn leave(&mut self, account: ChannelAccountId) {
        if let Some(ledger) = self.ledgers.get_mut(&account) {
            ledger.handles = ledger.handles.saturating_sub(1);
        }
        self.close_unused(account);
    }

    /// Makes the account the channel's holder. There is a handle of the channel.
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

    /// Lists the channel among those that have events of the account, before it has the first.
    pub fn list(&mut self, channel: &Arc<MemoryChannel>, account: &Arc<ChannelAccount>) {
        let mut state = channel.lock();
        let Some(ledger) = self.ledgers.get_mut(&account.id).filter(|_| !state.has_holding(account.id)) else { return };
        let now = Instant::now();
        state.add_holding(account, now);
        ledger.listed.insert((now, channel.number), Arc::clone(channel));
    }

    /// Lists the channel under the oldest event that the account has in it now, or no longer.
    pub fn list_again(&mut self, account: ChannelAccountId, channel: &Arc<MemoryChannel>, key: ListedKey) {
        let Some(ledger) = self.ledgers.get_mut(&account) else { return };
        // Another eviction may have done so.
        if ledger.listed.remove(&key).is_none() {
            return;
        }
        if let Some(oldest) = channel.lock().list_again(account) {
            ledger.listed.insert((oldest, channel.number), Arc::clone(channel));
        }
        self.close_unused(account);
    }

    /// Brings the account's rank up to date.
    pub fn rank_bytes(&mut self, account: ChannelAccountId) {
        let Some(ledger) = self.ledgers.get(&account) else { return };
        let (ranked, bytes) = (ledger.account.ranked(), ledger.account.bytes());
        self.by_bytes.remove(&(ranked, account));
        if bytes > 0 {
            self.by_bytes.insert((bytes, account));
        }
        ledger.account.set_ranked(bytes);
    }

    /// What goes next: of the account that holds most bytes.
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

    /// Removes the channel if it is idle and empty, and what is listed of it for accounts without events in it.
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

    /// Removes the tombstones that have expired.
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

    /// Removes a channel that has no handle; returns what it held.
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

    /// At most as many tombstones of an account as there may be channels; of more, the one that expires first goes.
    fn add_tombstone(&mut self, name: &ChannelName, account: ChannelAccountId, loss: ChannelLoss) {
        self.last += 1;
        let key = (loss.at + self.retention, self.last);
        let Some(ledger) = self.ledgers.get_mut(&account) else { return };
        let oldest = ledger.tombstones.values().next().filter(|_| ledger.tombstones.len() >= self.most).cloned();
        ledger.tombstones.insert(key, name.clone());
        let bytes = tombstone_bytes(name);
        ledger.account.add(bytes);
        // An evicted log has given back about as much.
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
        self.all.give(bytes);
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

    /// Forgets an account that holds nothing.
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
