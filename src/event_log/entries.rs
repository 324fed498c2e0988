//! The entries of one log, as memory holds them.

use std::sync::Arc;

use super::{Page, ReadError, Tail, TailState};
use crate::domain::{Chunk, Entry, Escaped, Event, Sequence, Shape, Trailer};

/// Entries by position, their texts end to end in one arena, what they share once.
#[derive(Default)]
pub struct Entries {
    slots: Vec<Slot>,
    arena: String,
    shapes: Vec<Arc<Shape>>,
    /// The rare events: the first and the last.
    events: Vec<Event>,
    closed: bool,
}

#[derive(Clone, Copy)]
struct Slot {
    kind: SlotKind,
    text_end: u32,
}

#[derive(Clone, Copy)]
enum SlotKind {
    Chunk { shape: u32 },
    Event { index: u32 },
}

/// A page ends at the first entry that takes it past this.
const PAGE_BYTES: usize = 16 * 1024;
/// So many shapes back a chunk's shape is looked for. Streams alternate between a few.
const SHAPES_LOOKED_AT: usize = 8;
/// What a start or a terminal event is counted as, beside the texts that callers and providers choose.
const EVENT_BYTES: usize = 512;

impl Entries {
    /// The terminal event, once it is there.
    pub fn terminal(&self) -> Option<&Event> {
        self.events.last().filter(|_| self.closed)
    }

    pub fn tail(&self) -> Tail {
        let state = if self.closed { TailState::Closed } else { TailState::Open };
        Tail { sequence: Sequence::new(self.slots.len() as u64), state }
    }

    /// The bytes that adding these will take.
    pub fn cost(&self, events: &[Event]) -> usize {
        let mut unknown: Vec<&Arc<Shape>> = Vec::new();
        let mut cost = 0;
        for event in events {
            cost += size_of::<Slot>();
            let Event::Chunk(chunk) = event else {
                cost += event_size(event);
                continue;
            };
            cost += chunk.text().as_str().len();
            let shape = chunk.shape();
            if self.shape(shape).is_none() && !unknown.iter().any(|known| Arc::ptr_eq(known, shape)) {
                cost += shape.size();
                unknown.push(shape);
            }
        }
        cost
    }

    /// Adds one entry; nothing follows a terminal event.
    pub fn push(&mut self, event: Event) {
        self.closed |= event.is_terminal();
        let kind = match event {
            Event::Chunk(chunk) => {
                self.arena.push_str(chunk.text().as_str());
                let shape = self.shape(chunk.shape()).unwrap_or_else(|| {
                    self.shapes.push(Arc::clone(chunk.shape()));
                    self.shapes.len() - 1
                });
                SlotKind::Chunk { shape: index(shape) }
            }
            event => {
                self.events.push(event);
                SlotKind::Event { index: index(self.events.len() - 1) }
            }
        };
        self.slots.push(Slot { kind, text_end: index(self.arena.len()) });
    }

    fn shape(&self, shape: &Arc<Shape>) -> Option<usize> {
        let recent = self.shapes.iter().enumerate().rev().take(SHAPES_LOOKED_AT);
        recent.into_iter().find(|(_, known)| Arc::ptr_eq(known, shape)).map(|(at, _)| at)
    }

    /// The entries after a position, at most a page.
    pub fn page(&self, after: Sequence) -> Result<Page, ReadError> {
        let start = usize::try_from(after.get()).map_err(|_| ReadError::BeyondTail)?;
        let slots = self.slots.get(start..).ok_or(ReadError::BeyondTail)?;
        let text_start =
            start.checked_sub(1).and_then(|at| self.slots.get(at)).map_or(0, |slot| slot.text_end as usize);
        let mut size = 0;
        let mut text_end = text_start;
        let length = slots
            .iter()
            .position(|slot| {
                size += self.size(*slot, text_end);
                text_end = slot.text_end as usize;
                size > PAGE_BYTES
            })
            .map_or(slots.len(), |at| at + 1);
        let (mut page, mut from) = (Page::with_capacity(length), text_start);
        for (slot, sequence) in slots.iter().take(length).zip(start as u64 + 1..) {
            let text_end = slot.text_end as usize;
            let text = self.arena.get(from..text_end).unwrap_or_default();
            from = text_end;
            let event = self.event(*slot, text).ok_or(ReadError::Lost)?;
            page.push(Entry { sequence: Sequence::new(sequence), event });
        }
        Ok(page)
    }

    fn event(&self, slot: Slot, text: &str) -> Option<Event> {
        match slot.kind {
            SlotKind::Event { index } => self.events.get(index as usize).cloned(),
            SlotKind::Chunk { shape } => {
                let shape = Arc::clone(self.shapes.get(shape as usize)?);
                Some(Event::Chunk(Chunk::new(shape, Escaped::from_stored(text))))
            }
        }
    }

    /// What an entry will take on a wire, about.
    fn size(&self, slot: Slot, text_start: usize) -> usize {
        let shape = match slot.kind {
            SlotKind::Chunk { shape } => self.shapes.get(shape as usize).map_or(0, |shape| shape.size()),
            SlotKind::Event { .. } => EVENT_BYTES,
        };
        shape + slot.text_end as usize - text_start
    }
}

/// What an event takes that is no chunk, with the texts that callers and providers choose.
pub(super) fn event_size(event: &Event) -> usize {
    let texts = match event {
        Event::Start(start) => {
            let metadata = start.metadata.iter().map(|(key, value)| key.len() + value.len());
            start.model.len() + metadata.sum::<usize>()
        }
        Event::Done(done) => {
            let Trailer { chunks_json, head_json, usage_json } = &done.trailer;
            chunks_json.len() + head_json.len() + usage_json.as_ref().map_or(0, |usage| usage.len())
        }
        Event::Cancelled(_) | Event::Failed(_) | Event::Chunk(_) => 0,
    };
    EVENT_BYTES + texts
}

/// Positions inside one log fit 32 bits: `generation.max_bytes` is at most 1 GiB.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
