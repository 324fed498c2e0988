//! Work on large request bodies, beside the threads that carry streams.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::problem::{ErrorCode, Problem};

/// Where the bodies of requests are parsed. Clones share it.
///
/// Parsing takes up to 15 ms for each MiB: on a runtime thread all its streams would wait for it.
#[derive(Clone)]
pub struct LargeBodies(Arc<Semaphore>);

/// A body of this size is parsed within a few milliseconds, which is less than a thread costs under load.
const LARGE: usize = 256 << 10;
/// Large bodies that are parsed at the same time; others wait.
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
    /// Does work in proportion to a body of so many bytes.
    ///
    /// Cancellation: once it has begun, the work is done to its end, and its result dropped.
    pub async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        if !is_large(bytes) {
            return work();
        }
        let defect = || Problem::new(ErrorCode::Internal, "This service has a defect. Report the request id.");
        let slot = Arc::clone(&self.0).acquire_owned().await.map_err(|_| defect())?;
        let working = spawn_blocking(move || {
            let _slot = slot;
            work()
        });
        working.await.map_err(|_| defect())?
    }
}
