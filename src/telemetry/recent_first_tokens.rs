//! The times to the first token of the last generations.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The times to the first token of the last generations.
#[derive(Debug, Default)]
pub(super) struct RecentFirstTokens(Mutex<VecDeque<Duration>>);

impl RecentFirstTokens {
    const KEPT: usize = 100;

    pub fn add(&self, after: Duration) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == Self::KEPT {
            recent.pop_front();
        }
        recent.push_back(after);
    }

    /// Returns the nearest ranks.
    pub fn percentiles(&self) -> Option<[Duration; 2]> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<_> = recent.iter().copied().collect();
        drop(recent);
        sorted.sort_unstable();
        let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some([rank(50)?, rank(95)?])
    }
}
