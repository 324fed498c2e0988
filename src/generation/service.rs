//! The use cases: start, follow, inspect, stop, erase.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::audience::{Audience, OnDisconnect, Viewer};
use super::running::{Ending, Running};
use super::snapshot::Snapshot;
use super::task;
use crate::domain::{
    CancelReason, ChatRequest, Entry, Event, FailureCode, GenerationId, Metadata, RequestId, Sequence, Start, Timestamp,
};
use crate::event_log::{EventLog, Log, ReadError, TailState, follow};
use crate::telemetry::{Gauge, Metrics};
use crate::upstream::{Model, Router, UnknownModel};

/// All generations of this process.
#[derive(Clone)]
pub struct Generations(Arc<Inner>);

struct Inner {
    log: Arc<dyn EventLog>,
    router: Router,
    limits: Limits,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    running: Mutex<HashMap<GenerationId, Arc<Running>>>,
    draining: AtomicBool,
}

/// What one generation may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From its acceptance to its end (`generation.max_duration`).
    pub max_duration: Duration,
    /// Where the request does not say (`generation.on_disconnect`).
    pub on_disconnect: OnDisconnect,
}

/// A generation to be started.
#[derive(Debug)]
pub struct NewGeneration {
    /// Absent: the default model.
    pub model: Option<String>,
    /// The fields for the provider, as in [`ChatRequest::fields`].
    pub fields: Map<String, Value>,
    pub metadata: Metadata,
    /// Absent: as the settings say.
    pub on_disconnect: Option<OnDisconnect>,
    pub request_id: RequestId,
}

/// A generation that has been started, with its first viewer.
pub struct Started {
    pub id: GenerationId,
    pub following: Following,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error("the service is draining")]
    Draining,
    #[error("no model is named and there is no default")]
    ModelRequired,
    #[error("no upstream serves this model")]
    ModelNotFound,
    #[error("the event log is full")]
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    #[error("no such generation")]
    NotFound,
    /// The position is the terminal event's: nothing will ever follow.
    #[error("nothing follows the terminal event")]
    AtEnd,
    #[error("the log does not reach this position")]
    HistoryLost,
}

/// The log broke off under a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is lost")]
pub struct LogLost;

