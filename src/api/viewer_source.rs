//! The event stream of a generation's viewer.

use std::task::{Context, Poll};

use bytes::BytesMut;

use super::sse::{EventStreamError, Source, StreamLifetime};
use super::wire::{Retry, WireFormat};
use crate::domain::GenerationId;
use crate::generation::Following;

/// Encodes the events for a viewer in the wire format that it asked for.
pub struct ViewerSource<F> {
    generation: GenerationId,
    following: Following,
    format: F,
    /// The terminal event has been read. No event follows it.
    over: bool,
}

impl<F> ViewerSource<F> {
    pub fn new(following: Following, format: F) -> Self {
        Self { generation: following.start().generation, following, format, over: false }
    }
}

impl<F: WireFormat> Source for ViewerSource<F> {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        retry: &mut Option<Retry>,
        out: &mut BytesMut,
    ) -> Poll<Option<Result<usize, EventStreamError>>> {
        self.following.poll_page(context).map(|page| {
            Some(page?.map_err(EventStreamError::from).map(|page| {
                self.over |= page.iter().any(|entry| entry.event.is_terminal());
                for entry in &page {
                    self.format.encode(self.generation, entry, retry, out);
                }
                page.len()
            }))
        })
    }

    fn is_over(&self) -> bool {
        self.over
    }

    /// Appends the generation's queue position if it changed.
    fn poll_unlogged(&mut self, context: &mut Context<'_>, retry: &mut Option<Retry>, out: &mut BytesMut) -> Poll<()> {
        self.following.poll_queue_position(context).map(|ahead| self.format.encode_queue_position(ahead, retry, out))
    }

    fn write_retry(&self, retry: Retry, out: &mut BytesMut) {
        self.format.encode_retry(retry, out);
    }

    fn lifetime(&self) -> StreamLifetime {
        StreamLifetime::UntilLastEvent
    }

    fn generation(&self) -> Option<GenerationId> {
        Some(self.generation)
    }
}
