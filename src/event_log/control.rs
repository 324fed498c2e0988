//! The port through which any process asks the owner of a generation to end it.

use futures_util::future::BoxFuture;

use super::LogUnavailable;
use crate::domain::{CancelReason, GenerationId};

/// Requests to end generations (contract 11).
pub trait Control: Send + Sync {
    /// Asks the owner to end the generation. Resolves when the request is stored, which is before the generation ends.
    fn request_end(
        &self,
        generation: GenerationId,
        reason: CancelReason,
    ) -> BoxFuture<'static, Result<(), LogUnavailable>>;

    /// The owner's side: resolves with the first request to end the generation.
    fn end_requested(&self, generation: GenerationId) -> BoxFuture<'static, CancelReason>;
}
