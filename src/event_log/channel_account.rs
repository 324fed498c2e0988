//! The bytes of all channels, in total and by account.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The bytes that all channels together may hold, and do hold.
pub struct ChannelBudget {
    limit: usize,
    used: AtomicUsize,
    /// Events evicted so far.
    evicted: AtomicU64,
}

/// Identifies an account in the logs of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelAccountId(pub u64);

/// The bytes that one account holds in all channels.
pub struct ChannelAccount {
    pub id: ChannelAccountId,
    bytes: AtomicUsize,
    /// Its bytes in the ranking of accounts. Written only under the directory's lock.
    ranked: AtomicUsize,
}

/// An account is ranked again when its bytes have grown by one part in this many. Smaller means fewer locks and a
/// coarser ranking.
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

    /// Takes the bytes even if they exceed the limit.
    pub fn force(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn refund(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns how many bytes must be freed so that `bytes` more fit.
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

    /// Returns whether the account has grown so far beyond its rank that it must be ranked again. Growth is checked on
    /// each append without a lock, so that an append rarely takes the directory's lock. A rank that is too high is
    /// corrected when it is read.
    pub fn has_outgrown_rank(&self) -> bool {
        let ranked = self.ranked();
        self.bytes() > ranked + ranked / RANKED_PARTS
    }
}
