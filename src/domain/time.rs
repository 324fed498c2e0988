//! Moments as a caller reads them.

use std::fmt;
use std::time::SystemTime;

/// A moment of wall-clock time, written as RFC 3339 in UTC with milliseconds.
///
/// For showing to people only. Every deadline uses the monotonic clock, so that a step of the wall
/// clock ends nothing early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(SystemTime);

impl Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now() -> Self {
        Self(SystemTime::now())
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(time)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_millis(self.0).fmt(f)
    }
}
