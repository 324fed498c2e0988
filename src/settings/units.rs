//! Durations and sizes with units.

use std::{fmt, str::FromStr};

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// A number of bytes, at least one. Written `"4MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(usize);

impl Size {
    /// Returns `count` times 1,024 bytes.
    pub const fn kib(count: usize) -> Self {
        Self(count.saturating_mul(1 << 10))
    }

    /// Returns `count` times 1,048,576 bytes.
    pub const fn mib(count: usize) -> Self {
        Self(count.saturating_mul(1 << 20))
    }

    /// Returns the number of bytes.
    pub const fn bytes(self) -> usize {
        self.0
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let size = text.parse::<ByteSize>().ok();
        match size.and_then(|size| usize::try_from(size.as_u64()).ok()) {
            None | Some(0) => Err("not a size above zero"),
            Some(bytes) => Ok(Self(bytes)),
        }
    }
}

/// Uses the largest unit that divides the size, so that parsing the printed text returns the same size.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shift, unit) = match self.0.trailing_zeros() {
            30.. => (30, "GiB"),
            20.. => (20, "MiB"),
            10.. => (10, "KiB"),
            _ => (0, "B"),
        };
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

impl TryFrom<String> for Size {
    type Error = <Self as FromStr>::Err;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

/// Like [`duration`], but also accepts zero: `"0s"`.
pub(super) mod duration_or_none {
    use std::time::Duration;

    use serde::{Deserializer, de::Error};

    pub(in crate::settings) use super::duration::serialize;

    pub(in crate::settings) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let duration = super::duration::parse(deserializer)?;
        let accepted = duration.is_zero() || super::duration::RANGE.contains(&duration);
        if accepted { Ok(duration) } else { Err(D::Error::custom("out of range")) }
    }
}

/// Like [`duration`], for a setting that may be absent.
pub(super) mod optional_duration {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    pub(in crate::settings) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::duration::deserialize(deserializer).map(Some)
    }

    #[expect(clippy::ref_option, reason = "serde passes the field")]
    pub(in crate::settings) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::duration::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }
}

/// For `#[serde(with = ...)]`: a `Duration` written `"15s"`, `"10m"` or `"1h 30m"`.
pub(super) mod duration {
    use std::{ops::RangeInclusive, time::Duration};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Minimum: the timers' resolution, below which a period would be a busy loop. Maximum: can be added to the current
    /// time of any clock without overflow.
    pub(super) const RANGE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(365 * 24);

    pub(in crate::settings) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let duration = parse(deserializer)?;
        if RANGE.contains(&duration) { Ok(duration) } else { Err(D::Error::custom("out of range")) }
    }

    pub(super) fn parse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(D::Error::custom)
    }

    pub(in crate::settings) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Deserialize, Serialize)]
    struct Timed {
        #[serde(with = "duration")]
        after: Duration,
    }

    fn duration_of(text: &str) -> Option<Duration> {
        toml::from_str::<Timed>(&format!("after = {text:?}")).ok().map(|timed| timed.after)
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        for (text, bytes) in
            [("4MiB", 4 << 20), ("64 KiB", 64 << 10), ("1GiB", 1 << 30), ("1kB", 1000), ("1500B", 1500)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn invalid_sizes_are_refused() {
        for text in ["", "0", "0MiB", "-1MiB", "lots", "4 parsecs", "MiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_printed_size_reads_as_the_same_size() {
        for (bytes, text) in [(4 << 20, "4MiB"), (1536 << 10, "1536KiB"), (1 << 30, "1GiB"), (1500, "1500B")] {
            assert_eq!(Size(bytes).to_string(), text);
            assert_eq!(text.parse(), Ok(Size(bytes)));
        }
    }

    #[test]
    fn durations_are_read_with_their_unit() {
        for (text, duration) in [("15s", 15_000), ("10m", 600_000), ("1h 30m", 5_400_000), ("1ms", 1)] {
            assert_eq!(duration_of(text), Some(Duration::from_millis(duration)), "{text}");
        }
    }

    #[test]
    fn zero_negative_too_long_and_bare_durations_are_refused() {
        for text in ["0s", "0", "-1s", "15", "", "999us", "366d", "9999999999999999y", "soon"] {
            assert_eq!(duration_of(text), None, "{text}");
        }
    }

    #[test]
    fn duration_or_none_accepts_zero() {
        #[derive(Deserialize, Serialize)]
        struct Waits {
            #[serde(with = "duration_or_none")]
            wait: Duration,
        }
        let wait = |text: &str| toml::from_str::<Waits>(&format!("wait = {text:?}")).ok().map(|waits| waits.wait);
        assert_eq!(wait("0s"), Some(Duration::ZERO));
        assert_eq!(wait("10s"), Some(Duration::from_secs(10)));
        for text in ["999us", "-1s", "366d", "15", ""] {
            assert_eq!(wait(text), None, "{text}");
        }
        assert_eq!(toml::to_string(&Waits { wait: Duration::ZERO }).unwrap(), "wait = \"0s\"\n");
    }

    #[test]
    fn a_printed_duration_reads_as_the_same_duration() {
        for seconds in [15, 60, 90, 86_400, 31_536_000] {
            let after = Duration::from_secs(seconds);
            let printed = toml::to_string(&Timed { after }).unwrap();
            assert_eq!(toml::from_str::<Timed>(&printed).unwrap().after, after, "{printed}");
        }
        assert_eq!(toml::to_string(&Timed { after: Duration::from_secs(15) }).unwrap(), "after = \"15s\"\n");
    }
}
