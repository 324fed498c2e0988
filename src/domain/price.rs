//! Prices of tokens, in integers.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Usd;
use super::decimal::{Decimal, Remainder};

/// The prices of a model by kind of token. A part without a price of its own has that of its total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelPrice {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<TokenPrice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<TokenPrice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<TokenPrice>,
    /// Of cache writes that are kept for an hour; without it they have the price of the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_1h: Option<TokenPrice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<TokenPrice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<TokenPrice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_audio: Option<TokenPrice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_audio: Option<TokenPrice>,
}

/// The price of one kind of token, in nano-dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TokenPrice {
    nanos_per_million: u64,
}

/// The text is not a price: a decimal number of dollars, not negative, and at most a million dollars for a million
/// tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a price in US dollars such as 2.5, with at most nine decimal places")]
pub struct InvalidPrice;

/// The highest price: a dollar for a token.
const MOST: u64 = 1_000_000 * 1_000_000_000;

/// The decimal places of a price in dollars for a million tokens, and for one token.
const PLACES_PER_MILLION: i64 = 9;
const PLACES_PER_TOKEN: i64 = 15;

impl TokenPrice {
    pub const fn nanos_per_million(self) -> u64 {
        self.nanos_per_million
    }

    /// Parses a price in US dollars for one token, as a JSON number. Further decimal places than 15 are rounded: price
    /// lists have numbers such as `1.4999999999999999e-07`.
    pub fn of_one_token(text: &str) -> Result<Self, InvalidPrice> {
        let Decimal { units, remainder } = Decimal::parse(text, PLACES_PER_TOKEN).ok_or(InvalidPrice)?;
        Self::of_nanos(units + u128::from(remainder == Remainder::HalfOrMore))
    }

    fn of_nanos(nanos: u128) -> Result<Self, InvalidPrice> {
        let nanos = u64::try_from(nanos).ok().filter(|nanos| *nanos <= MOST);
        nanos.map(|nanos_per_million| Self { nanos_per_million }).ok_or(InvalidPrice)
    }
}

/// Parses a price in US dollars for a million tokens.
impl FromStr for TokenPrice {
    type Err = InvalidPrice;

    fn from_str(text: &str) -> Result<Self, InvalidPrice> {
        match Decimal::parse(text, PLACES_PER_MILLION) {
            Some(Decimal { units, remainder: Remainder::Zero }) => Self::of_nanos(units),
            _ => Err(InvalidPrice),
        }
    }
}

impl fmt::Display for TokenPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Usd::from_nanos(self.nanos_per_million).fmt(f)
    }
}

impl Serialize for TokenPrice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The shortest text of this float is the decimal number again: a price has at most 15 digits.
        serializer.serialize_f64(self.to_string().parse().unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for TokenPrice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PriceVisitor)
    }
}

struct PriceVisitor;

impl Visitor<'_> for PriceVisitor {
    type Value = TokenPrice;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{InvalidPrice}")
    }

    fn visit_i64<E: Error>(self, price: i64) -> Result<TokenPrice, E> {
        price.to_string().parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, price: u64) -> Result<TokenPrice, E> {
        price.to_string().parse().map_err(E::custom)
    }

    /// The shortest text of the float is the text of the settings file, which TOML does not pass on.
    fn visit_f64<E: Error>(self, price: f64) -> Result<TokenPrice, E> {
        price.to_string().parse().map_err(E::custom)
    }

    fn visit_str<E: Error>(self, price: &str) -> Result<TokenPrice, E> {
        price.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Option<u64> {
        text.parse().ok().map(TokenPrice::nanos_per_million)
    }

    #[test]
    fn price_for_a_million_tokens_is_parsed_exactly() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0.0", Some(0)),
            ("2.5", Some(2_500_000_000)),
            ("0.075", Some(75_000_000)),
            ("15", Some(15_000_000_000)),
            ("1e2", Some(100_000_000_000)),
            ("7.5e-2", Some(75_000_000)),
            ("0.000000001", Some(1)),
            ("0.0000000010", Some(1)),
            ("1000000", Some(MOST)),
            ("1000000.1", None),
            ("0.0000000001", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            (".5", None),
            ("5.", None),
            ("1,5", None),
            ("NaN", None),
            ("inf", None),
            ("1e", None),
            ("1e99999999999999999999", None),
            ("1e400", None),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn price_for_one_token_is_parsed_from_its_text_and_rounded_at_fifteen_places() {
        for (text, expected) in [
            ("2.5e-06", Ok("2.5")),
            ("0.0000025", Ok("2.5")),
            ("1.4999999999999999e-07", Ok("0.15")),
            ("3.75e-08", Ok("0.0375")),
            ("0.0", Ok("0")),
            ("1e-60", Ok("0")),
            ("1", Ok("1000000")),
            ("1.1", Err(InvalidPrice)),
            ("-1e-06", Err(InvalidPrice)),
            ("free", Err(InvalidPrice)),
        ] {
            let price = TokenPrice::of_one_token(text).map(|price| price.to_string());
            assert_eq!(price, expected.map(str::to_owned), "{text}");
        }
    }
}
