//! The settings of channels and prompts.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Size, units};

/// The channels.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ChannelSettings {
    /// How many of its last events a channel keeps for later subscribers; a generation's answer counts as one.
    /// Default: 100. Variable: `TOKENRILL_CHANNELS__HISTORY`.
    pub history: u32,
    /// How long a channel keeps an event. Default: 1 h. Variable: `TOKENRILL_CHANNELS__RETENTION`.
    #[serde(with = "units::duration")]
    pub retention: Duration,
    /// The maximum size of the events of one channel, in bytes. Default: 4 MiB. Variable:
    /// `TOKENRILL_CHANNELS__MAX_BYTES`.
    pub max_bytes: Size,
    /// The maximum size of the events of all channels together, in bytes, in addition to `event_log.memory.max_bytes`.
    /// If it is reached, the oldest events of the caller that holds most are evicted. Default: 64 MiB. Variable:
    /// `TOKENRILL_CHANNELS__MAX_BYTES_TOTAL`.
    pub max_bytes_total: Size,
    /// The maximum size of the data of one event, in bytes. Default: 64 KiB. Variable: `TOKENRILL_CHANNELS__MAX_EVENT`.
    pub max_event: Size,
    /// The maximum number of subscribers of one channel. Default: 10,000. Variable:
    /// `TOKENRILL_CHANNELS__MAX_SUBSCRIBERS`.
    pub max_subscribers: NonZeroU32,
    /// The maximum number of channels. Above it, the longest idle channel of the caller that holds most is removed. A
    /// channel is held by the caller that opened it, until another caller publishes into it while it is empty.
    /// Default: 10,000. Variable: `TOKENRILL_CHANNELS__MAX_CHANNELS`.
    pub max_channels: NonZeroU32,
    /// How long a subscriber's stream may be without an event. Then it is closed, and its client reconnects
    /// automatically. Checked at each heartbeat. Default: 10 min. Variable: `TOKENRILL_CHANNELS__IDLE_TIMEOUT`.
    #[serde(with = "units::duration")]
    pub idle_timeout: Duration,
}

/// The prompts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct PromptSettings {
    /// The directory of the prompts. Default: absent, which is `prompts` if that is a directory, and otherwise the
    /// program's built-in starter set. Variable: `TOKENRILL_PROMPTS__DIRECTORY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            history: 100,
            retention: Duration::from_hours(1),
            max_bytes: Size::mib(4),
            max_bytes_total: Size::mib(64),
            max_event: Size::kib(64),
            max_subscribers: super::some(10_000),
            max_channels: super::some(10_000),
            idle_timeout: Duration::from_mins(10),
        }
    }
}
