//! Amounts of money, in integers.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::decimal::{Decimal, Remainder};

/// An amount of US dollars, in whole nano-dollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub struct Usd {
    /// The nano-dollars and one, so that an optional amount takes eight bytes: each entry of a log may have one.
    successor: NonZeroU64,
}

/// Nano-dollars per dollar.
const NANOS: u64 = 1_000_000_000;
/// The decimal places of a nano-dollar.
const PLACES: i64 = 9;

impl Usd {
    pub const fn from_nanos(nanos: u64) -> Self {
        Self { successor: NonZeroU64::MIN.saturating_add(nanos) }
    }

    pub const fn nanos(self) -> u64 {
        self.successor.get() - 1
    }

    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self::from_nanos(self.nanos().saturating_add(other.nanos()))
    }

    /// Returns the difference, at least 0.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self::from_nanos(self.nanos().saturating_sub(other.nanos()))
    }
}

impl Default for Usd {
    fn default() -> Self {
        Self::from_nanos(0)
    }
}

impl From<u64> for Usd {
    fn from(nanos: u64) -> Self {
        Self::from_nanos(nanos)
    }
}

impl From<Usd> for u64 {
    fn from(amount: Usd) -> Self {
        amount.nanos()
    }
}

/// The text is not an amount: a decimal number of dollars that is not negative, with at most nine decimal places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount in US dollars such as 2.5, with at most nine decimal places")]
pub struct InvalidUsd;

impl FromStr for Usd {
    type Err = InvalidUsd;

    fn from_str(text: &str) -> Result<Self, InvalidUsd> {
        match Decimal::parse(text, PLACES) {
            Some(Decimal { units, remainder: Remainder::Zero }) => {
                u64::try_from(units).map(Self::from_nanos).map_err(|_| InvalidUsd)
            }
            _ => Err(InvalidUsd),
        }
    }
}

/// Writes the exact decimal number of dollars, without an exponent: a JSON number.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, nanos) = (self.nanos() / NANOS, self.nanos() % NANOS);
        if nanos == 0 {
            return write!(f, "{dollars}");
        }
        let fraction = format!("{nanos:09}");
        write!(f, "{dollars}.{}", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_written_as_an_exact_decimal_number() {
        for (nanos, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (75_000, "0.000075"),
            (1_500_000_000, "1.5"),
            (20_000_000_000, "20"),
            (u64::MAX - 1, "18446744073.709551614"),
        ] {
            assert_eq!(Usd::from_nanos(nanos).to_string(), text);
            assert_eq!(text.parse(), Ok(Usd::from_nanos(nanos)));
            assert!(serde_json::from_str::<serde_json::Number>(text).is_ok(), "{text}");
        }
        assert_eq!(Usd::from_nanos(u64::MAX).plus(Usd::from_nanos(1)), Usd::from_nanos(u64::MAX));
    }
}
