//! The event stream of a generation's viewer.

use std::task::{Context, Poll};

use super::sse::{EventStreamError, Source, StreamLifetime};
use super::wire::encoder::{CatchUp, Encoder, Notice, PageEffect};
use super::wire::frames::Frames;
use super::wire::retry::Retry;
use crate::domain::GenerationId;
use crate::generation::Following;

/// Encodes the events for a viewer on the wire that it asked for.
pub struct ViewerSource<E> {
    generation: GenerationId,
    following: Following,
    encoder: E,
    catch_up: CatchUp,
    /// The terminal event has been written. No event follows it.
    over: bool,
}

impl<E> ViewerSource<E> {
    pub fn new(following: Following, encoder: E) -> Self {
        let generation = following.start().generation;
        Self { generation, following, encoder, catch_up: CatchUp::default(), over: false }
    }
}

impl<E: Encoder> Source for ViewerSource<E> {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        frames: &mut Frames,
    ) -> Poll<Option<Result<usize, EventStreamError>>> {
        let page = match self.following.poll_page(context) {
            Poll::Ready(Some(Ok(page))) => page,
            Poll::Ready(Some(Err(lost))) => return Poll::Ready(Some(Err(lost.into()))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        match self.catch_up.page(&page, &mut self.encoder, frames) {
            PageEffect::Encoded(entries) => {
                self.over |= page.iter().any(|entry| entry.event.is_terminal());
                return Poll::Ready(Some(Ok(entries)));
            }
            PageEffect::Skipped => {}
            PageEffect::Rewind => self.following.rewind(),
        }
        // Yields after each page that is not sent, because a log may have many.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_over(&self) -> bool {
        self.over
    }

    /// Appends the generation's queue position if it changed.
    fn poll_unlogged(&mut self, context: &mut Context<'_>, frames: &mut Frames) -> Poll<()> {
        if self.catch_up.is_behind() {
            return Poll::Pending;
        }
        let position = self.following.poll_queue_position(context);
        position.map(|ahead| self.encoder.notice(Notice::Queued(ahead), frames))
    }

    fn write_retry(&mut self, retry: Retry, frames: &mut Frames) {
        self.encoder.notice(Notice::Reconnect(retry), frames);
    }

    fn lifetime(&self) -> StreamLifetime {
        StreamLifetime::UntilLastEvent
    }

    fn generation(&self) -> Option<GenerationId> {
        Some(self.generation)
    }
}
