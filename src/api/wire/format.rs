//! The interface of the wire formats.

use bytes::BytesMut;

use super::retry::Retry;
use crate::domain::{Entry, GenerationId};
use crate::limits::QueuePosition;

/// Encodes entries as frames. A pure function of the entries, so that a replay has the same bytes as the live stream,
/// apart from `retry` and heartbeats.
pub trait WireFormat: Send + 'static {
    /// Appends the frame of one entry, or nothing if this format has none for it. The first block that is written takes
    /// `retry`.
    fn encode(&self, generation: GenerationId, entry: &Entry, retry: &mut Option<Retry>, out: &mut BytesMut);

    /// Appends the queue position of a waiting generation, in the formats that have an event for it. It is not an entry
    /// of the log, so it has no id and is not replayed.
    fn encode_queue_position(&self, _ahead: QueuePosition, _retry: &mut Option<Retry>, _out: &mut BytesMut) {}

    /// Appends a `retry` line outside a block, with one line feed, in the formats that have such lines.
    fn encode_retry(&self, _retry: Retry, _out: &mut BytesMut) {}
}
