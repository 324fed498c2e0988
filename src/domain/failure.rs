//! Why a generation failed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::RequestId;

/// Why a generation failed: the content of a `failed` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: FailureCode,
    /// The service's own text: what happened, then what to do.
    pub detail: String,
    /// Whether the same request may succeed later; `None` for the code's default.
    pub remedy: Option<Remedy>,
    /// The time after which a retry may succeed, if the upstream or a limit states one.
    pub retry_after: Option<Duration>,
    /// The request that started the generation. Stored, so that a replay has the same bytes.
    pub request_id: RequestId,
    /// The upstream's own error, if the caller can act on it.
    pub upstream: Option<Box<UpstreamWords>>,
}

/// Whether the same request may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Remedy {
    /// Only if it is changed.
    Change,
    /// Unchanged, after a while.
    Wait,
}

/// The part of an upstream's error that the caller receives, with secrets and addresses masked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UpstreamWords {
    /// The HTTP status, if the upstream refused the request.
    pub status: Option<u16>,
    /// The provider's own error type, such as `invalid_request_error`.
    pub kind: Option<String>,
    /// The provider's own error code, such as `context_length_exceeded`.
    pub code: Option<String>,
    /// The field of the request that is wrong.
    pub param: Option<String>,
    pub message: Option<String>,
}

/// Every way in which a running generation can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The upstream could not be connected to.
    UpstreamUnreachable,
    /// The upstream refused the service's credentials.
    UpstreamAuth,
    /// The upstream is rate limiting the service.
    UpstreamRateLimited,
    /// The upstream is overloaded.
    UpstreamOverloaded,
    /// The upstream does not have the model.
    ModelNotFound,
    /// The upstream refused the request as invalid.
    UpstreamRejected,
    /// The upstream has no chat API at its configured address, or rejects the configured limits.
    UpstreamMisconfigured,
    /// The upstream reported another error.
    UpstreamError,
    /// The answer ended normally but has no content.
    UpstreamEmpty,
    /// No progress within the upstream's time limits.
    UpstreamTimeout,
    /// The answer broke off before its end.
    UpstreamDisconnected,
    /// The upstream sent something that is not a chat completion.
    UpstreamMalformed,
    /// No slot became free in time.
    TooManyGenerations,
    /// `generation.max_duration` passed.
    DeadlineExceeded,
    /// The answer is larger than `generation.max_bytes`.
    TooLarge,
    /// The event log is full.
    Overloaded,
    /// The service is shutting down.
    ShuttingDown,
    /// The process that ran the generation is lost.
    ReplicaLost,
    /// A defect of the service.
    #[serde(other)]
    Internal,
}

impl FailureCode {
    /// Returns the code as written in JSON, logs and metrics.
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
            Self::ReplicaLost => "replica_lost",
            Self::Internal => "internal",
        }
    }
}
