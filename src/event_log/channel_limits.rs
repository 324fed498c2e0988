//! The limits of the logs of channels in memory.

use std::time::Duration;

/// The limits of the logs of channels.
#[derive(Debug, Clone, Copy)]
pub struct ChannelLimits {
    /// Events that one log keeps (`channels.history`); a generation's answer counts as one.
    pub history: usize,
    /// How long a log keeps an event (`channels.retention`).
    pub retention: Duration,
    /// Bytes of one log (`channels.max_bytes`).
    pub bytes: usize,
    /// Bytes of all logs of channels together (`channels.max_bytes_total`). Separate from the bytes of generations, so
    /// that a publisher takes no room from answers.
    pub total: usize,
    /// Number of channels (`channels.max_channels`).
    pub channels: usize,
}

impl ChannelLimits {
    /// The minimum time that every event is kept, for slow subscribers. A subscriber that reads nothing for longer is
    /// disconnected.
    pub const LIVE: Duration = Duration::from_secs(30);
}
