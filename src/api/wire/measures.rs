//! What a generation used, as the native wire and the snapshot show it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{Timings, TokenSource, Usage};

/// Tokens read and written by the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Usage)]
pub struct UsageBody {
    /// Tokens of the prompt, all parts included.
    pub input_tokens: u64,
    /// Those of the prompt that were read from the provider's cache, where it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_tokens: Option<u64>,
    /// Those of the prompt that were written to the provider's cache, where it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
    /// Those of the prompt that were audio, where the provider says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_audio_tokens: Option<u64>,
    /// Tokens of the answer, all parts included. Absent where an answer that was asked for as a whole ended before it
    /// arrived: nothing is known of it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Those of the answer that were reasoning, where the provider says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    /// Those of the answer that were audio, where the provider says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_audio_tokens: Option<u64>,
    /// Whether at least one total is our estimate, because the provider gave none.
    pub estimated: bool,
}

/// How long it took, from the acceptance of the request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Timings)]
pub struct TimingsBody {
    /// Milliseconds to the first text, reasoning or tool call; absent where none came.
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
