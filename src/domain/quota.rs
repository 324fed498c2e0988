//! How much a caller may take.

use std::num::NonZeroU32;

use serde::Deserialize;

/// What one caller may take. What is absent has no limit of its own. Unknown members are ignored, so that an identity
/// provider can add a limit before this service knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Quota {
    pub requests_per_minute: Option<NonZeroU32>,
    /// Of prompts and answers together.
    pub tokens_per_minute: Option<NonZeroU32>,
    /// That run at the same time.
    pub concurrent_generations: Option<NonZeroU32>,
    /// Requests in flight at the same time: event streams, waits for JSON, unfinished bodies.
    pub connections: Option<NonZeroU32>,
    /// Events that it may publish into channels in a minute.
    pub publishes_per_minute: Option<NonZeroU32>,
    /// That one request may ask for in each choice; one that names no limit is given this one.
    pub max_output_tokens: Option<NonZeroU32>,
    /// That one request may ask for.
    pub max_choices: Option<NonZeroU32>,
}

impl Quota {
    pub const NONE: Self = Self {
        requests_per_minute: None,
        tokens_per_minute: None,
        concurrent_generations: None,
        connections: None,
        publishes_per_minute: None,
        max_output_tokens: None,
        max_choices: None,
    };

    /// This one's limits, and `others` where it has none.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            requests_per_minute: self.requests_per_minute.or(others.requests_per_minute),
            tokens_per_minute: self.tokens_per_minute.or(others.tokens_per_minute),
            concurrent_generations: self.concurrent_generations.or(others.concurrent_generations),
            connections: self.connections.or(others.connections),
            publishes_per_minute: self.publishes_per_minute.or(others.publishes_per_minute),
            max_output_tokens: self.max_output_tokens.or(others.max_output_tokens),
            max_choices: self.max_choices.or(others.max_choices),
        }
    }
}
