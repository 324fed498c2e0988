//! Days in UTC.

use std::fmt;
use std::str::FromStr;

use super::Timestamp;

/// A day in UTC, written `2026-12-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day {
    /// Since 1970-01-01.
    days: u64,
}

/// The text is not a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a day such as 2026-12-01")]
pub struct InvalidDay;

const MILLIS: u64 = 86_400_000;

impl Day {
    pub const fn of(time: Timestamp) -> Self {
        Self { days: time.millis() / MILLIS }
    }

    /// Returns the day that is so many days earlier.
    #[must_use]
    pub const fn earlier(self, days: u64) -> Self {
        Self { days: self.days.saturating_sub(days) }
    }

    /// Returns the day that is so many days later.
    #[must_use]
    pub const fn later(self, days: u64) -> Self {
        Self { days: self.days.saturating_add(days) }
    }

    /// Returns the midnight with which the day begins.
    pub const fn begin(self) -> Timestamp {
        Timestamp::from_millis(self.days.saturating_mul(MILLIS))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let midnight = self.begin().to_string();
        f.write_str(midnight.split('T').next().unwrap_or_default())
    }
}

impl FromStr for Day {
    type Err = InvalidDay;

    fn from_str(text: &str) -> Result<Self, InvalidDay> {
        let midnight = humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).map_err(|_| InvalidDay)?;
        let day = Self::of(midnight.into());
        // A time before 1970 reads as 1970.
        if day.to_string() == text { Ok(day) } else { Err(InvalidDay) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_is_written_and_read_as_a_date() {
        for (millis, text) in [
            (0, "1970-01-01"),
            (86_399_999, "1970-01-01"),
            (86_400_000, "1970-01-02"),
            (951_782_400_000, "2000-02-29"),
            (1_796_083_200_000, "2026-12-01"),
        ] {
            let day = Day::of(Timestamp::from_millis(millis));
            assert_eq!((day.to_string().as_str(), text.parse()), (text, Ok(day)));
        }
        let first: Day = "2026-12-01".parse().expect("a day");
        assert_eq!(first.earlier(1).to_string(), "2026-11-30");
        for wrong in ["", "2026-12", "2026-12-1", "2026-13-01", "2025-02-29", "1969-12-31", "2026-12-01T00", "today"] {
            assert_eq!(wrong.parse::<Day>(), Err(InvalidDay), "{wrong}");
        }
    }
}
