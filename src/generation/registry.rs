//! The generations that run in this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use super::ending::Ending;
use super::running::Running;
use crate::domain::{FailureCode, GenerationId, Lookup};
use crate::event_log::{Log, TailState};
use crate::telemetry::Gauge;

/// Every generation, from before its log is made until its task has ended.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Lookup<GenerationId, Live>>>);

struct Live {
    running: Arc<Running>,
    task: Option<AbortHandle>,
}

impl Registry {
    /// Must be called before the log is made, so that a request that finds the log also finds its audience.
    pub fn register(&self, running: Arc<Running>) -> Registration {
        self.lock().insert(running.id, Live { running: Arc::clone(&running), task: None });
        Registration { registry: self.clone(), running, begun: None }
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
    begun: Option<(Arc<dyn Log>, Gauge)>,
}

impl Registration {
    /// Records that the generation's log exists: from now on dropping this must close it.
    pub fn begin(&mut self, log: Arc<dyn Log>, live: Gauge) {
        self.begun = Some((log, live));
    }

    pub const fn running(&self) -> &Arc<Running> {
        &self.running
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let begun = self.begun.take();
        if let Some((log, _live)) = &begun
            && log.tail().get().state == TailState::Open
        {
            self.running.end_at_once(log, Ending::failed(FailureCode::Internal));
        }
        self.registry.lock().remove(&self.running.id);
    }
}
