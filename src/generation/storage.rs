//! How long a generation's record is kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use crate::domain::{GenerationId, Lookup};
use crate::event_log::EventLog;

/// What happens to the record of an ended generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Storage {
    /// It is kept for the retention.
    #[default]
    Kept,
    /// It is dropped when the last viewer has left after the end. An `Idempotency-Key` stays used for the retention: a
    /// repeat must not be billed again.
    UntilRead,
}

/// The records that are dropped with their last holder.
#[derive(Clone)]
pub struct Unkept(Arc<SharedRecords>);

struct SharedRecords {
    log: Arc<dyn EventLog>,
    tasks: TaskTracker,
    records: Mutex<Lookup<GenerationId, Weak<Record>>>,
}

/// Held by a generation's task and by each of its viewers. The record is removed with the last of them.
pub struct Record {
    generation: GenerationId,
    shared: Arc<SharedRecords>,
}

impl Unkept {
    pub fn new(log: Arc<dyn EventLog>, tasks: TaskTracker) -> Self {
        Self(Arc::new(SharedRecords { log, tasks, records: Mutex::default() }))
    }

    /// Makes the record one that is removed with its last holder.
    pub fn hold(&self, generation: GenerationId) -> Arc<Record> {
        let record = Arc::new(Record { generation, shared: Arc::clone(&self.0) });
        self.0.lock().insert(generation, Arc::downgrade(&record));
        record
    }

    /// Returns the record for a viewer that joins later, also after the end. `None` if the record is kept for the
    /// retention, or is being removed.
    pub fn held(&self, generation: GenerationId) -> Option<Arc<Record>> {
        self.0.lock().get(&generation).and_then(Weak::upgrade)
    }
}

impl SharedRecords {
    fn lock(&self) -> MutexGuard<'_, Lookup<GenerationId, Weak<Record>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (generation, log) = (self.generation, Arc::clone(&self.shared.log));
        self.shared.lock().remove(&generation);
        self.shared.tasks.spawn(async move { _ = log.discard(generation).await });
    }
}
