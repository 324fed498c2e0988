//! Wall-clock times.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A wall-clock time in whole milliseconds, written as RFC 3339 in UTC.
///
/// Only for display, and for the order of displayed items. Every deadline uses the monotonic clock, so that a step of
/// the wall clock does not end anything early. The exception: the end of a generation that another process has started,
/// because processes share no other clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp {
    /// Since 1970-01-01T00:00:00Z.
    millis: u64,
}

impl Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    pub const fn from_millis(millis: u64) -> Self {
        Self { millis }
    }

    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self { millis: self.millis.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)) }
    }

    pub const fn millis(self) -> u64 {
        self.millis
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { millis: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The end of the year 9999, the last that RFC 3339 can write.
        const LAST: u64 = 253_402_300_799_999;
        let time = UNIX_EPOCH + Duration::from_millis(self.millis.min(LAST));
        humantime::format_rfc3339_millis(time).fmt(f)
    }
}
