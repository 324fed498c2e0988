//! The events of one entry on the Responses API's stream.

use super::output_items::OutputItem;
use crate::api::wire::entry_frames::EntryFrames;
use crate::api::wire::frames::{Frames, SseBlock};
use crate::domain::{EventId, GenerationId};

/// The number of the next event, and from which on a viewer wants them.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventNumbers {
    next: u64,
    /// `starting_after`: events up to this number are not sent.
    after: Option<u64>,
}

impl EventNumbers {
    pub const fn starting_after(after: u64) -> Self {
        Self { next: 0, after: Some(after) }
    }

    /// Returns the number of the next event.
    pub const fn next(self) -> u64 {
        self.next
    }
}

/// Writes events, each with its number.
pub struct ResponseEvents<'a> {
    generation: GenerationId,
    blocks: EntryFrames<'a>,
    /// Receives events that the viewer does not want.
    unwanted: Frames,
    numbers: &'a mut EventNumbers,
}

impl<'a> ResponseEvents<'a> {
    pub fn new(generation: GenerationId, frames: &'a mut Frames, numbers: &'a mut EventNumbers) -> Self {
        Self { generation, blocks: EntryFrames::new(frames), unwanted: Frames::default(), numbers }
    }

    pub const fn generation(&self) -> GenerationId {
        self.generation
    }

    /// Begins an event; its object is not closed.
    pub fn begin(&mut self, kind: &str) -> SseBlock<'_> {
        let number = self.numbers.next;
        self.numbers.next += 1;
        let mut block = if self.numbers.after.is_some_and(|after| number <= after) {
            self.unwanted = Frames::default();
            self.unwanted.event(kind)
        } else {
            self.blocks.event(kind)
        };
        block.data().raw("{\"type\":\"").raw(kind).raw("\",\"sequence_number\":");
        block.data().number(number);
        block
    }

    /// Begins an event about an item.
    pub fn of_item(&mut self, kind: &str, index: usize, item: &OutputItem) -> SseBlock<'_> {
        let id = item.id(self.generation, index);
        let mut block = self.begin(kind);
        block.data().raw(",\"item_id\":\"").display(id).raw("\"");
        write_index("output_index", index, &mut block);
        block
    }

    /// Ends the entry; the last event has the id.
    pub fn end(self, id: Option<EventId>) {
        self.blocks.end(id);
    }
}

pub fn write_index(name: &str, index: usize, block: &mut SseBlock<'_>) {
    block.data().raw(",\"").raw(name).raw("\":").number(index);
}
