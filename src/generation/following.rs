//! One viewer's stream of a generation.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_stream::stream;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::audience::Viewer;
use super::state::GenerationState;
use super::storage::Record;
use crate::domain::{Event, Failed, Sequence, Start};
use crate::event_log::{Follow, Log, Page, ReadError, Tail, TailState, follow};
use crate::limits::{Ahead, Turn};
use crate::telemetry::Gauge;

/// A viewer that reads a log from a position on. Dropping it ends the viewing.
pub struct Following {
    log: Arc<dyn Log>,
    pages: Follow<dyn Log>,
    seat: Seat,
}

/// The resources that a viewer holds while it is connected.
pub struct Seat {
    /// `None` if the generation has ended, or is being cancelled because it has no viewer: its terminal event is in the
    /// log, or will be.
    _viewer: Option<Viewer>,
    /// Only for a generation whose record is removed with its last holder.
    _record: Option<Arc<Record>>,
    _live: Gauge,
    /// The queue positions, while the generation waits for its slot.
    ahead: Option<BoxStream<'static, Ahead>>,
}

/// The shortest time between two queue positions that a viewer is sent.
const AHEAD_INTERVAL: Duration = Duration::from_millis(250);

impl Seat {
    pub fn new(
        viewer: Option<Viewer>,
        record: Option<Arc<Record>>,
        live: Gauge,
        turn: Option<watch::Receiver<Turn>>,
    ) -> Self {
        let waiting = turn.filter(|turn| matches!(*turn.borrow(), Turn::Waiting(_)));
        Self { _viewer: viewer, _record: record, _live: live, ahead: waiting.map(|turn| ahead(turn).boxed()) }
    }
}

/// Returns the generation's queue position now and whenever it changes, until the generation has its slot.
fn ahead(mut turn: watch::Receiver<Turn>) -> impl Stream<Item = Ahead> {
    stream! {
        loop {
            let Turn::Waiting(ahead) = *turn.borrow_and_update() else { break };
            yield ahead;
            sleep(AHEAD_INTERVAL).await;
            if turn.changed().await.is_err() {
                break;
            }
        }
    }
}

/// The log was lost while a viewer read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is lost")]
pub struct LogLost;

impl Following {
    pub(super) fn new(log: Arc<dyn Log>, after: Sequence, seat: Seat) -> Self {
        let pages = follow(Arc::clone(&log), after);
        Self { log, pages, seat }
    }

    /// Returns the generation's start, whatever position this viewer began at.
    pub fn start(&self) -> &Arc<Start> {
        self.log.start()
    }

    /// Returns the whole log from its beginning, for a reader that does not count as a viewer and does not keep the
    /// generation running.
    pub fn beside(&self) -> impl Stream<Item = Result<Page, ReadError>> + Send + use<> {
        follow(Arc::clone(&self.log), Sequence::START)
    }

    /// Returns the next entries: at least one, in order. `None` after the terminal one.
    pub fn poll_page(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Page, LogLost>>> {
        Pin::new(&mut self.pages).poll_next(context).map_err(|_| LogLost)
    }

    /// Returns the generation's queue position, each one once; pending if it is not queued.
    pub fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<Ahead> {
        let Some(ahead) = &mut self.seat.ahead else { return Poll::Pending };
        match ahead.poll_next_unpin(context) {
            Poll::Ready(Some(ahead)) => Poll::Ready(ahead),
            Poll::Ready(None) => {
                self.seat.ahead = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }

    pub async fn next_page(&mut self) -> Option<Result<Page, LogLost>> {
        poll_fn(|context| self.poll_page(context)).await
    }

    /// Waits until the first chunk is in the log, at most `patience`. An error is a failure before the first chunk.
    /// Consumes no entries, so the viewer may read meanwhile.
    pub fn begun(&self, patience: Duration) -> impl Future<Output = Result<(), Arc<Failed>>> + Send + use<> {
        let log = Arc::clone(&self.log);
        async move {
            let first = Sequence::START.plus(1);
            let mut tail = log.tail();
            if timeout(patience, tail.until(|tail| tail.sequence > first)).await.is_err() {
                return Ok(());
            }
            let Tail { sequence, state } = tail.get();
            if sequence > first.plus(1) || state == TailState::Open {
                return Ok(());
            }
            // The terminal event came before any chunk.
            match log.read(first).await.ok().and_then(|mut page| page.pop()).map(|entry| entry.event) {
                Some(Event::Failed(failed)) => Err(failed),
                _ => Ok(()),
            }
        }
    }

    /// Waits until the generation has ended.
    pub async fn ended(&mut self) {
        self.log.tail().closed().await;
    }

    /// Returns the current state of the generation.
    pub fn state(&self) -> GenerationState {
        GenerationState::now(Arc::clone(&self.log))
    }
}