impl Generations {
    pub fn new(
        log: Arc<dyn EventLog>,
        router: Router,
        limits: Limits,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
    ) -> Self {
        let (running, draining) = (Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Inner { log, router, limits, metrics, tasks, running, draining }))
    }

    /// Starts a generation. Its log is there before the upstream is asked, and its first viewer counts
    /// from here on.
    pub async fn start(&self, new: NewGeneration) -> Result<Started, StartError> {
        let inner = &self.0;
        if inner.draining.load(Ordering::Acquire) {
            return Err(StartError::Draining);
        }
        let (model, provider) = inner.router.route(new.model.as_deref())?;
        let id = GenerationId::random();
        let start =
            Start { generation: id, model: model.clone(), created_at: Timestamp::now(), metadata: new.metadata };
        let log = inner.log.create(id, Event::Start(Arc::new(start))).await.map_err(|_| StartError::Full)?;

        let request = ChatRequest { model, fields: new.fields };
        let audience = Audience::new(new.on_disconnect.unwrap_or(inner.limits.on_disconnect));
        let viewer = audience.join();
        let running = Running::new(id, new.request_id, audience, request.prompt_bytes(), Arc::clone(&inner.metrics));
        let registered = Registered::new(Arc::clone(inner), Arc::new(running));
        let (answer, deadline) = (provider.stream(request), Instant::now() + inner.limits.max_duration);
        let following = Following::new(id, Arc::clone(&log), Sequence::START, viewer, &inner.metrics);
        inner.tasks.spawn(async move {
            task::run(Arc::clone(&registered.running), log, answer, deadline).await;
        });
        Ok(Started { id, following })
    }

    /// Every event after a position, then each new one.
    pub async fn follow(&self, id: GenerationId, after: Sequence) -> Result<Following, FollowError> {
        // The seat first: a generation that still runs now does not end for want of viewers.
        let viewer = self.running(id).and_then(|running| running.audience.join());
        let log = self.0.log.open(id).await.ok_or(FollowError::NotFound)?;
        let tail = *log.tail().borrow();
        if after > tail.sequence {
            return Err(FollowError::HistoryLost);
        }
        if after == tail.sequence && tail.state == TailState::Closed {
            return Err(FollowError::AtEnd);
        }
        Ok(Following::new(id, log, after, viewer, &self.0.metrics))
    }

    /// The state of a generation now.
    pub async fn inspect(&self, id: GenerationId) -> Option<Snapshot> {
        let log = self.0.log.open(id).await?;
        let tail = log.tail().borrow().sequence;
        let mut snapshot = None;
        let mut after = Sequence::START;
        while after < tail {
            let page = log.read(after).await.ok()?;
            after = page.last()?.sequence;
            fold(&mut snapshot, &page);
        }
        snapshot
    }

    /// Stops a generation; one that has ended stays as it ended. Answers its state after that.
    pub async fn stop(&self, id: GenerationId) -> Option<Snapshot> {
        let log = self.0.log.open(id).await?;
        if let Some(running) = self.running(id) {
            running.end(&log, Ending::Cancelled(CancelReason::ClientRequest)).await;
        }
        self.inspect(id).await
    }

    /// Stops a generation and forgets it.
    pub async fn erase(&self, id: GenerationId) -> Option<()> {
        self.stop(id).await?;
        self.0.log.remove(id).await;
        Some(())
    }

    pub async fn models(&self) -> Vec<Model> {
        self.0.router.models().await
    }

    /// From now on nothing new is started.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Generations that run now.
    pub fn count(&self) -> usize {
        self.0.running().len()
    }

    /// Ends what still runs, because the service stops.
    pub async fn end_all(&self) {
        let running: Vec<_> = self.0.running().values().cloned().collect();
        for running in running {
            if let Some(log) = self.0.log.open(running.id).await {
                running.end(&log, task::failed(FailureCode::ShuttingDown)).await;
            }
        }
    }

    fn running(&self, id: GenerationId) -> Option<Arc<Running>> {
        self.0.running().get(&id).cloned()
    }
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, HashMap<GenerationId, Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A generation's place among the running ones, held by its task.
struct Registered {
    inner: Arc<Inner>,
    running: Arc<Running>,
    _live: Gauge,
}

impl Registered {
    fn new(inner: Arc<Inner>, running: Arc<Running>) -> Self {
        let live = inner.metrics.generation();
        inner.running().insert(running.id, Arc::clone(&running));
        Self { inner, running, _live: live }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.inner.running().remove(&self.running.id);
    }
}

/// One viewer's reading of a generation; dropping it is leaving.
pub struct Following {
    pub generation: GenerationId,
    pages: BoxStream<'static, Result<Vec<Entry>, ReadError>>,
    _viewer: Option<Viewer>,
    _live: Gauge,
}

impl Following {
    fn new(
        generation: GenerationId,
        log: Arc<dyn Log>,
        after: Sequence,
        viewer: Option<Viewer>,
        metrics: &Metrics,
    ) -> Self {
        let pages = Box::pin(follow(log, after));
        Self { generation, pages, _viewer: viewer, _live: metrics.viewer() }
    }

    /// The next entries: at least one, in order. `None` after the terminal one.
    pub fn poll_page(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Vec<Entry>, LogLost>>> {
        Pin::new(&mut self.pages).poll_next(context).map_err(|_| LogLost)
    }

    /// Reads to the end.
    pub async fn finish(mut self) -> Result<Snapshot, LogLost> {
        let mut snapshot = None;
        while let Some(page) = self.pages.next().await {
            fold(&mut snapshot, &page.map_err(|_| LogLost)?);
        }
        snapshot.ok_or(LogLost)
    }
}

fn fold(snapshot: &mut Option<Snapshot>, page: &[Entry]) {
    for entry in page {
        if let Event::Start(start) = &entry.event {
            *snapshot = Some(Snapshot::new(start));
        }
        if let Some(snapshot) = snapshot {
            snapshot.apply(entry);
        }
    }
}

impl From<UnknownModel> for StartError {
    fn from(unknown: UnknownModel) -> Self {
        match unknown {
            UnknownModel::Unnamed => Self::ModelRequired,
            UnknownModel::Unserved => Self::ModelNotFound,
        }
    }
}
