//! Embeddings: the port, and the loop that makes the attempts of a request.
//!
//! An answer arrives whole, so an attempt fails or succeeds at once: no hedge, and nothing to withdraw. Targets, keys,
//! breakers, waits and fallbacks are those of chats (`course.rs`).

use std::sync::Arc;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::course::{Course, CourseStep};
use super::plan::Plan;
use super::policy::FailureVerdict;
use super::{AttemptError, AttemptErrorKind, AttemptObserver, Delivery, Sent, SentMark};
use crate::domain::{EmbeddingRequest, UsageReport};

/// An answer with embeddings.
pub struct Embeddings {
    /// The upstream's JSON, byte for byte.
    pub json: Vec<u8>,
    /// What the upstream reports as used.
    pub usage: UsageReport,
}

/// Reserves memory for an answer while it is read.
pub trait AnswerRoom: Send + Sync {
    /// Grows the reservation to `bytes`; returns an error if there is no room, and the answer must not grow.
    fn grow_to(&self, bytes: usize) -> Result<(), NoRoomError>;
}

/// No memory is left for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory is left for the answer")]
pub struct NoRoomError;

/// Parameters of one attempt.
#[derive(Clone)]
pub struct EmbeddingTerms {
    /// The name of the model that is sent to the upstream.
    pub model: Arc<str>,
    /// Set by the provider as soon as the first byte of a request may have been written.
    pub sent: SentMark,
    pub room: Arc<dyn AnswerRoom>,
}

/// The largest answer: 2,048 vectors of 3,072 numbers in decimal digits have about 70 MB, and in base64 half of that.
pub const LARGEST_EMBEDDINGS: usize = 96 << 20;

/// Makes attempts at the targets of the plan until one answers, or none may follow. No attempt but the first begins after
/// `deadline`.
///
/// Cancel safe: dropping the future cancels the current attempt and starts none.
pub async fn embed(
    plan: Plan,
    request: &Arc<EmbeddingRequest>,
    room: &Arc<dyn AnswerRoom>,
    deadline: Instant,
    observer: &impl AttemptObserver,
) -> Result<Embeddings, AttemptError> {
    let mut course = Course::new(plan, deadline, Instant::now());
    let mut last = None;
    loop {
        let attempt = match course.next(Instant::now()) {
            CourseStep::Attempt(attempt) => attempt,
            CourseStep::Wait(time) => {
                sleep_until(time).await;
                continue;
            }
            CourseStep::End => return Err(last.unwrap_or_else(not_made)),
        };
        let (model, sent) = (Arc::clone(attempt.target.model()), SentMark::default());
        observer.attempt_began(attempt.number, &attempt.target, &sent, attempt.reason);
        let terms = EmbeddingTerms { model, sent, room: Arc::clone(room) };
        match attempt.target.embed(attempt.key, request, terms).await {
            Ok(embeddings) => {
                course.commit(attempt).record_first_token(Delivery::Whole);
                return Ok(embeddings);
            }
            Err(error) => {
                observer.attempt_failed(attempt.number, &error);
                course.record_failure(attempt, &FailureVerdict::of(&error), Instant::now());
                last = Some(error);
            }
        }
        // A deadline that is due must be seen by the caller of this future before the next attempt begins.
        yield_now().await;
    }
}

/// For a plan without a target, which no router makes.
fn not_made() -> AttemptError {
    AttemptError::new(AttemptErrorKind::Unreachable { cause: "no target".into() }, Sent::No)
}
