//! The lines of an event stream outside its blocks: the reconnection delay and heartbeats.

use std::time::Duration;

/// The value of a `retry` line, in milliseconds: the wait before the client reconnects (WHATWG HTML, section 9.2.6).
///
/// Never 0 and never above 2147483647: some clients would then reconnect without a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry(u32);

impl Retry {
    /// For a connection that is lost before the end: the client reconnects soon.
    pub const SOON: Self = Self(1_000);
    /// For the end of a stream: a client that reconnects after every end waits for a day.
    pub const DORMANT: Self = Self(86_400_000);

    pub fn after(wait: Duration) -> Self {
        Self(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).clamp(1, i32::MAX.unsigned_abs()))
    }

    pub const fn millis(self) -> u32 {
        self.0
    }
}

/// A heartbeat: a comment with one line feed. A blank line after it would reach fetch-event-source's `onmessage` as an
/// empty message.
pub const HEARTBEAT: &[u8] = b": ping\n";
