//! Why a generation failed.

use std::time::Duration;

use super::RequestId;

/// Why a generation failed: the content of a `failed` event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: FailureCode,
    /// One sentence of ours that says what to do.
    pub detail: String,
    /// Whether the same request may succeed later, where that differs from what is usual for the code.
    pub remedy: Option<Remedy>,
    /// When a retry may help, where the upstream or a limit said so.
    pub retry_after: Option<Duration>,
    /// The request that started the generation, so that a replay has the same bytes.
    pub request_id: RequestId,
    /// What the upstream said, where the caller can act on it.
    pub upstream: Option<Box<UpstreamWords>>,
}

/// Whether the same request may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Only if it is changed.
    Change,
    /// As it is, after a while.
    Wait,
}

/// The part of an upstream's error that passes to the caller, secrets and addresses masked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamWords {
    /// The HTTP status, where the error was a refusal of the request.
    pub status: Option<u16>,
    /// The provider's own kind, such as `invalid_request_error`.
    pub kind: Option<String>,
    /// The provider's own code, such as `context_length_exceeded`.
    pub code: Option<String>,
    /// The field of the request that is wrong.
    pub param: Option<String>,
    pub message: Option<String>,
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
    /// There is no model API at the upstream's address, or the upstream refuses what the settings demand.
    UpstreamMisconfigured,
    /// The upstream reported an error of its own.
    UpstreamError,
    /// The answer ended as if it were whole, and holds nothing.
    UpstreamEmpty,
    /// No progress within the upstream's time limits.
    UpstreamTimeout,
    /// The answer broke off before its end.
    UpstreamDisconnected,
    /// The upstream sent what is not a chat completion.
    UpstreamMalformed,
    /// No slot to run became free in time.
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

impl FailureCode {
    /// The code as it is in JSON, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamAuth => "upstream_auth",
            Self::UpstreamRateLimited => "upstream_rate_limited",
            Self::UpstreamOverloaded => "upstream_overloaded",
            Self::ModelNotFound => "model_not_found",
            Self::UpstreamRejected => "upstream_rejected",
            Self::UpstreamMisconfigured => "upstream_misconfigured",
            Self::UpstreamError => "upstream_error",
            Self::UpstreamEmpty => "upstream_empty",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamDisconnected => "upstream_disconnected",
            Self::UpstreamMalformed => "upstream_malformed",
            Self::TooManyGenerations => "too_many_generations",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::TooLarge => "too_large",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting_down",
            Self::Internal => "internal",
        }
    }
}
