//! One viewer's reading of a generation.

use std::collections::VecDeque;
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
use super::snapshot::Snapshot;
use super::storage::Record;
use crate::domain::{Event, Failed, Sequence, Start};
use crate::event_log::{Follow, Log, Page, ReadError, follow};
use crate::limits::{Ahead, Turn};
use crate::telemetry::Gauge;

/// A viewer who reads a log from a position on; dropping it is leaving.
pub struct Following {
    log: Arc<dyn Log>,
    /// Read already, to see whether the answer begins well.
    held: VecDeque<Result<Page, LogLost>>,
    pages: Follow<dyn Log>,
    seat: Seat,
}

/// What a viewer holds while it is there.
pub struct Seat {
    /// Absent where the generation has ended, or is being ended for want of viewers: its ending is in the
    /// log, or will be.
    _viewer: Option<Viewer>,
    /// Of a generation whose record goes with its last holder.
    _record: Option<Arc<Record>>,
    _live: Gauge,
    /// While the generation waits for its place.
    ahead: Option<BoxStream<'static, Ahead>>,
}

/// As often as a viewer is told how the line moves, at most.
const MOVES: Duration = Duration::from_millis(250);

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

/// Where the generation stands in the line, now and whenever that changes, until it is its turn.
fn ahead(mut turn: watch::Receiver<Turn>) -> impl Stream<Item = Ahead> {
    stream! {
        loop {
            let Turn::Waiting(ahead) = *turn.borrow_and_update() else { break };
            yield ahead;
            sleep(MOVES).await;
            if turn.changed().await.is_err() {
                break;
            }
        }
    }
}

/// The log broke off under a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is lost")]
pub struct LogLost;

impl Following {
    pub(super) fn new(log: Arc<dyn Log>, after: Sequence, seat: Seat) -> Self {
        let pages = follow(Arc::clone(&log), after);
        Self { log, held: VecDeque::new(), pages, seat }
    }

    /// How the generation began, wherever this reading begins.
    pub fn start(&self) -> &Arc<Start> {
        self.log.start()
    }

    /// The whole log from its beginning, for one who is no viewer: whether it is read is nothing to the generation.
    pub fn beside(&self) -> impl Stream<Item = Result<Page, ReadError>> + Send + use<> {
        follow(Arc::clone(&self.log), Sequence::START)
    }

    /// The next entries: at least one, in order. `None` after the terminal one.
    pub fn poll_page(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Page, LogLost>>> {
        match self.held.pop_front() {
            Some(page) => Poll::Ready(Some(page)),
            None => Pin::new(&mut self.pages).poll_next(context).map_err(|_| LogLost),
        }
    }

    /// Where the generation stands in the line, where it stands in one; each time once.
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

    /// Waits until the model says something, at most `patience`. An error is a failure that came before
    /// the first word; nothing is taken out of the reading.
    pub async fn begun(&mut self, patience: Duration) -> Result<(), Arc<Failed>> {
        let begun = async {
            while let Some(page) = self.pages.next().await {
                let entries = page.as_deref().unwrap_or_default();
                let word =
                    entries.iter().map(|entry| &entry.event).find(|event| !matches!(event, Event::Start(_))).cloned();
                self.held.push_back(page.map_err(|_| LogLost));
                match word {
                    Some(Event::Failed(failed)) => return Err(failed),
                    Some(_) => return Ok(()),
                    None => {}
                }
            }
            Ok(())
        };
        timeout(patience, begun).await.unwrap_or(Ok(()))
    }

    /// Reads to the end.
    pub async fn finish(mut self) -> Result<Snapshot, LogLost> {
        let mut snapshot = Snapshot::new(self.log.start());
        while let Some(page) = self.next_page().await {
            page?.iter().for_each(|entry| snapshot.apply(entry));
        }
        Ok(snapshot)
    }
}
