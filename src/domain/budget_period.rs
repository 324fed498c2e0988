//! The periods of budgets, in UTC.

use serde::{Deserialize, Serialize};

use super::{Day, Timestamp};

/// How long a budget lasts until it is whole again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BudgetPeriod {
    /// From midnight to midnight, UTC.
    Day,
    /// From the first of a month to the first of the next one, UTC.
    Month,
}

/// A calendar month in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    year: u64,
    /// 1 is January.
    number: u64,
}

impl BudgetPeriod {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }

    /// Returns when the period that contains this time ends.
    pub fn end(self, now: Timestamp) -> Timestamp {
        let day = match self {
            Self::Day => Day::of(now).later(1),
            Self::Month => Month::of(now).next().first_day(),
        };
        day.begin()
    }
}

impl Month {
    pub fn of(time: Timestamp) -> Self {
        let text = Day::of(time).to_string();
        let mut parts = text.split('-').map(|part| part.parse().unwrap_or_default());
        Self { year: parts.next().unwrap_or_default(), number: parts.next().unwrap_or_default() }
    }

    const fn next(self) -> Self {
        match self.number {
            12 => Self { year: self.year + 1, number: 1 },
            number => Self { number: number + 1, ..self },
        }
    }

    fn first_day(self) -> Day {
        let Self { year, number } = self;
        // Always a day: the year has at most four digits, as `Timestamp` writes it.
        format!("{year:04}-{number:02}-01").parse().unwrap_or(Day::of(Timestamp::from_millis(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn period_ends_at_midnight_or_at_the_first_of_the_next_month() {
        for (now, day, month) in [
            ("2026-12-01T00:00:00.000Z", "2026-12-02T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
            ("2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z"),
            ("2028-02-28T12:00:00.000Z", "2028-02-29T00:00:00.000Z", "2028-03-01T00:00:00.000Z"),
            ("1970-01-01T00:00:00.000Z", "1970-01-02T00:00:00.000Z", "1970-02-01T00:00:00.000Z"),
        ] {
            let now: Timestamp = humantime::parse_rfc3339(now).expect("a time").into();
            assert_eq!(BudgetPeriod::Day.end(now).to_string(), day);
            assert_eq!(BudgetPeriod::Month.end(now).to_string(), month);
        }
    }
}
