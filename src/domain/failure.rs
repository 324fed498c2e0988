//! Why a generation failed.

use std::time::Duration;

use super::RequestId;

/// An ending that is nobody's wish: what a `failed` event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: FailureCode,
    /// One sentence of ours that tells the caller what to do. Never the upstream's text.
    pub detail: String,
    /// When trying again may help, where somebody said so.
    pub retry_after: Option<Duration>,
    /// The request that started the generation, so that a replay says the same bytes.
    pub request_id: RequestId,
}

/// The closed list of ways in which a running generation can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// No connection to the upstream.
    UpstreamUnreachable,
    /// The upstream refused our credentials.
    UpstreamAuth,
    /// The upstream is limiting us.
    UpstreamRateLimited,
    /// The upstream has too much to do.
    UpstreamOverloaded,
    /// The upstream does not have the model.
    ModelNotFound,
    /// The upstream refused the request as invalid.
    UpstreamRejected,
    /// The upstream reported an error of its own.
    UpstreamError,
    /// No progress within the upstream's time limits.
    UpstreamTimeout,
    /// The answer broke off: neither a finish reason nor `[DONE]` came.
    UpstreamDisconnected,
    /// The upstream sent what is not a stream of chat completion chunks.
    UpstreamMalformed,
    /// No place to run came free in time.
    TooManyGenerations,
    /// `generation.max_duration` passed.
    DeadlineExceeded,
    /// The answer is larger than `generation.max_bytes`.
    TooLarge,
    /// The event log is full.
    Overloaded,
    /// The service is stopping.
    ShuttingDown,
    /// A defect of ours.
    Internal,
}
