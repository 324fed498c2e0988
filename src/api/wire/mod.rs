//! Wire formats: encode log entries in the format that a kind of client expects.

mod block;
pub mod channel;
mod measures;
pub mod native;
pub mod openai_chat;

pub use block::Block;
pub use native::Native;
pub use openai_chat::OpenAiChat;

use std::time::Duration;

use bytes::BytesMut;

use crate::domain::{Entry, GenerationId};
use crate::limits::Ahead;

/// Encodes entries as frames. A pure function of the entries, so that a replay has the same bytes as the live stream,
/// apart from `retry` and heartbeats.
pub trait WireFormat: Send + 'static {
    /// Appends the frame of one entry, or nothing if this format has none for it. The first block that is written takes
    /// `retry`.
    fn encode(&self, generation: GenerationId, entry: &Entry, retry: &mut Option<Retry>, out: &mut BytesMut);

    /// Appends the queue position of a waiting generation, in the formats that have an event for it. It is not an entry
    /// of the log, so it has no id and is not replayed.
    fn encode_ahead(&self, _ahead: Ahead, _retry: &mut Option<Retry>, _out: &mut BytesMut) {}

    /// Appends a `retry` line outside a block, with one line feed, in the formats that have such lines.
    fn encode_retry(&self, _retry: Retry, _out: &mut BytesMut) {}
}

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

    /// Appends a line between blocks. After it, a blank line would reach fetch-event-source as an empty message.
    pub fn write_alone(self, out: &mut BytesMut) {
        out.extend_from_slice(format!("retry: {}\n", self.0).as_bytes());
    }
}

/// A heartbeat: a comment with one line feed. A blank line after it would reach fetch-event-source's `onmessage` as an
/// empty message.
pub const HEARTBEAT: &[u8] = b": ping\n";
