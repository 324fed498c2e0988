//! A stream that begins with the state of a generation and continues with its events.

use std::task::{Context, Poll};

use futures_util::StreamExt;

use super::output_pieces::OutputPieces;
use super::sse::{EventStreamError, Source, StreamLifetime};
use super::viewer_source::ViewerSource;
use super::wire::frames::Frames;
use super::wire::native::encoder::NativeEncoder;
use super::wire::retry::Retry;
use crate::domain::{EventId, GenerationId};

/// The stream of a viewer that asked for a `snapshot` event instead of the earlier events.
///
/// The snapshot block is sent in several writes, because it may be as large as the answer.
pub struct SnapshotSource {
    /// `None` after the block has been written.
    snapshot: Option<Snapshot>,
    viewer: ViewerSource<NativeEncoder>,
}

struct Snapshot {
    json: OutputPieces,
    id: EventId,
    is_started: bool,
}

impl SnapshotSource {
    /// `id` is the id of the last event that the state includes.
    pub fn new(json: OutputPieces, id: EventId, viewer: ViewerSource<NativeEncoder>) -> Self {
        Self { snapshot: Some(Snapshot { json, id, is_started: false }), viewer }
    }
}

impl Source for SnapshotSource {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        frames: &mut Frames,
    ) -> Poll<Option<Result<usize, EventStreamError>>> {
        let Some(snapshot) = &mut self.snapshot else { return self.viewer.poll_write(context, frames) };
        if !snapshot.is_started {
            snapshot.is_started = true;
            frames.event("snapshot");
        }
        match snapshot.json.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(piece))) => {
                frames.append(&piece);
                Poll::Ready(Some(Ok(0)))
            }
            Poll::Ready(Some(Err(lost))) => Poll::Ready(Some(Err(lost.into()))),
            Poll::Ready(None) => {
                frames.unfinished().end(Some(snapshot.id));
                self.snapshot = None;
                Poll::Ready(Some(Ok(1)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_over(&self) -> bool {
        self.snapshot.is_none() && self.viewer.is_over()
    }

    fn is_in_block(&self) -> bool {
        self.snapshot.as_ref().map_or(self.viewer.is_in_block(), |snapshot| snapshot.is_started)
    }

    fn poll_unlogged(&mut self, context: &mut Context<'_>, frames: &mut Frames) -> Poll<()> {
        self.viewer.poll_unlogged(context, frames)
    }

    fn write_retry(&mut self, retry: Retry, frames: &mut Frames) {
        self.viewer.write_retry(retry, frames);
    }

    fn lifetime(&self) -> StreamLifetime {
        StreamLifetime::UntilLastEvent
    }

    fn generation(&self) -> Option<GenerationId> {
        self.viewer.generation()
    }
}
