//! The mutex of the log in memory. With the feature `shuttle`, which only tests set, it is shuttle's: each lock is a
//! point at which the scheduler may switch threads (`tests/schedules.rs`).

#[cfg(not(feature = "shuttle"))]
pub use std::sync::{Mutex, MutexGuard};

#[cfg(feature = "shuttle")]
pub use shuttle::sync::{Mutex, MutexGuard};

use std::sync::{LockResult, PoisonError};

/// Ignores poisoning: the data behind these locks is consistent between any two statements.
pub fn unpoisoned<T>(locked: LockResult<T>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}
