//! The settings of channels and prompts.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keys::{COUNT, DURATION, SIZE, SettingSection, key};
use super::{Size, units};

/// The channels.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ChannelSettings {
    pub history: u32,
    #[serde(with = "units::duration")]
    pub retention: Duration,
    pub max_bytes: Size,
    pub max_bytes_total: Size,
    pub max_event: Size,
    pub max_subscribers: NonZeroU32,
    pub max_channels: NonZeroU32,
    #[serde(with = "units::duration")]
    pub idle_timeout: Duration,
}

pub(super) const SECTION: SettingSection = SettingSection {
    name: "channels",
    intro: "",
    keys: &[
        key(
            "channels.history",
            "a whole number such as 100",
            "How many of its last events a channel keeps for later subscribers. The answer of a generation that runs in \
             the channel counts as one.",
        ),
        key("channels.retention", DURATION, "How long a channel keeps an event."),
        key(
            "channels.max_bytes",
            SIZE,
            "The maximum size of the events of one channel. A full channel evicts its oldest event.",
        ),
        key(
            "channels.max_bytes_total",
            SIZE,
            "The maximum size of the events of all channels together, in addition to event_log.memory.max_bytes. If it \
             is reached, the oldest events of the caller that holds most are evicted. With event_log.backend = \"redis\" it \
             limits the copies of channels that one process has for its subscribers.",
        ),
        key("channels.max_event", SIZE, "The maximum size of the data of one event."),
        key("channels.max_subscribers", COUNT, "The maximum number of subscribers of one channel."),
        key(
            "channels.max_channels",
            COUNT,
            "The maximum number of channels. Above it, the longest idle channel of the caller that holds most is \
             removed. A channel is held by the caller that opened it, until another caller publishes into it while it \
             is empty. Without effect with event_log.backend = \"redis\".",
        ),
        key(
            "channels.idle_timeout",
            DURATION,
            "How long a subscriber's stream may be without an event. Then it is closed, and its client reconnects \
             automatically after some seconds. Checked at each heartbeat.",
        ),
    ],
};

/// The prompts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct PromptSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
}

pub(super) const PROMPT_SECTION: SettingSection = SettingSection {
    name: "prompts",
    intro: "",
    keys: &[key(
        "prompts.directory",
        "the path of a directory, as text in quotes",
        "The directory of the prompts, one file for each; prompts/README.md describes their format. Reloaded at SIGHUP. \
         Default: absent, which is \"prompts\" if that is a directory, and otherwise the program's built-in starter set.",
    )
    .with_example("\"prompts\"")],
};

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
