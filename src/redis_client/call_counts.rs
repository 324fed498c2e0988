//! Figures of the calls, for an operator.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counts the attempts of one process to call the server, and times its outages.
#[derive(Debug, Default)]
pub struct CallCounts {
    answered: AtomicU64,
    full: AtomicU64,
    failed: AtomicU64,
    /// When the outage began that lasts.
    failing_since: Mutex<Option<Instant>>,
}

/// How an attempt to call the server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallResult {
    Answered,
    /// The server has reached its `maxmemory`.
    Full,
    /// No reply in time, no connection, or an error.
    Failed,
}

impl CallResult {
    pub const ALL: [Self; 3] = [Self::Answered, Self::Full, Self::Failed];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Full => "full",
            Self::Failed => "failed",
        }
    }
}

impl CallCounts {
    pub(super) fn add(&self, result: CallResult) {
        self.of(result).fetch_add(1, Ordering::Relaxed);
    }

    pub fn count(&self, result: CallResult) -> u64 {
        self.of(result).load(Ordering::Relaxed)
    }

    const fn of(&self, result: CallResult) -> &AtomicU64 {
        match result {
            CallResult::Answered => &self.answered,
            CallResult::Full => &self.full,
            CallResult::Failed => &self.failed,
        }
    }

    pub(super) fn begin_outage(&self) {
        *self.failing_since() = Some(Instant::now());
    }

    pub(super) fn end_outage(&self) {
        *self.failing_since() = None;
    }

    /// Returns the time since the first attempt that failed after the last one that was answered.
    pub fn outage(&self) -> Duration {
        self.failing_since().map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn failing_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failing_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
