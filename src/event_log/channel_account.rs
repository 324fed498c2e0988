//! The bytes that all channels hold, in all and by account.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The bytes that all channels may hold together, and hold.
pub struct ChannelBudget {
    limit: usize,
    used: AtomicUsize,
    /// Events that were evicted so far.
    evicted: AtomicU64,
}

/// Identifies an account in the logs of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelAccountId(pub u64);

/// The bytes that one account holds in all channels.
pub struct ChannelAccount {
    pub id: ChannelAccountId,
    bytes: AtomicUsize,
    /// The bytes with which it stands in the ranking of accounts. Written only under the lock of the ranking.
    ranked: AtomicUsize,
}

/// An account is ranked again when it has grown by one part of so many. Smaller means fewer locks and a coarser ranking.
const RANKED_PARTS: usize = 8;

impl ChannelBudget {
    pub const fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), evicted: AtomicU64::new(0) }
    }

    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    /// Takes the bytes also where they go beyond the limit.
    pub fn force(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn give(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns how many bytes must go so that so many more fit.
    pub fn lacking(&self, bytes: usize) -> usize {
        self.used().saturating_add(bytes).saturating_sub(self.limit)
    }

    pub fn count_evicted(&self, events: usize) {
        self.evicted.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

impl ChannelAccount {
    pub const fn new(id: ChannelAccountId) -> Self {
        Self { id, bytes: AtomicUsize::new(0), ranked: AtomicUsize::new(0) }
    }

    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn subtract(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn ranked(&self) -> usize {
        self.ranked.load(Ordering::Relaxed)
    }

    pub fn set_ranked(&self, bytes: usize) {
        self.ranked.store(bytes, Ordering::Relaxed);
    }

    /// Whether the account holds so much more than its rank says that it must be ranked again. Growth is checked here, on
    /// each append, so that an append rarely takes the lock of the ranking; a rank that is too high is corrected when it
    /// is read.
    pub fn has_outgrown_rank(&self) -> bool {
        let ranked = self.ranked();
        self.bytes() > ranked + ranked / RANKED_PARTS
    }
}
