//! Usage and timings of a generation, for the native wire format and the snapshot.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::{Timings, TokenSource, Usage, Usd};

/// The tokens that the model read and wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Usage)]
pub struct UsageBody {
    /// Tokens of the prompt, all parts included.
    pub input_tokens: u64,
    /// Prompt tokens that were read from the provider's cache, if the provider reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_tokens: Option<u64>,
    /// Prompt tokens that were written to the provider's cache, if the provider reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
    /// Audio tokens of the prompt, if the provider reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_audio_tokens: Option<u64>,
    /// Tokens of the answer, all parts included. Absent if the answer was requested as a whole and the generation ended
    /// before it arrived, because the number is unknown then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Reasoning tokens of the answer, if the provider reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    /// Audio tokens of the answer, if the provider reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_audio_tokens: Option<u64>,
    /// Whether at least one total is an estimate of this service, because the provider reported none.
    pub estimated: bool,
}

/// A cost in US dollars: a JSON number with the exact decimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostBody(pub Usd);

impl Serialize for CostBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = RawValue::from_string(self.0.to_string()).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CostBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer)?.to_string().parse().map(Self).map_err(D::Error::custom)
    }
}

/// Durations since the request was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Timings)]
pub struct TimingsBody {
    /// Milliseconds to the first text, reasoning or tool call; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// Milliseconds to the end.
    pub total_ms: u64,
}

impl From<Usage> for UsageBody {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            cache_read_tokens: usage.cache_read_tokens,
            cache_write_tokens: usage.cache_write_tokens,
            input_audio_tokens: usage.input_audio_tokens,
            output_tokens: usage.output_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            output_audio_tokens: usage.output_audio_tokens,
            estimated: usage.source == TokenSource::Estimated,
        }
    }
}

impl From<Timings> for TimingsBody {
    fn from(timings: Timings) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self { first_token_ms: timings.first_token.map(millis), total_ms: millis(timings.total) }
    }
}
