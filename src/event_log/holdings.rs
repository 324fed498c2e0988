//! The bytes, logs and tombstones of each account in the log in memory, and the choice of the log to evict.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::time::Instant;

use crate::domain::{Account, GenerationId, Lookup};

/// Identifies an account as long as it holds anything. Assigned here, so that the append of a token does not hash a
/// client-supplied name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountNumber(u64);

/// A position in the order in which logs were closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClosingNumber(u64);

/// The bytes, the closed logs and the tombstones of each account.
pub struct Holdings {
    limit: usize,
    bytes: usize,
    tombstones: usize,
    numbers: HashMap<Account, AccountNumber>,
    by_number: Lookup<AccountNumber, Holding>,
    /// The accounts that have closed logs, by the bytes with which they were last ranked.
    ranks: BTreeSet<(usize, AccountNumber)>,
    last_account: u64,
    last_closing: u64,
}

struct Holding {
    account: Account,
    bytes: usize,
    /// The bytes in its entry in `ranks`.
    ranked: Option<usize>,
    closed: BTreeMap<ClosingNumber, GenerationId>,
    /// The expiry of each tombstone.
    tombstones: BTreeMap<ClosingNumber, Instant>,
}

/// The number of tombstones from which on an account gets no new key.
pub const MOST_TOMBSTONES: usize = 10_000;
/// Bytes counted for a tombstone: its key, which is stored once, and its entries in five tables. Less than any closed
/// log with a claim, so that each eviction frees bytes.
pub const TOMBSTONE_BYTES: usize = 1024;
/// An account is ranked again when its bytes have changed by this many: at about every hundredth token instead of at
/// each.
const RANK_STEP: usize = 4 * 1024;

impl Holdings {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: 0,
            tombstones: 0,
            numbers: HashMap::new(),
            by_number: Lookup::default(),
            ranks: BTreeSet::new(),
            last_account: 0,
            last_closing: 0,
        }
    }

    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub const fn tombstones(&self) -> usize {
        self.tombstones
    }

    /// Returns the account's number, a new one if it holds nothing.
    pub fn enter(&mut self, account: &Account) -> AccountNumber {
        if let Some(number) = self.numbers.get(account) {
            return *number;
        }
        self.last_account += 1;
        let number = AccountNumber(self.last_account);
        self.numbers.insert(account.clone(), number);
        let (closed, tombstones) = (BTreeMap::new(), BTreeMap::new());
        self.by_number.insert(number, Holding { account: account.clone(), bytes: 0, ranked: None, closed, tombstones });
        number
    }

    /// Removes the account if it holds nothing.
    pub fn leave(&mut self, number: AccountNumber) {
        let Some(holding) = self.by_number.get(&number) else { return };
        if holding.bytes > 0 || !holding.closed.is_empty() || !holding.tombstones.is_empty() {
            return;
        }
        self.numbers.remove(&holding.account);
        self.by_number.remove(&number);
    }

    pub const fn has_room(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= self.limit
    }

    pub const fn bytes_above_limit(&self) -> usize {
        self.bytes.saturating_sub(self.limit)
    }

    pub fn charge(&mut self, number: AccountNumber, bytes: usize) {
        let Some(holding) = self.by_number.get_mut(&number) else { return };
        holding.bytes += bytes;
        self.bytes += bytes;
        if holding.ranked.is_some_and(|ranked| holding.bytes.abs_diff(ranked) >= RANK_STEP) {
            self.rank(number);
        }
    }

    pub fn refund(&mut self, number: AccountNumber, bytes: usize) {
        let Some(holding) = self.by_number.get_mut(&number) else { return };
        holding.bytes -= bytes;
        self.bytes -= bytes;
        self.rank(number);
        self.leave(number);
    }

    /// Makes the account's log evictable, after the logs that closed before it.
    pub fn close(&mut self, number: AccountNumber, generation: GenerationId) -> ClosingNumber {
        self.last_closing += 1;
        let closing = ClosingNumber(self.last_closing);
        if let Some(holding) = self.by_number.get_mut(&number) {
            holding.closed.insert(closing, generation);
        }
        self.rank(number);
        closing
    }

    /// Removes a closed log from its account. The caller refunds its bytes.
    pub fn uncount_closed(&mut self, number: AccountNumber, closing: ClosingNumber) {
        if let Some(holding) = self.by_number.get_mut(&number) {
            holding.closed.remove(&closing);
        }
        self.rank(number);
    }

    /// Counts and charges a tombstone for the closed log of this number.
    pub fn add_tombstone(&mut self, number: AccountNumber, closing: ClosingNumber, expiry: Instant) {
        if let Some(holding) = self.by_number.get_mut(&number)
            && holding.tombstones.insert(closing, expiry).is_none()
        {
            self.tombstones += 1;
            self.charge(number, TOMBSTONE_BYTES);
        }
    }

    /// Removes a tombstone and refunds its bytes.
    pub fn remove_tombstone(&mut self, number: AccountNumber, closing: ClosingNumber) {
        if let Some(holding) = self.by_number.get_mut(&number)
            && holding.tombstones.remove(&closing).is_some()
        {
            self.tombstones -= 1;
            self.refund(number, TOMBSTONE_BYTES);
        }
    }

    /// Returns when the oldest tombstone of the account expires, if the account gets no new key until then. That is so
    /// if it has [`MOST_TOMBSTONES`], or if all accounts together have so many that too little room would remain for
    /// answers, since a tombstone is never evicted. All tombstones are meant to hold at most half of the limit. Once
    /// they hold a quarter, an account gets a new key only while it has fewer tombstones than an equal part of the rest
    /// of that half, or of an eighth of the half if that is more.
    pub fn refuses_key(&self, account: &Account) -> Option<Instant> {
        let holding = self.numbers.get(account).and_then(|number| self.by_number.get(number))?;
        let own = holding.tombstones.len();
        let half = self.limit / TOMBSTONE_BYTES / 2;
        let left = half.saturating_sub(self.tombstones).max(half / 8);
        let is_above_part = self.tombstones > half / 2 && own >= left / self.by_number.len().max(1);
        let (_, oldest) = holding.tombstones.first_key_value()?;
        (own >= MOST_TOMBSTONES || is_above_part).then_some(*oldest)
    }

    /// Returns the closed log to evict so that the account `number` gets `wanted` bytes more (contract 6).
    pub fn next_to_evict(&mut self, number: AccountNumber, wanted: usize) -> Option<GenerationId> {
        self.rank(number);
        let (_, largest) = *self.ranks.last()?;
        let share = self.limit / self.by_number.len().max(1);
        let is_above_share = |number, more| self.bytes_of(number).saturating_add(more) > share;
        // The requester would be above its share and no other account is: evict only the requester's own logs.
        let own_only = is_above_share(number, wanted) && !is_above_share(largest, 0);
        let giving = if own_only { number } else { largest };
        self.by_number.get(&giving)?.closed.first_key_value().map(|(_, generation)| *generation)
    }

    fn bytes_of(&self, number: AccountNumber) -> usize {
        self.by_number.get(&number).map_or(0, |holding| holding.bytes)
    }

    /// Updates the account's entry in `ranks`.
    fn rank(&mut self, number: AccountNumber) {
        let Some(holding) = self.by_number.get_mut(&number) else { return };
        let rank = (!holding.closed.is_empty()).then_some(holding.bytes);
        if holding.ranked == rank {
            return;
        }
        if let Some(ranked) = std::mem::replace(&mut holding.ranked, rank) {
            self.ranks.remove(&(ranked, number));
        }
        self.ranks.extend(rank.map(|rank| (rank, number)));
    }
}
