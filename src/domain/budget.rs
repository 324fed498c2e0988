//! How much money a caller may spend in a period.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{BudgetPeriod, TokenPrice, Usd};

/// The most that a caller may spend in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Above 0, and at most 1,000,000 US dollars: Redis' scripts add amounts exactly up to 9 million.
    #[serde(rename = "usd", deserialize_with = "read", serialize_with = "write")]
    pub most: Usd,
    pub per: BudgetPeriod,
}

/// A number of dollars has the form and the range of a price for a million tokens.
fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Usd, D::Error> {
    let dollars = TokenPrice::deserialize(deserializer)?;
    let most = Usd::from_nanos(dollars.nanos_per_million());
    if most == Usd::default() {
        return Err(serde::de::Error::custom("a budget above 0"));
    }
    Ok(most)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn write<S: Serializer>(most: &Usd, serializer: S) -> Result<S::Ok, S::Error> {
    // As `TokenPrice`: the shortest text of this float is the decimal number again.
    serializer.serialize_f64(most.to_string().parse().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_read_from_numbers_and_written_as_the_same_number() {
        for (json, nanos, per) in [
            (r#"{"usd":20,"per":"day"}"#, 20_000_000_000, BudgetPeriod::Day),
            (r#"{"usd":0.1,"per":"month"}"#, 100_000_000, BudgetPeriod::Month),
            (r#"{"usd":999999.999999999,"per":"day"}"#, 999_999_999_999_999, BudgetPeriod::Day),
        ] {
            let budget: Budget = serde_json::from_str(json).expect("a budget");
            assert_eq!(budget, Budget { most: Usd::from_nanos(nanos), per });
            let written = serde_json::to_string(&budget).expect("JSON");
            assert_eq!(serde_json::from_str::<Budget>(&written).expect("a budget"), budget, "{written}");
        }
    }

    #[test]
    fn budget_of_zero_or_without_a_period_or_with_another_member_is_refused() {
        for wrong in [
            r#"{"usd":0,"per":"day"}"#,
            r#"{"usd":-1,"per":"day"}"#,
            r#"{"usd":1000001,"per":"day"}"#,
            r#"{"usd":1}"#,
            r#"{"per":"day"}"#,
            r#"{"usd":1,"per":"week"}"#,
            r#"{"usd":1,"per":"day","eur":1}"#,
        ] {
            assert!(serde_json::from_str::<Budget>(wrong).is_err(), "{wrong}");
        }
    }
}
