//! The usage of a generation: tokens and time.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Usd;

/// Tokens read and written by the model. Totals are inclusive: each part is also in its total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// The part of `input_tokens` that was read from the provider's prompt cache.
    pub cache_read_tokens: Option<u64>,
    /// The part of `input_tokens` that was written to the provider's prompt cache.
    pub cache_write_tokens: Option<u64>,
    /// The part of `cache_write_tokens` that is kept for an hour. In 32 bits, so that it takes no more room.
    pub cache_write_1h_tokens: Option<NonZeroU32>,
    /// The part of `input_tokens` that was audio.
    pub input_audio_tokens: Option<u64>,
    /// Tokens of the answer. `None` if they are unknown, because a whole answer was requested and did not arrive.
    pub output_tokens: Option<u64>,
    /// The part of `output_tokens` that was reasoning.
    pub reasoning_tokens: Option<u64>,
    /// The part of `output_tokens` that was audio.
    pub output_audio_tokens: Option<u64>,
    pub source: TokenSource,
    /// What the tokens cost; `None` if that is unknown.
    pub cost: Option<Usd>,
}

impl Usage {
    /// Returns input and output together, an unknown output counted as 0.
    pub fn total(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens.unwrap_or_default())
    }
}

/// The origin of the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TokenSource {
    /// All figures are the provider's.
    Provider,
    /// At least one figure is the service's own, because the provider reported none: counted with the vocabulary of the
    /// model's family, or the nearest that is available.
    #[default]
    Estimated,
}

/// The counts that a provider reported; `None` for each that it did not. Later reports of one answer are cumulative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageReport {
    pub input_tokens: Option<u64>,
    pub cache_read_tokens: Option<u64>,
    pub cache_write_tokens: Option<u64>,
    pub cache_write_1h_tokens: Option<NonZeroU32>,
    pub input_audio_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub reasoning_tokens: Option<u64>,
    pub output_audio_tokens: Option<u64>,
}

impl UsageReport {
    /// Returns a number of tokens as [`UsageReport::cache_write_1h_tokens`], at most 2^32 - 1.
    pub fn hour_tokens(tokens: u64) -> Option<NonZeroU32> {
        NonZeroU32::new(u32::try_from(tokens).unwrap_or(u32::MAX))
    }

    /// Returns this report with the counts of a later report of the same answer. Counts that the later one lacks are
    /// kept.
    #[must_use]
    pub fn updated_by(self, later: Self) -> Self {
        Self {
            input_tokens: later.input_tokens.or(self.input_tokens),
            cache_read_tokens: later.cache_read_tokens.or(self.cache_read_tokens),
            cache_write_tokens: later.cache_write_tokens.or(self.cache_write_tokens),
            cache_write_1h_tokens: later.cache_write_1h_tokens.or(self.cache_write_1h_tokens),
            input_audio_tokens: later.input_audio_tokens.or(self.input_audio_tokens),
            output_tokens: later.output_tokens.or(self.output_tokens),
            reasoning_tokens: later.reasoning_tokens.or(self.reasoning_tokens),
            output_audio_tokens: later.output_audio_tokens.or(self.output_audio_tokens),
        }
    }

    /// Returns the usage, if both totals were reported.
    pub fn complete(self) -> Option<Usage> {
        self.input_tokens
            .zip(self.output_tokens)
            .map(|_| self.completed_by(Usage::default()))
            .map(|usage| Usage { source: TokenSource::Provider, ..usage })
    }

    /// Returns the usage with the reported counts, and a missing total taken from `estimate`.
    #[must_use]
    pub fn completed_by(self, estimate: Usage) -> Usage {
        Usage {
            input_tokens: self.input_tokens.unwrap_or(estimate.input_tokens),
            cache_read_tokens: self.cache_read_tokens,
            cache_write_tokens: self.cache_write_tokens,
            cache_write_1h_tokens: self.cache_write_1h_tokens,
            input_audio_tokens: self.input_audio_tokens,
            output_tokens: self.output_tokens.or(estimate.output_tokens),
            reasoning_tokens: self.reasoning_tokens,
            output_audio_tokens: self.output_audio_tokens,
            source: TokenSource::Estimated,
            cost: None,
        }
    }
}

/// How long a generation took, on the monotonic clock from the moment it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Timings {
    /// Until the first text, reasoning or tool call; `None` if none came.
    pub first_token: Option<Duration>,
    pub total: Duration,
}
