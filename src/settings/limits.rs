//! How much callers may take.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::units;

/// What callers may take. A key of `auth.api_keys` or a token may say otherwise for its owner. Default: no limits but
/// that of publishing.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Limits {
    /// Of each caller: of nobody who is known, for each address (of IPv6 for each /64).
    #[serde(flatten, deserialize_with = "with_defaults")]
    pub each: Quota,
    /// Generations that run at the same time, of all callers together. Default: absent. Variable:
    /// `TOKENRILL_LIMITS__CONCURRENT_GENERATIONS_TOTAL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_generations_total: Option<NonZeroU32>,
    /// Requests in flight at the same time, of all callers together, where that is less than `server.max_connections`.
    /// Default: absent. Variable: `TOKENRILL_LIMITS__CONNECTIONS_TOTAL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_total: Option<NonZeroU32>,
    /// What becomes of a new request of a caller that is at `connections`, or at its share when there are as many as may
    /// be; a client that resumes is never refused. Default: `refuse`. Variable: `TOKENRILL_LIMITS__CONNECTIONS_FULL`.
    pub connections_full: ConnectionsFull,
    pub queue: Queue,
    /// Limits of each caller with some models alone, besides. Default: none. Variable: `TOKENRILL_LIMITS__MODELS`, as
    /// a TOML array of inline tables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelLimits>,
}

/// What one caller may take. An absent limit is none.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Generations that it may start in a minute. Default: absent. Variable: `TOKENRILL_LIMITS__REQUESTS_PER_MINUTE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens of prompts and answers in a minute. Default: absent. Variable: `TOKENRILL_LIMITS__TOKENS_PER_MINUTE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Generations that run at the same time. Default: absent. Variable: `TOKENRILL_LIMITS__CONCURRENT_GENERATIONS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_generations: Option<NonZeroU32>,
    /// Requests in flight at the same time: event streams, waits for JSON, unfinished bodies. Default: absent. Variable:
    /// `TOKENRILL_LIMITS__CONNECTIONS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<NonZeroU32>,
    /// Events that it may publish into channels in a minute. Default: 6,000; in a key's or a token's limits absent, which
    /// is the limit of everybody. Variable: `TOKENRILL_LIMITS__PUBLISHES_PER_MINUTE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publishes_per_minute: Option<NonZeroU32>,
    /// Output tokens of each choice that one request may ask for. Default: absent. Variable:
    /// `TOKENRILL_LIMITS__MAX_OUTPUT_TOKENS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<NonZeroU32>,
    /// Choices that one request may ask for. Default: absent. Variable: `TOKENRILL_LIMITS__MAX_CHOICES`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_choices: Option<NonZeroU32>,
}

/// The limits of each caller with the models of a pattern.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelLimits {
    /// The models, as a pattern in which `*` stands for any characters; the first that matches counts. Required.
    pub model: String,
    /// As in `limits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// As in `limits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<NonZeroU32>,
    /// As in `limits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<NonZeroU32>,
    /// As in `limits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_choices: Option<NonZeroU32>,
}

/// What becomes of a new request that would be one too many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionsFull {
    /// It is refused.
    #[default]
    Refuse,
    /// The caller's oldest event stream gives way to it.
    CloseOldest,
}

/// Generations that wait because as many run as may.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Queue {
    /// How many may wait, of all callers together; 0: none. Default: 100. Variable:
    /// `TOKENRILL_LIMITS__QUEUE__MAX_WAITING`.
    pub max_waiting: u32,
    /// How long one may wait; a request may ask for less. Default: 30 s. Variable: `TOKENRILL_LIMITS__QUEUE__MAX_WAIT`.
    #[serde(with = "units::duration")]
    pub max_wait: Duration,
}

/// `limits.publishes_per_minute` where the settings do not say.
const PUBLISHES_PER_MINUTE: NonZeroU32 = super::some(6_000);

/// A table that sets another limit keeps the default of this one.
fn with_defaults<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quota, D::Error> {
    let quota = Quota::deserialize(deserializer)?;
    Ok(Quota { publishes_per_minute: quota.publishes_per_minute.or(Some(PUBLISHES_PER_MINUTE)), ..quota })
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            each: Quota { publishes_per_minute: Some(PUBLISHES_PER_MINUTE), ..Quota::default() },
            concurrent_generations_total: None,
            connections_total: None,
            connections_full: ConnectionsFull::default(),
            queue: Queue::default(),
            models: Vec::new(),
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self { max_waiting: 100, max_wait: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_sets_another_limit_keeps_the_default_of_publishes_and_a_keys_limits_have_none() {
        let read = |text: &str| toml::from_str::<Limits>(text).unwrap().each.publishes_per_minute.map(NonZeroU32::get);
        assert_eq!(read(""), Some(6_000));
        assert_eq!(read("requests_per_minute = 5"), Some(6_000));
        assert_eq!(read("publishes_per_minute = 7"), Some(7));
        let of_key: Quota = toml::from_str("requests_per_minute = 5").unwrap();
        assert_eq!(of_key.publishes_per_minute, None);
    }
}
