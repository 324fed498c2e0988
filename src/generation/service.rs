//! The use cases: start, follow, inspect, stop, erase.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::audience::{Audience, OnDisconnect};
use super::following::Following;
use super::running::{Ending, Running};
use super::snapshot::Snapshot;
use super::storage::{Storage, Unstored};
use super::task;
use crate::domain::{
    CancelReason, ChatRequest, Entry, Event, FailureCode, GenerationId, Metadata, RequestId, Sequence, Start,
    Timestamp, UsageWish,
};
use crate::event_log::{EventLog, TailState};
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
    running: Mutex<HashMap<GenerationId, Live>>,
    draining: AtomicBool,
}

/// A running generation, and what drops its record in the end, where it is not to be kept.
type Live = (Arc<Running>, Option<Arc<Unstored>>);

/// What one generation may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From its acceptance to its end (`generation.max_duration`).
    pub max_duration: Duration,
    /// Where the request does not say (`generation.on_disconnect`).
    pub on_disconnect: OnDisconnect,
}

/// A generation to be started.
pub struct NewGeneration {
    /// Absent: the default model.
    pub model: Option<String>,
    /// The fields for the provider, as in [`ChatRequest::fields`].
    pub fields: Map<String, Value>,
    pub metadata: Metadata,
    pub usage: UsageWish,
    pub storage: Storage,
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
        let start = Arc::new(Start {
            generation: id,
            model: model.clone(),
            created_at: Timestamp::now(),
            metadata: new.metadata,
            usage: new.usage,
        });
        let log = inner.log.create(id, Event::Start(Arc::clone(&start))).await.map_err(|_| StartError::Full)?;

        let request = ChatRequest { model, fields: new.fields };
        let audience = Audience::new(new.on_disconnect.unwrap_or(inner.limits.on_disconnect));
        let viewer = audience.join();
        let running = Running::new(id, new.request_id, audience, request.prompt_bytes(), Arc::clone(&inner.metrics));
        let unstored = (new.storage == Storage::UntilRead)
            .then(|| Arc::new(Unstored { generation: id, log: Arc::clone(&inner.log), tasks: inner.tasks.clone() }));
        let registered = Registered::new(Arc::clone(inner), Arc::new(running), unstored.clone());
        // Again, now that a drain that comes later finds it: one that came in between did not.
        if inner.draining.load(Ordering::Acquire) {
            inner.log.remove(id).await;
            return Err(StartError::Draining);
        }
        let (answer, deadline) = (provider.stream(request), Instant::now() + inner.limits.max_duration);
        let following = Following::new(start, Arc::clone(&log), Sequence::START, viewer, unstored, &inner.metrics);
        inner.tasks.spawn(async move {
            let rest = task::run(&registered.running, log, answer, deadline).await;
            drop(registered);
            if let Some(rest) = rest {
                task::tidy_up(rest).await;
            }
        });
        Ok(Started { id, following })
    }

    /// Every event after a position, then each new one.
    pub async fn follow(&self, id: GenerationId, after: Sequence) -> Result<Following, FollowError> {
        // The seat first: a generation that still runs now does not end for want of viewers.
        let running = self.0.running().get(&id).cloned();
        let viewer = running.as_ref().and_then(|(running, _)| running.audience.join());
        let unstored = running.and_then(|(_, unstored)| unstored);
        let log = self.0.log.open(id).await.ok_or(FollowError::NotFound)?;
        let tail = *log.tail().borrow();
        if after > tail.sequence {
            return Err(FollowError::HistoryLost);
        }
        if after == tail.sequence && tail.state == TailState::Closed {
            return Err(FollowError::AtEnd);
        }
        let first = log.read(Sequence::START).await.map_err(|_| FollowError::HistoryLost)?;
        let Some(Event::Start(start)) = first.into_iter().next().map(|entry| entry.event) else {
            return Err(FollowError::HistoryLost);
        };
        Ok(Following::new(start, log, after, viewer, unstored, &self.0.metrics))
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
        self.end(id).await?;
        self.inspect(id).await
    }

    /// Stops a generation and forgets it.
    pub async fn erase(&self, id: GenerationId) -> Option<()> {
        self.end(id).await?;
        self.0.log.remove(id).await;
        Some(())
    }

    async fn end(&self, id: GenerationId) -> Option<()> {
        let log = self.0.log.open(id).await?;
        if let Some(running) = self.running(id) {
            running.end(&log, Ending::Cancelled(CancelReason::ClientRequest)).await;
        }
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
        let running: Vec<_> = self.0.running().values().map(|(running, _)| Arc::clone(running)).collect();
        for running in running {
            if let Some(log) = self.0.log.open(running.id).await {
                running.end(&log, task::failed(FailureCode::ShuttingDown)).await;
            }
        }
    }

    fn running(&self, id: GenerationId) -> Option<Arc<Running>> {
        self.0.running().get(&id).map(|(running, _)| Arc::clone(running))
    }
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, HashMap<GenerationId, Live>> {
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
    fn new(inner: Arc<Inner>, running: Arc<Running>, unstored: Option<Arc<Unstored>>) -> Self {
        let live = inner.metrics.generation();
        inner.running().insert(running.id, (Arc::clone(&running), unstored));
        Self { inner, running, _live: live }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // Dropped after the lock is: the last one to let go of a record removes it.
        let live = self.inner.running().remove(&self.running.id);
        drop(live);
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
