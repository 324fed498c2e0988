//! The blocks of an event stream that one entry makes.

use super::frames::{Frames, SseBlock};
use crate::domain::EventId;

/// The blocks of one entry, of which the last has the id.
pub struct EntryFrames<'a> {
    frames: &'a mut Frames,
    has_unfinished: bool,
}

impl<'a> EntryFrames<'a> {
    pub const fn new(frames: &'a mut Frames) -> Self {
        Self { frames, has_unfinished: false }
    }

    /// Begins a block with a name.
    pub fn event(&mut self, name: &str) -> SseBlock<'_> {
        self.finish();
        self.frames.event(name)
    }

    /// Begins a block without a name.
    pub fn unnamed(&mut self) -> SseBlock<'_> {
        self.finish();
        self.frames.unnamed()
    }

    /// Ends the block before.
    fn finish(&mut self) {
        if std::mem::replace(&mut self.has_unfinished, true) {
            self.frames.unfinished().end_with_data();
        }
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
