//! One viewer's reading of a generation.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::audience::Viewer;
use super::snapshot::Snapshot;
use super::storage::Unstored;
use crate::domain::{Entry, Event, Failed, Sequence, Start};
use crate::event_log::{Log, ReadError, follow};
use crate::telemetry::{Gauge, Metrics};

/// A viewer who reads a log from a position on; dropping it is leaving.
pub struct Following {
    start: Arc<Start>,
    /// Read already, to see whether the answer begins well.
    held: VecDeque<Vec<Entry>>,
    pages: BoxStream<'static, Result<Vec<Entry>, ReadError>>,
    _viewer: Option<Viewer>,
    _unstored: Option<Arc<Unstored>>,
    _live: Gauge,
}

/// The log broke off under a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is lost")]
pub struct LogLost;

impl Following {
    pub(super) fn new(
        start: Arc<Start>,
        log: Arc<dyn Log>,
        after: Sequence,
        viewer: Option<Viewer>,
        unstored: Option<Arc<Unstored>>,
        metrics: &Metrics,
    ) -> Self {
        let pages = Box::pin(follow(log, after));
        Self { start, held: VecDeque::new(), pages, _viewer: viewer, _unstored: unstored, _live: metrics.viewer() }
    }

    /// How the generation began, wherever this reading begins.
    pub const fn start(&self) -> &Arc<Start> {
        &self.start
    }

    /// The next entries: at least one, in order. `None` after the terminal one.
    pub fn poll_page(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Vec<Entry>, LogLost>>> {
        match self.held.pop_front() {
            Some(page) => Poll::Ready(Some(Ok(page))),
            None => Pin::new(&mut self.pages).poll_next(context).map_err(|_| LogLost),
        }
    }

    pub async fn next_page(&mut self) -> Option<Result<Vec<Entry>, LogLost>> {
        poll_fn(|context| self.poll_page(context)).await
    }

    /// Waits until the model says something, at most `patience`. An error is a failure that came before
    /// the first word; nothing is taken out of the reading.
    pub async fn begun(&mut self, patience: Duration) -> Result<(), Arc<Failed>> {
        let begun = async {
            while let Some(Ok(page)) = self.pages.next().await {
                let word =
                    page.iter().map(|entry| &entry.event).find(|event| !matches!(event, Event::Start(_))).cloned();
                self.held.push_back(page);
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
        let mut snapshot = Snapshot::new(&self.start);
        while let Some(page) = self.next_page().await {
            page?.iter().for_each(|entry| snapshot.apply(entry));
        }
        Ok(snapshot)
    }
}
