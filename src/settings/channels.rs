//! What channels keep and admit, and where prompts are.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Size, units};

/// The channels.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Channels {
    /// How many of its last events a channel keeps for those who come later; a generation's answer counts as one.
    /// Default: 100. Variable: `TOKENRILL_CHANNELS__HISTORY`.
    pub history: u32,
    /// How long it keeps one. Default: 1 h. Variable: `TOKENRILL_CHANNELS__RETENTION`.
    #[serde(with = "units::duration")]
    pub retention: Duration,
    /// How much one channel keeps, in bytes. Default: 4 MiB. Variable: `TOKENRILL_CHANNELS__MAX_BYTES`.
    pub max_bytes: Size,
    /// How much all channels together keep, in bytes, beside `event_log.memory.max_bytes`. Where they are full, the oldest
    /// events of the caller that holds most are evicted. Default: 64 MiB. Variable:
    /// `TOKENRILL_CHANNELS__MAX_BYTES_TOTAL`.
    pub max_bytes_total: Size,
    /// The longest data of one event, in bytes. Default: 64 KiB. Variable: `TOKENRILL_CHANNELS__MAX_EVENT`.
    pub max_event: Size,
    /// How many may subscribe to one channel. Default: 10,000. Variable: `TOKENRILL_CHANNELS__MAX_SUBSCRIBERS`.
    pub max_subscribers: NonZeroU32,
    /// How many channels there may be. Of more, the caller that holds most loses the one that has been idle for longest.
    /// A channel is held by the caller that opened it, until another publishes into it while it is empty. Default: 10,000. Variable: `TOKENRILL_CHANNELS__MAX_CHANNELS`.
    pub max_channels: NonZeroU32,
    /// A subscriber's stream without an event for so long is broken off; its client comes back by itself. Looked at
    /// with each heartbeat. Default: 10 min. Variable: `TOKENRILL_CHANNELS__IDLE_TIMEOUT`.
    #[serde(with = "units::duration")]
    pub idle_timeout: Duration,
}

/// The prompts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Prompts {
    /// Where they are. Default: absent, which is `prompts` where that is a directory, and else the starter set of the
    /// program. Variable: `TOKENRILL_PROMPTS__DIRECTORY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
}

impl Default for Channels {
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
