//! The port that counts the viewers of a generation in all processes.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::LogUnavailable;
use crate::domain::GenerationId;

/// The viewers of all generations (contract 12).
pub trait ViewerPresence: Send + Sync {
    /// Adds a viewer.
    fn join(&self, generation: GenerationId) -> BoxFuture<'static, Result<ViewerLease, GenerationEnded>>;

    /// The owner's side: resolves when the generation had no viewer for `grace`. In the same step it shuts the log to
    /// viewers.
    fn shut_when_empty(&self, generation: GenerationId, grace: Duration) -> BoxFuture<'static, ()>;

    /// Shuts the log to viewers if it has none now. Returns whether it is shut.
    fn shut_if_empty(&self, generation: GenerationId) -> BoxFuture<'static, Result<bool, LogUnavailable>>;
}

/// One viewer. Dropping it removes the viewer, at once or, behind a network, by a task of the backend.
pub struct ViewerLease(#[expect(dead_code, reason = "only its drop has an effect")] Box<dyn Any + Send + Sync>);

impl ViewerLease {
    /// Creates a lease that ends when `guard` is dropped.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl fmt::Debug for ViewerLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ViewerLease")
    }
}

/// The generation has ended, or is being ended because it had no viewer: its terminal event is or will be in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the generation has ended")]
pub struct GenerationEnded;
