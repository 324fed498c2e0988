//! The settings of rate and concurrency limits.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Table;

use super::keys::{COUNT, DURATION, SettingSection, key};
use super::units;
use crate::domain::{Quota, WhenFull};

/// The limits of callers. A key of `auth.api_keys` or a token may have its own limits. Default: no limits except
/// `publishes_per_minute`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct LimitSettings {
    #[serde(flatten, deserialize_with = "with_defaults")]
    pub each: Quota,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_generations_total: Option<NonZeroU32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_total: Option<NonZeroU32>,
    pub connections_full: WhenFull,
    pub queue: QueueSettings,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelLimitSettings>,
}

/// The limits of each caller for the models of a pattern.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelLimitSettings {
    pub model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_choices: Option<NonZeroU32>,
}

/// The queue of generations that wait for a slot.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct QueueSettings {
    pub max_waiting: u32,
    #[serde(with = "units::duration")]
    pub max_wait: Duration,
}

/// The default of `limits.publishes_per_minute`.
const PUBLISHES_PER_MINUTE: NonZeroU32 = super::some(6_000);

/// The limits, except those of the queue.
pub(super) const SECTION: SettingSection = SettingSection {
    name: "limits",
    intro: "The limits of each caller. A caller is identified by its key's name or its token's issuer and subject; an \
            unauthenticated one by its address (IPv6: by /64). Default: absent, which is no limit, except \
            publishes_per_minute. A key or a token may have its own limits. Reconnecting to a generation counts towards \
            no rate. Reloaded at SIGHUP.",
    keys: &[
        key(
            "limits.publishes_per_minute",
            COUNT,
            "Events that a caller may publish into channels per minute. All may be used at once; they are refilled \
             evenly.",
        ),
        key(
            "limits.requests_per_minute",
            COUNT,
            "Generations that a caller may start per minute. All may be used at once; they are refilled evenly.",
        )
        .with_example("60"),
        key(
            "limits.tokens_per_minute",
            COUNT,
            "Tokens of prompts and answers per minute. At the start of a generation an estimate is reserved: one token \
             for each four bytes of the prompt, and for the answer the request's own limit, or else the mean of the \
             caller's recent answers of the model. At the end the reservation is settled with the actual usage. Usage \
             above the remaining tokens is a debt.",
        )
        .with_example("100_000"),
        key(
            "limits.concurrent_generations",
            COUNT,
            "Concurrent generations. A slot is held until the generation ends, with or without viewers.",
        )
        .with_example("10"),
        key(
            "limits.connections",
            COUNT,
            "Requests in flight at the same time: event streams, waits for JSON, unfinished bodies.",
        )
        .with_example("50"),
        key(
            "limits.max_output_tokens",
            COUNT,
            "Output tokens of each choice that one request may ask for, under any name that known servers read \
             (max_new_tokens, options.num_predict, ...). A request without a limit gets this one, as \
             max_completion_tokens.",
        )
        .with_example("4096"),
        key(
            "limits.max_choices",
            COUNT,
            "Choices that one request may ask for, under any name that known servers read (n, best_of, ...).",
        )
        .with_example("4"),
        key("limits.concurrent_generations_total", COUNT, "Concurrent generations of all callers together.")
            .with_example("200"),
        key(
            "limits.connections_total",
            COUNT,
            "Requests in flight of all callers together. Only effective below server.max_connections.",
        )
        .with_example("5000"),
        key(
            "limits.connections_full",
            "\"refuse\" or \"close-oldest\"",
            "How a new request is handled if its caller is at its limit, or at its share when the total limit is \
             reached: \"refuse\", or \"close-oldest\", which ends the caller's oldest event stream. A resuming client \
             (Last-Event-ID, a known Idempotency-Key) is not refused: the caller's oldest stream ends instead, with an \
             instruction to reconnect after 5 s.",
        ),
        key(
            "limits.models",
            "written as tables, each under its own [[limits.models]], with model and limits",
            "Additional limits of each caller for some models. The first matching pattern applies. Default: none. In \
             the environment: [{ model = ..., requests_per_minute = ... }].\n\
             model: the models; `*` stands for any characters. Required.\n\
             Also requests_per_minute, tokens_per_minute, max_output_tokens and max_choices, as above.",
        )
        .with_example("[[limits.models]]\nmodel = \"gpt-5*\"\ntokens_per_minute = 20_000"),
    ],
};

pub(super) const QUEUE_SECTION: SettingSection = SettingSection {
    name: "limits.queue",
    intro: "",
    keys: &[
        key(
            "limits.queue.max_waiting",
            "a whole number such as 100",
            "Generations that may wait for a slot, of all callers together, at most 10000; 0: none. Callers are served \
             round-robin. If the queue is full, a generation of a caller with fewer queued generations displaces the \
             last one of the caller with the most. A chat completion waits only if the request has max_queue_ms.",
        ),
        key("limits.queue.max_wait", DURATION, "How long a generation may wait; a request may ask for less."),
    ],
};

/// Parses the quota and sets the default of `publishes_per_minute`, also if the table sets only other limits.
fn with_defaults<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quota, D::Error> {
    let quota = Quota::deserialize(deserializer)?;
    Ok(Quota { publishes_per_minute: quota.publishes_per_minute.or(Some(PUBLISHES_PER_MINUTE)), ..quota })
}

/// Parses the limits of a key. Refuses unknown names: a misspelt limit must not lift the limit.
pub(super) fn quota_with_known_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Quota>, D::Error> {
    let table = Table::deserialize(deserializer)?;
    let quota: Quota = table.clone().try_into().map_err(D::Error::custom)?;
    let known = Table::try_from(quota).map_err(D::Error::custom)?;
    match table.keys().find(|name| !known.contains_key(*name)) {
        Some(unknown) => Err(D::Error::unknown_field(unknown, &[])),
        None => Ok(Some(quota)),
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            each: Quota { publishes_per_minute: Some(PUBLISHES_PER_MINUTE), ..Quota::default() },
            concurrent_generations_total: None,
            connections_total: None,
            connections_full: WhenFull::default(),
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
    use crate::settings::ApiKeySettings;

    #[test]
    fn publishes_per_minute_has_a_default_in_limits_and_none_in_the_limits_of_a_key() {
        let read =
            |text: &str| toml::from_str::<LimitSettings>(text).unwrap().each.publishes_per_minute.map(NonZeroU32::get);
        assert_eq!(read(""), Some(6_000));
        assert_eq!(read("requests_per_minute = 5"), Some(6_000));
        assert_eq!(read("publishes_per_minute = 7"), Some(7));
        let of_key: Quota = toml::from_str("requests_per_minute = 5").unwrap();
        assert_eq!(of_key.publishes_per_minute, None);
    }

    #[test]
    fn unknown_limit_of_a_key_is_refused() {
        let read = |limits: &str| {
            toml::from_str::<ApiKeySettings>(&format!("name = \"a\"\nhash = \"b\"\nlimits = {{ {limits} }}"))
                .map(|key| key.limits.and_then(|limits| limits.connections))
        };
        assert_eq!(read("connections = 2"), Ok(NonZeroU32::new(2)));
        assert_eq!(read(""), Ok(None));
        for wrong in ["conections = 2", "connections = 2, models = 1", "connections = 0"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
