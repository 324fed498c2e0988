//! What a generation was started for.

use crate::domain::{Principal, RequestId};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepeatPolicy {
    /// By its `Idempotency-Key`.
    Attach,
    StartNew,
}

/// Where the text that was sent to the model comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptSource {
    Caller,
    /// A stored prompt of the service, which messages of the upstream may quote.
    Service,
}
