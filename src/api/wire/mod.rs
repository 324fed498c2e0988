//! Wire formats: entries as the frames that one kind of client expects.

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

/// Writes entries as frames; a pure function of the entries, so that a replay is the live stream byte
/// for byte, apart from `retry` and heartbeats.
pub trait WireFormat: Send + 'static {
    /// Appends the frame of one entry, or nothing where this format has no word for it. `retry` goes
    /// into the first block that is written and is taken by it.
    fn encode(&self, generation: GenerationId, entry: &Entry, retry: &mut Option<Retry>, out: &mut BytesMut);

    /// Appends where a generation stands that waits for its place, in the formats that have a word for it. That is no
    /// entry: it has no id, and is not replayed.
    fn encode_ahead(&self, _ahead: Ahead, _retry: &mut Option<Retry>, _out: &mut BytesMut) {}

    /// Appends when to connect again, where no block is due: a line alone, with one line feed, in the formats that
    /// have such lines.
    fn encode_retry(&self, _retry: Retry, _out: &mut BytesMut) {}
}

/// What a client is told of when to connect again (WHATWG HTML, section 9.2.6), in milliseconds.
///
/// Never 0 and never above 2147483647: some clients would then connect again without a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry(u32);

impl Retry {
    /// A connection was lost in mid-answer: come back soon.
    pub const SOON: Self = Self(1_000);
    /// Nothing more will come. A day: a client that connects again after every end goes dormant.
    pub const DORMANT: Self = Self(86_400_000);

    pub fn after(wait: Duration) -> Self {
        Self(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX).clamp(1, i32::MAX.unsigned_abs()))
    }

    pub const fn millis(self) -> u32 {
        self.0
    }

    /// As a line between blocks. A blank line after it would reach fetch-event-source as an empty message.
    pub fn write_alone(self, out: &mut BytesMut) {
        out.extend_from_slice(format!("retry: {}\n", self.0).as_bytes());
    }
}

/// A heartbeat: a comment, and one line feed. A blank line after it would reach
/// fetch-event-source's `onmessage` as an empty message.
pub const HEARTBEAT: &[u8] = b": ping\n";
