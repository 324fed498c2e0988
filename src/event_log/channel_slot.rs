//! One event in a channel's log, and the bytes counted for it.

use std::sync::Arc;

use tokio::time::Instant;

use super::channel_account::ChannelAccountId;
use super::entries::event_size;
use crate::domain::{ChannelEvent, Event, GenerationId, Keeping, Sequence, Shape};

/// An event in a channel's log.
pub struct ChannelSlot {
    pub sequence: Sequence,
    pub at: Instant,
    pub bytes: usize,
    /// The part of `bytes` for the chunk's shape. Of neighbours with the same shape only the first bears it.
    pub shape_bytes: usize,
    /// The account that these bytes are counted against.
    pub account: ChannelAccountId,
    pub event: ChannelEvent,
}

/// The bytes counted for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    pub bytes: usize,
    pub shape_bytes: usize,
}

/// Bytes counted for an event beside its text: its slot, its position in the list of its account, and a share of the
/// indexes.
pub const EVENT_BYTES: usize = size_of::<ChannelSlot>() + size_of::<Sequence>() + 64;

impl ChannelSlot {
    pub fn generation(&self) -> Option<GenerationId> {
        match &self.event {
            ChannelEvent::Generation(generation, _) => Some(*generation),
            ChannelEvent::Published(_) | ChannelEvent::Joined(_) | ChannelEvent::Left(_) => None,
        }
    }

    pub fn has_shape_of(&self, other: &Self) -> bool {
        let both = shape(&self.event).zip(shape(&other.event));
        both.is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }
}

pub fn shape(event: &ChannelEvent) -> Option<&Arc<Shape>> {
    match event {
        ChannelEvent::Generation(_, Event::Chunk(chunk)) => Some(chunk.shape()),
        _ => None,
    }
}

/// Returns the cost of each event. A shape is counted once for neighbours that share it, including `last`, the shape of
/// the log's last event. How the events are divided into appends therefore does not matter.
pub fn costs(events: &[ChannelEvent], last: Option<&Arc<Shape>>) -> Vec<Cost> {
    let mut last = last;
    let cost = |event| {
        let shape = shape(event);
        let is_known = shape.zip(last).is_some_and(|(one, other)| Arc::ptr_eq(one, other));
        let shape_bytes = shape.filter(|_| !is_known).map_or(0, |shape| shape.size());
        if event.keeping() == Keeping::Kept {
            last = shape;
        }
        let text = match event {
            ChannelEvent::Published(published) => published.data_json.len() + published.to.size(),
            ChannelEvent::Generation(_, Event::Chunk(chunk)) => chunk.text().as_str().len(),
            ChannelEvent::Generation(_, event) => event_size(event),
            ChannelEvent::Joined(_) | ChannelEvent::Left(_) => 0,
        };
        Cost { bytes: EVENT_BYTES + text + shape_bytes, shape_bytes }
    };
    events.iter().map(cost).collect()
}

pub fn total(costs: &[Cost]) -> usize {
    costs.iter().map(|cost| cost.bytes).sum()
}
