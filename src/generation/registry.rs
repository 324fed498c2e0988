//! The generations that run in this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use super::ending::Ending;
use super::running::Running;
use crate::domain::{FailureCode, GenerationId, Lookup};
use crate::event_log::{Log, TailState};
use crate::telemetry::Gauge;

/// Every generation from before its log is made until its task has ended.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Lookup<GenerationId, Live>>>);

struct Live {
    running: Arc<Running>,
    task: Option<AbortHandle>,
}

impl Registry {
    /// Before the log is made: whoever finds the log finds its audience too.
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

    /// Asks all tasks to end their generations.
    pub fn ask_all(&self, ending: &Ending) {
        for live in self.lock().values() {
            live.running.ask(ending.clone());
        }
    }

    /// Lets the task be dropped by [`Registry::abort_all`]. One that has ended already is not there.
    pub fn note_task(&self, id: GenerationId, task: AbortHandle) {
        if let Some(live) = self.lock().get_mut(&id) {
            live.task = Some(task);
        }
    }

    /// Drops all tasks where they are. Their generations end with that.
    pub fn abort_all(&self) {
        for task in self.lock().values().filter_map(|live| live.task.as_ref()) {
            task.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lookup<GenerationId, Live>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A generation's place among those that run, held by whoever carries it: at last by its task. Dropped
/// before the generation has ended, it ends it.
pub struct Registration {
    registry: Registry,
    running: Arc<Running>,
    begun: Option<(Arc<dyn Log>, Gauge)>,
}

impl Registration {
    /// From here on the generation is there, and must end.
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
