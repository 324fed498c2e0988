//! The settings of rate and concurrency limits.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::units;

/// The limits of callers. A key of `auth.api_keys` or a token may have its own limits. Default: no limits except
/// `publishes_per_minute`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct LimitSettings {
    /// The limits of each caller. Unauthenticated callers are limited for each address (IPv6: for each /64).
    #[serde(flatten, deserialize_with = "with_defaults")]
    pub each: QuotaSettings,
    /// Concurrent generations of all callers together. Default: absent. Variable:
    /// `TOKENRILL_LIMITS__CONCURRENT_GENERATIONS_TOTAL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_generations_total: Option<NonZeroU32>,
    /// Requests in flight of all callers together. Only effective below `server.max_connections`. Default: absent.
    /// Variable: `TOKENRILL_LIMITS__CONNECTIONS_TOTAL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_total: Option<NonZeroU32>,
    /// How a new request is handled if its caller is at `connections`, or at its share when the total limit is reached.
    /// A resuming client is never refused. Default: `refuse`. Variable: `TOKENRILL_LIMITS__CONNECTIONS_FULL`.
    pub connections_full: ConnectionsFull,
    pub queue: QueueSettings,
    /// Additional limits of each caller for some models. Default: none. Variable: `TOKENRILL_LIMITS__MODELS`, as a TOML
    /// array of inline tables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelLimitSettings>,
}

/// The limits of one caller. An absent limit means no limit.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaSettings {
    /// Generations that it may start per minute. Default: absent. Variable: `TOKENRILL_LIMITS__REQUESTS_PER_MINUTE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens of prompts and answers per minute. Default: absent. Variable: `TOKENRILL_LIMITS__TOKENS_PER_MINUTE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Concurrent generations. Default: absent. Variable: `TOKENRILL_LIMITS__CONCURRENT_GENERATIONS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_generations: Option<NonZeroU32>,
    /// Requests in flight at the same time: event streams, waits for JSON, unfinished bodies. Default: absent.
    /// Variable: `TOKENRILL_LIMITS__CONNECTIONS`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<NonZeroU32>,
    /// Events that it may publish into channels per minute. Default: 6,000. In the limits of a key or a token the
    /// default is absent, and the limit of `limits` applies. Variable: `TOKENRILL_LIMITS__PUBLISHES_PER_MINUTE`.
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

/// The limits of each caller for the models of a pattern.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelLimitSettings {
    /// The models, as a pattern in which `*` stands for any characters. The first matching pattern applies. Required.
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

/// How a new request above a connection limit is handled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectionsFull {
    /// It is refused.
    #[default]
    Refuse,
    /// The caller's oldest event stream is closed for it.
    CloseOldest,
}

/// The queue of generations that wait for a slot.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct QueueSettings {
    /// How many generations may wait, of all callers together; 0: none. Default: 100. Variable:
    /// `TOKENRILL_LIMITS__QUEUE__MAX_WAITING`.
    pub max_waiting: u32,
    /// How long a generation may wait; a request may ask for less. Default: 30 s. Variable:
    /// `TOKENRILL_LIMITS__QUEUE__MAX_WAIT`.
    #[serde(with = "units::duration")]
    pub max_wait: Duration,
}

/// The default of `limits.publishes_per_minute`.
const PUBLISHES_PER_MINUTE: NonZeroU32 = super::some(6_000);

/// Parses the quota and sets the default of `publishes_per_minute`, also if the table sets only other limits.
fn with_defaults<'de, D: Deserializer<'de>>(deserializer: D) -> Result<QuotaSettings, D::Error> {
    let quota = QuotaSettings::deserialize(deserializer)?;
    Ok(QuotaSettings { publishes_per_minute: quota.publishes_per_minute.or(Some(PUBLISHES_PER_MINUTE)), ..quota })
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            each: QuotaSettings { publishes_per_minute: Some(PUBLISHES_PER_MINUTE), ..QuotaSettings::default() },
            concurrent_generations_total: None,
            connections_total: None,
            connections_full: ConnectionsFull::default(),
            queue: QueueSettings::default(),
            models: Vec::new(),
        }
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { max_waiting: 100, max_wait: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishes_per_minute_has_a_default_in_limits_and_none_in_the_limits_of_a_key() {
        let read =
            |text: &str| toml::from_str::<LimitSettings>(text).unwrap().each.publishes_per_minute.map(NonZeroU32::get);
        assert_eq!(read(""), Some(6_000));
        assert_eq!(read("requests_per_minute = 5"), Some(6_000));
        assert_eq!(read("publishes_per_minute = 7"), Some(7));
        let of_key: QuotaSettings = toml::from_str("requests_per_minute = 5").unwrap();
        assert_eq!(of_key.publishes_per_minute, None);
    }
}
