//! The blocks of Anthropic's event streams.

use serde_json::Value;

use super::error_body::MessagesError;
use crate::api::wire::entry_frames::EntryFrames;
use crate::api::wire::frames::{Frames, SseBlock};
use crate::domain::EventId;

/// The blocks of one entry.
pub struct MessageBlocks<'a>(EntryFrames<'a>);

impl<'a> MessageBlocks<'a> {
    pub const fn new(frames: &'a mut Frames) -> Self {
        Self(EntryFrames::new(frames))
    }

    /// Begins an event about the block with this index; its object is not closed.
    pub fn indexed(&mut self, name: &str, index: u32) -> SseBlock<'_> {
        let mut block = self.0.event(name);
        block.data().raw("{\"type\":\"").raw(name).raw("\",\"index\":").number(index);
        block
    }

    pub fn json(&mut self, name: &str, value: &Value) {
        self.0.event(name).data().json(value);
    }

    pub fn error(&mut self, error: &MessagesError) {
        self.0.event("error").data().json(error);
    }

    pub fn end(self, id: Option<EventId>) {
        self.0.end(id);
    }
}
