//! What a generation was started for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ending::FailedEnding;
use crate::domain::{Event, Failed, Failure, FailureCode, Principal, Remedy, RequestId, Timings, UpstreamWords, Usage};
use crate::upstream::Billed;

/// What a generation was started for.
#[derive(Debug)]
pub struct Subject {
    pub request_id: RequestId,
    pub principal: Principal,
    pub model: String,
    pub output_limit: Option<u64>,
    /// The number of choices that the request asked for.
    pub choices: usize,
    pub repeats: RepeatPolicy,
    pub source: PromptSource,
}

/// Whether a repeat of the request attaches to this generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RepeatPolicy {
    /// By its `Idempotency-Key`.
    Attach,
    StartNew,
}

/// Where the text that was sent to the model comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PromptSource {
    Caller,
    /// A stored prompt of the service, which messages of the upstream may quote.
    Service,
}

/// Advice for a failure that may have been billed: a repeat with the same key attaches to it.
const KEY_IS_KEPT: &str =
    "A repeat with this Idempotency-Key returns this failure. Send a new key to start a new generation.";

impl Subject {
    /// Returns the terminal event of a generation whose process is gone. Nothing is known of its usage.
    pub fn orphaned(&self) -> Event {
        let failure = self.failure(&FailedEnding::new(FailureCode::ReplicaLost), Billed::Maybe);
        Event::Failed(Arc::new(Failed { failure, usage: Some(Usage::default()), timings: Timings::default() }))
    }

    /// Returns the failure as the caller receives it.
    pub fn failure(&self, failed: &FailedEnding, billed: Billed) -> Failure {
        let is_kept = self.repeats == RepeatPolicy::Attach && billed == Billed::Maybe;
        let detail = failed.detail().to_owned();
        let hidden = |words: UpstreamWords| match self.source {
            PromptSource::Caller => words,
            PromptSource::Service => UpstreamWords { message: None, ..words },
        };
        Failure {
            code: failed.code,
            detail: if is_kept { format!("{detail} {KEY_IS_KEPT}") } else { detail },
            remedy: if is_kept { Some(Remedy::Change) } else { failed.remedy },
            retry_after: failed.retry_after,
            request_id: self.request_id,
            upstream: failed.upstream.clone().map(|words| Box::new(hidden(*words))),
        }
    }
}
