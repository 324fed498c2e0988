//! Why an attempt failed, and whether it may have been billed.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::error_report::ErrorReport;
use super::sse::EventTooLargeError;

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct AttemptError {
    pub kind: AttemptErrorKind,
    /// For an attempt that sent several requests: of the last one, because the upstream refused the others.
    pub sent: Sent,
}

/// Why an attempt failed. The adapter masks all texts of the upstream (`mask.rs`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttemptErrorKind {
    /// `cause` is a phrase for operators, such as "connection refused" or "no such host".
    #[error("no connection to the upstream: {cause}")]
    Unreachable { cause: Cow<'static, str> },
    /// `report` is absent if the body is not an error in JSON.
    #[error("the upstream refused the request with status {status}")]
    Refused { status: u16, retry_after: Option<Duration>, report: Option<Box<ErrorReport>> },
    #[error("the upstream reported an error in its answer")]
    Reported(Box<ErrorReport>),
    #[error("the upstream timed out while {0}")]
    Timeout(Phase),
    /// `cause` is a phrase for operators, such as "connection reset" or "closed before a response".
    #[error("the upstream's answer was interrupted: {cause}")]
    Disconnected { cause: Cow<'static, str> },
    #[error("the upstream's answer is malformed: {0}")]
    Malformed(MalformedResponseError),
    /// The answer ended normally without content or finish reason.
    #[error("the upstream's answer is empty")]
    Empty,
    /// The answer arrives whole, and no memory is left for it.
    #[error("no memory is left for the upstream's answer")]
    NoRoom,
    /// The upstream refused the output limit under each of its names.
    #[error("the upstream refused every name of the output limit")]
    LimitRefused { status: u16, report: Option<Box<ErrorReport>> },
    /// The upstream's dialect cannot carry a field of the request, which `report` names. Nothing was sent.
    #[error("the upstream's dialect cannot carry the request")]
    Unsupported(Box<ErrorReport>),
}

/// Whether an upstream received a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// No byte of it was written, or the upstream reported that it did not process it.
    No,
    /// Some of it may have been written, and no byte of a response arrived.
    Maybe,
    /// The upstream began to respond.
    Yes,
}

/// Whether the upstream may charge for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billed {
    /// The request was not sent, or was refused with a status.
    No,
    Maybe,
}

/// The step that timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Connect,
    /// The response headers.
    Head,
    /// The first text, reasoning or tool call. Other bytes do not count as progress.
    FirstToken,
    NextToken,
}

/// Why the bytes of an upstream cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedResponseError {
    #[error("not an event stream")]
    ContentType,
    #[error("an event larger than the limit")]
    EventTooLarge,
    #[error("not UTF-8")]
    Encoding,
    #[error("not a chat completion chunk")]
    Chunk,
    #[error("not a list of models")]
    Models,
    #[error("not a list of embeddings")]
    Embeddings,
}

impl AttemptError {
    pub const fn new(kind: AttemptErrorKind, sent: Sent) -> Self {
        Self { kind, sent }
    }

    /// Returns an error of an upstream that had begun to respond.
    pub const fn in_response(kind: AttemptErrorKind) -> Self {
        Self::new(kind, Sent::Yes)
    }

    /// Returns whether the upstream may charge for the attempt.
    pub const fn billed(&self) -> Billed {
        match (&self.kind, self.sent) {
            (_, Sent::No) | (AttemptErrorKind::Refused { .. } | AttemptErrorKind::LimitRefused { .. }, _) => Billed::No,
            (_, Sent::Maybe | Sent::Yes) => Billed::Maybe,
        }
    }

    /// Returns the status of a refusal.
    pub const fn status(&self) -> Option<u16> {
        match &self.kind {
            AttemptErrorKind::Refused { status, .. } | AttemptErrorKind::LimitRefused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns how long the upstream asks to wait before a retry.
    pub const fn retry_after(&self) -> Option<Duration> {
        match &self.kind {
            AttemptErrorKind::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns the error that the upstream sent.
    pub fn report(&self) -> Option<&ErrorReport> {
        match &self.kind {
            AttemptErrorKind::Refused { report, .. } | AttemptErrorKind::LimitRefused { report, .. } => {
                report.as_deref()
            }
            AttemptErrorKind::Reported(report) | AttemptErrorKind::Unsupported(report) => Some(report),
            _ => None,
        }
    }
}

impl From<EventTooLargeError> for AttemptErrorKind {
    fn from(_: EventTooLargeError) -> Self {
        Self::Malformed(MalformedResponseError::EventTooLarge)
    }
}

impl From<Sent> for Billed {
    /// For an attempt that was dropped: no refusal of its last request is known.
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::No => Self::No,
            Sent::Maybe | Sent::Yes => Self::Maybe,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Head => "waiting for the response headers",
            Self::FirstToken => "waiting for the first token",
            Self::NextToken => "waiting for the next token",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempt_is_billed_unless_it_was_not_sent_or_was_refused() {
        let refused = || AttemptErrorKind::Refused { status: 503, retry_after: None, report: None };
        let limit_refused = || AttemptErrorKind::LimitRefused { status: 400, report: None };
        let disconnected = || AttemptErrorKind::Disconnected { cause: "closed before a response".into() };
        for (kind, sent, billed) in [
            (AttemptErrorKind::Unreachable { cause: "connection refused".into() }, Sent::No, Billed::No),
            (AttemptErrorKind::Timeout(Phase::Connect), Sent::No, Billed::No),
            (AttemptErrorKind::Timeout(Phase::Head), Sent::No, Billed::No),
            (AttemptErrorKind::Timeout(Phase::Head), Sent::Maybe, Billed::Maybe),
            (AttemptErrorKind::Timeout(Phase::FirstToken), Sent::Yes, Billed::Maybe),
            (disconnected(), Sent::Maybe, Billed::Maybe),
            (disconnected(), Sent::Yes, Billed::Maybe),
            (refused(), Sent::Yes, Billed::No),
            (limit_refused(), Sent::Yes, Billed::No),
            (AttemptErrorKind::Reported(Box::default()), Sent::Yes, Billed::Maybe),
            (AttemptErrorKind::Malformed(MalformedResponseError::Chunk), Sent::Yes, Billed::Maybe),
            (AttemptErrorKind::Empty, Sent::Yes, Billed::Maybe),
            (AttemptErrorKind::Unsupported(Box::default()), Sent::No, Billed::No),
        ] {
            let error = AttemptError::new(kind, sent);
            assert_eq!(error.billed(), billed, "{error:?}");
        }
    }
}
