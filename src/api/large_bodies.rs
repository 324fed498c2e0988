//! Parsing of large request bodies, outside the runtime threads that serve streams.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::problem::{ErrorCode, Problem};

/// Limits how many large bodies are parsed at the same time. Clones share the limit.
///
/// Parsing takes up to 15 ms per MiB. On a runtime thread it would delay all streams of that thread.
#[derive(Clone)]
pub struct LargeBodies(Arc<Semaphore>);

/// A body of this size is parsed within a few milliseconds. Moving it to another thread costs more under load.
const LARGE: usize = 256 << 10;
/// Large bodies that are parsed at the same time. Others wait.
const SLOTS: usize = 2;

pub const fn is_large(bytes: usize) -> bool {
    bytes > LARGE
}

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SLOTS)))
    }
}

impl LargeBodies {
    /// Runs work whose cost grows with `bytes`, on a blocking thread if the body is large.
    ///
    /// Cancellation: work on a blocking thread that has begun is completed, and its result is dropped.
    pub async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        if !is_large(bytes) {
            return work();
        }
        let defect =
            || Problem::new(ErrorCode::Internal, "This service has a defect. Report the request id to its operator.");
        let slot = Arc::clone(&self.0).acquire_owned().await.map_err(|_| defect())?;
        let working = spawn_blocking(move || {
            let _slot = slot;
            work()
        });
        working.await.map_err(|_| defect())?
    }
}
