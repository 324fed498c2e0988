//! A generation's events, as one client reads them.

use std::task::{Context, Poll};

use bytes::BytesMut;

use super::sse::{BrokenOff, Lasting, Source};
use super::wire::{Retry, WireFormat};
use crate::domain::GenerationId;
use crate::generation::Following;

/// A viewer's reading, in the wire format that it asked for.
pub struct Viewing<F> {
    generation: GenerationId,
    following: Following,
    format: F,
    /// The terminal event has been read: nothing follows it.
    over: bool,
}

impl<F> Viewing<F> {
    pub fn new(following: Following, format: F) -> Self {
        Self { generation: following.start().generation, following, format, over: false }
    }
}

impl<F: WireFormat> Source for Viewing<F> {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        retry: &mut Option<Retry>,
        out: &mut BytesMut,
    ) -> Poll<Option<Result<usize, BrokenOff>>> {
        self.following.poll_page(context).map(|page| {
            Some(page?.map_err(BrokenOff::from).map(|page| {
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

    /// Where the generation stands in the line.
    fn poll_aside(&mut self, context: &mut Context<'_>, retry: &mut Option<Retry>, out: &mut BytesMut) -> Poll<()> {
        self.following.poll_ahead(context).map(|ahead| self.format.encode_ahead(ahead, retry, out))
    }

    fn write_retry(&self, retry: Retry, out: &mut BytesMut) {
        self.format.encode_retry(retry, out);
    }

    fn lasting(&self) -> Lasting {
        Lasting::ToItsEnd
    }

    fn generation(&self) -> Option<GenerationId> {
        Some(self.generation)
    }
}
