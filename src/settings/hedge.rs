//! When a second attempt begins beside a silent one: `models.*.hedge`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::units;
use crate::domain::HedgeDelay;

/// The hedges of one model.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HedgeSettings {
    #[serde(default = "percentile", with = "hedge_delay")]
    pub after: HedgeDelay,
    /// Hedges per request, above 0 and at most 1.
    #[serde(default = "twentieth", deserialize_with = "ratio")]
    pub budget: f64,
}

impl HedgeSettings {
    pub(super) const EXPECTED: &str = "a table such as { after = \"p95\", budget = 0.05 }, with \"p95\" or a duration, and at most 1 hedge per request";
}

const PERCENTILE_95: &str = "p95";

const fn percentile() -> HedgeDelay {
    HedgeDelay::Percentile95
}

const fn twentieth() -> f64 {
    0.05
}

fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let ratio = f64::deserialize(deserializer)?;
    if ratio > 0.0 && ratio <= 1.0 { Ok(ratio) } else { Err(D::Error::custom("out of range")) }
}

mod hedge_delay {
    use serde::de::IntoDeserializer;
    use serde::de::value::StringDeserializer;

    use super::{Deserialize, Deserializer, HedgeDelay, PERCENTILE_95, Serializer, units};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HedgeDelay, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == PERCENTILE_95 {
            return Ok(HedgeDelay::Percentile95);
        }
        let text: StringDeserializer<D::Error> = text.into_deserializer();
        units::duration::deserialize(text).map(HedgeDelay::Fixed)
    }

    pub fn serialize<S: Serializer>(delay: &HedgeDelay, serializer: S) -> Result<S::Ok, S::Error> {
        match delay {
            HedgeDelay::Percentile95 => serializer.serialize_str(PERCENTILE_95),
            HedgeDelay::Fixed(time) => units::duration::serialize(time, serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(fields: &str) -> Option<HedgeSettings> {
        toml::from_str(fields).ok()
    }

    #[test]
    fn delay_is_a_percentile_or_a_duration_and_both_are_written_as_they_are_read() {
        let two_seconds = HedgeDelay::Fixed(Duration::from_secs(2));
        for (fields, after, budget) in [
            ("", HedgeDelay::Percentile95, 0.05),
            ("after = \"p95\"\nbudget = 1", HedgeDelay::Percentile95, 1.0),
            ("after = \"2s\"\nbudget = 0.1", two_seconds, 0.1),
        ] {
            let settings = read(fields).expect(fields);
            assert_eq!(settings, HedgeSettings { after, budget });
            assert_eq!(read(&toml::to_string(&settings).unwrap()), Some(settings));
        }
        for fields in ["after = \"p50\"", "after = 2", "after = \"0s\"", "budget = 0", "budget = 1.1", "befor = \"2s\""]
        {
            assert_eq!(read(fields), None, "{fields}");
        }
    }
}
