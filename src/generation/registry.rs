//! The generations that run in this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use super::ending::Ending;
use super::running::Running;
use crate::detached::Detached;
use crate::domain::{FailureCode, GenerationId, Lookup};
use crate::event_log::{EventLog, Writer};
use crate::telemetry::Gauge;

/// Every generation, from before its log is made until its task has ended.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Lookup<GenerationId, Live>>>);

struct Live {
    running: Arc<Running>,
    task: Option<AbortHandle>,
}

impl Registry {
    /// Must be called before the log is made, so that a request that finds the log also finds its queue position.
    pub fn register(&self, running: Arc<Running>, tasks: TaskTracker) -> Registration {
        self.lock().insert(running.id, Live { running: Arc::clone(&running), task: None });
        Registration { registry: self.clone(), running, tasks, begun: None }
    }

    pub fn get(&self, id: GenerationId) -> Option<Arc<Running>> {
        self.lock().get(&id).map(|live| Arc::clone(&live.running))
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Asks all tasks to end their generations with `ending`.
    pub fn request_end_of_all(&self, ending: &Ending) {
        for live in self.lock().values() {
            live.running.request_end(ending.clone());
        }
    }

    /// Makes [`Registry::abort_all`] abort this task. A generation that has already ended is not in the registry.
    pub fn record_task(&self, id: GenerationId, task: AbortHandle) {
        if let Some(live) = self.lock().get_mut(&id) {
            live.task = Some(task);
        }
    }

    /// Aborts all tasks, which ends their generations.
    pub fn abort_all(&self) {
        for task in self.lock().values().filter_map(|live| live.task.as_ref()) {
            task.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lookup<GenerationId, Live>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A generation's entry in the registry, held first by the call that starts it, then by its task. If it is dropped
/// before the generation has ended, it ends the generation.
pub struct Registration {
    registry: Registry,
    running: Arc<Running>,
    /// Tracks the end of a generation whose log cannot be closed at once.
    tasks: TaskTracker,
    begun: Option<Begun>,
}

/// What a generation holds from the creation of its log to its end.
struct Begun {
    events: Arc<dyn EventLog>,
    /// `None` once the generation has ended.
    writer: Option<Box<dyn Writer>>,
    live: Gauge,
}

impl Registration {
    /// Records that the generation's log exists: from now on dropping this must close it.
    pub fn begin(&mut self, events: Arc<dyn EventLog>, writer: Box<dyn Writer>, live: Gauge) {
        self.begun = Some(Begun { events, writer: Some(writer), live });
    }

    pub const fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Returns the generation and the writer of its log; no writer before the log exists or after the end.
    pub fn running_and_writer(&mut self) -> (&Arc<Running>, Option<&mut dyn Writer>) {
        let writer = self.begun.as_mut().and_then(|begun| begun.writer.as_deref_mut());
        (&self.running, writer.map(|writer| writer as &mut dyn Writer))
    }

    /// Records that the generation has ended, so that dropping this does not end it.
    pub fn end(&mut self) {
        if let Some(begun) = &mut self.begun {
            begun.writer = None;
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(Begun { events, writer: Some(mut writer), live }) = self.begun.take() {
            let running = Arc::clone(&self.running);
            let stopped = events.end_requested(running.id).now_or_never().map(Ending::Cancelled);
            let ending = stopped.unwrap_or_else(|| Ending::failed(FailureCode::Internal));
            // A log in memory is closed by the first poll, so that the end is readable when the task is gone.
            drop(Detached::new(&self.tasks, async move {
                running.end_at_once(&mut *writer, ending).await;
                drop(live);
            }));
        }
        self.registry.lock().remove(&self.running.id);
    }
}
