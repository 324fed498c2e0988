//! The limits of one caller.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// The limits of one caller. `None` means no limit of its own. Unknown members are ignored, so that an identity
/// provider can add a limit before this service knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Quota {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens of prompts and answers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Generations that run at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_generations: Option<NonZeroU32>,
    /// Requests in flight at the same time: event streams, waits for JSON, incomplete bodies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<NonZeroU32>,
    /// Events published into channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publishes_per_minute: Option<NonZeroU32>,
    /// Output tokens that one request may ask for in each choice. A request without a limit gets this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<NonZeroU32>,
    /// Choices that one request may ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
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

    /// Returns these limits, with those of `others` for each that is `None`.
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
