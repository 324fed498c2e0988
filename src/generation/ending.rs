//! The reasons why a generation ends, and the advice in the error that its caller receives.

use std::time::Duration;

use super::attempt_failure::AttemptFailure;
use crate::domain::{CancelReason, FailureCode, Remedy, Trailer, UpstreamWords};
use crate::telemetry::Outcome;

/// Why a generation ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    Done { trailer: Trailer },
    Cancelled(CancelReason),
    Failed(Box<FailedEnding>),
}

/// Why a generation failed, as far as its task knows.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedEnding {
    pub code: FailureCode,
    pub remedy: Option<Remedy>,
    pub retry_after: Option<Duration>,
    pub upstream: Option<Box<UpstreamWords>>,
}

impl Ending {
    /// Returns an ending that is not an upstream's fault.
    pub fn failed(code: FailureCode) -> Self {
        Self::Failed(Box::new(FailedEnding::new(code)))
    }

    /// Returns the ending after a failed attempt.
    pub fn of_attempt(failure: AttemptFailure) -> Self {
        let AttemptFailure { code, remedy, retry_after, words } = failure;
        Self::Failed(Box::new(FailedEnding { code, remedy, retry_after, upstream: words }))
    }

    pub const fn code(&self) -> Option<FailureCode> {
        match self {
            Self::Failed(failed) => Some(failed.code),
            Self::Done { .. } | Self::Cancelled(_) => None,
        }
    }

    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Done { .. } => Outcome::Done,
            Self::Cancelled(_) => Outcome::Cancelled,
            Self::Failed(_) => Outcome::Failed,
        }
    }
}

impl FailedEnding {
    /// Creates an ending that is not an upstream's fault.
    pub fn new(code: FailureCode) -> Self {
        let retry_after = (code == FailureCode::TooManyGenerations).then_some(Duration::from_secs(5));
        Self { code, remedy: None, retry_after, upstream: None }
    }

    /// Returns the text for the caller: what happened, then what to do.
    pub const fn detail(&self) -> &'static str {
        match self.code {
            FailureCode::UpstreamUnreachable => "The model's server could not be reached. Try again later.",
            FailureCode::UpstreamAuth => {
                "The model's server refused this service's credentials. The operator must correct them."
            }
            FailureCode::UpstreamRateLimited if matches!(self.remedy, Some(Remedy::Change)) => {
                "This service has used up its quota at the model's server. The operator must raise it."
            }
            FailureCode::UpstreamRateLimited => "The model's server is limiting this service. Try again later.",
            FailureCode::UpstreamOverloaded => "The model's server is overloaded. Try again later.",
            FailureCode::ModelNotFound => {
                "The model's server does not have this model. Choose one that GET /v1/models lists."
            }
            FailureCode::UpstreamRejected => {
                "The model's server rejected the request. Change it as the error in `upstream` describes."
            }
            FailureCode::UpstreamMisconfigured => {
                "The model's server has no chat API at its configured address, or rejects the configured limits. The \
                 operator should check base_url."
            }
            FailureCode::UpstreamError => "The model's server reported an error. Try again.",
            FailureCode::UpstreamEmpty => "The model's server ended its answer without any content. Try again.",
            FailureCode::UpstreamTimeout => "The model's server was silent for too long. Try again.",
            FailureCode::UpstreamDisconnected => "The model's answer broke off. It is incomplete. Try again.",
            FailureCode::UpstreamMalformed => {
                "The model's server sent something that is not a chat completion. The answer is incomplete."
            }
            FailureCode::TooManyGenerations => {
                "No slot for this generation became free for as long as it could wait. Try again later."
            }
            FailureCode::DeadlineExceeded => "The answer took longer than this service allows. It is incomplete.",
            FailureCode::TooLarge => "The answer is larger than this service keeps. It is incomplete.",
            FailureCode::Overloaded => "This service is out of memory for answers. Try again later.",
            FailureCode::ShuttingDown => "This service is restarting. The answer is incomplete. Try again.",
            FailureCode::ReplicaLost => {
                "The replica that ran this generation is lost. The answer is incomplete. Try again."
            }
            FailureCode::Internal => "This service has a defect. Report the request id to its operator.",
        }
    }
}
