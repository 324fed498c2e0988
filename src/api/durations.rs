//! Durations as numbers in headers and bodies.

use std::time::Duration;

/// Returns whole seconds, rounded up: a client that retries a moment too early would be refused again.
pub fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Returns whole milliseconds, rounded up.
pub fn millis(wait: Duration) -> u64 {
    wait.as_secs().saturating_mul(1_000).saturating_add(wait.subsec_nanos().div_ceil(1_000_000).into())
}
