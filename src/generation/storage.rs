//! How long a generation's record is kept.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::domain::GenerationId;
use crate::event_log::EventLog;

/// What becomes of the record of an ended generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// It is kept for the retention.
    #[default]
    Kept,
    /// It is dropped when the last viewer has left.
    UntilRead,
}

/// Held by a generation's task and by each of its viewers; with the last of them goes the record.
pub struct Unstored {
    pub generation: GenerationId,
    pub log: Arc<dyn EventLog>,
    pub tasks: TaskTracker,
}

impl Drop for Unstored {
    fn drop(&mut self) {
        let (generation, log) = (self.generation, Arc::clone(&self.log));
        self.tasks.spawn(async move { log.remove(generation).await });
    }
}
