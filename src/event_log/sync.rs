//! The lock of the log in memory. With the feature `shuttle`, which only tests set, it is one whose every
//! taking is a point at which another thread may go on (`tests/schedules.rs`).

#[cfg(not(feature = "shuttle"))]
pub use std::sync::{Mutex, MutexGuard};

#[cfg(feature = "shuttle")]
pub use shuttle::sync::{Mutex, MutexGuard};

use std::sync::{LockResult, PoisonError};

/// Goes on after a panic elsewhere: what a lock guards here is whole between any two statements.
pub fn unpoisoned<T>(locked: LockResult<T>) -> T {
    locked.unwrap_or_else(PoisonError::into_inner)
}
