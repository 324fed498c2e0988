//! Sums over attempts that have ended.

use crate::domain::{TokenSource, Usage, Usd};
use crate::telemetry::Outcome;

/// The sums over some attempts that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageTotals {
    pub done: u64,
    pub cancelled: u64,
    pub failed: u64,
    /// Attempts whose tokens are, at least in part, estimates.
    pub estimated: u64,
    /// Attempts whose cost is unknown.
    pub unpriced: u64,
    pub input_tokens: u64,
    pub cache_read_tokens: u64,
    pub cache_write_tokens: u64,
    pub input_audio_tokens: u64,
    pub output_tokens: u64,
    pub reasoning_tokens: u64,
    pub output_audio_tokens: u64,
    /// Of the attempts whose cost is known.
    pub known_cost: Usd,
}

impl UsageTotals {
    /// Returns the totals of one attempt. `usage` is `None` if it was not billed.
    pub fn of(outcome: Outcome, usage: Option<&Usage>) -> Self {
        let mut totals = Self::default();
        match outcome {
            Outcome::Done => totals.done = 1,
            Outcome::Cancelled => totals.cancelled = 1,
            Outcome::Failed => totals.failed = 1,
        }
        let Some(usage) = usage else { return totals };
        Self {
            estimated: u64::from(usage.source == TokenSource::Estimated),
            unpriced: u64::from(usage.cost.is_none()),
            input_tokens: usage.input_tokens,
            cache_read_tokens: usage.cache_read_tokens.unwrap_or_default(),
            cache_write_tokens: usage.cache_write_tokens.unwrap_or_default(),
            input_audio_tokens: usage.input_audio_tokens.unwrap_or_default(),
            output_tokens: usage.output_tokens.unwrap_or_default(),
            reasoning_tokens: usage.reasoning_tokens.unwrap_or_default(),
            output_audio_tokens: usage.output_audio_tokens.unwrap_or_default(),
            known_cost: usage.cost.unwrap_or_default(),
            ..totals
        }
    }

    pub fn add(&mut self, other: &Self) {
        for (sum, more) in [
            (&mut self.done, other.done),
            (&mut self.cancelled, other.cancelled),
            (&mut self.failed, other.failed),
            (&mut self.estimated, other.estimated),
            (&mut self.unpriced, other.unpriced),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.cache_read_tokens, other.cache_read_tokens),
            (&mut self.cache_write_tokens, other.cache_write_tokens),
            (&mut self.input_audio_tokens, other.input_audio_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.reasoning_tokens, other.reasoning_tokens),
            (&mut self.output_audio_tokens, other.output_audio_tokens),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.known_cost = self.known_cost.plus(other.known_cost);
    }

    pub const fn attempts(&self) -> u64 {
        self.done.saturating_add(self.cancelled).saturating_add(self.failed)
    }

    /// Returns the cost of the attempts whose cost is known; `None` if there are attempts, all billed ones unpriced.
    pub fn cost(&self) -> Option<Usd> {
        let is_unknown = self.known_cost == Usd::default() && self.unpriced > 0;
        (!is_unknown).then_some(self.known_cost)
    }
}
