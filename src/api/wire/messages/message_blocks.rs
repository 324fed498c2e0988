//! The blocks of an event stream that one entry makes.

use serde_json::Value;

use super::super::frames::{Frames, SseBlock};
use super::error_body::MessagesError;
use crate::domain::EventId;

/// The blocks of one entry, of which the last has the id.
pub struct MessageBlocks<'a> {
    frames: &'a mut Frames,
    has_unfinished: bool,
}

impl<'a> MessageBlocks<'a> {
    pub const fn new(frames: &'a mut Frames) -> Self {
        Self { frames, has_unfinished: false }
    }

    pub fn event(&mut self, name: &str) -> SseBlock<'_> {
        if self.has_unfinished {
            self.frames.unfinished().end_with_data();
        }
        self.has_unfinished = true;
        self.frames.event(name)
    }

    /// Begins an event about the block with this index; its object is not closed.
    pub fn indexed(&mut self, name: &str, index: u32) -> SseBlock<'_> {
        let mut block = self.event(name);
        block.data().raw("{\"type\":\"").raw(name).raw("\",\"index\":").number(index);
        block
    }

    pub fn json(&mut self, name: &str, value: &Value) {
        self.event(name).data().json(value);
    }

    pub fn error(&mut self, error: &MessagesError) {
        self.event("error").data().json(error);
    }

    pub fn end(self, id: Option<EventId>) {
        if !self.has_unfinished {
            return;
        }
        let block = self.frames.unfinished();
        match id {
            Some(id) => block.end(Some(id)),
            None => block.end_with_data(),
        }
    }
}
