//! Where a request may be sent again after a failure.

use super::{AttemptError, AttemptErrorKind, Billed};

/// The targets that may get a request after an attempt failed before its first token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAttempt {
    AnyTarget,
    /// The same target would refuse the request again, or charge for it twice.
    OtherTarget,
    /// The request is at fault.
    None,
}

impl NextAttempt {
    pub fn after(error: &AttemptError) -> Self {
        match &error.kind {
            AttemptErrorKind::Reported(report) if report.is_request_fault() => Self::None,
            // The operator's limit is at fault, or the dialect of the target, not the request.
            AttemptErrorKind::LimitRefused { .. } | AttemptErrorKind::Unsupported(_) => Self::OtherTarget,
            AttemptErrorKind::Refused { status, .. } => Self::after_refusal(*status),
            _ if error.billed() == Billed::No => Self::AnyTarget,
            _ => Self::OtherTarget,
        }
    }

    const fn after_refusal(status: u16) -> Self {
        match status {
            408 | 409 | 500 | 503 | 529 => Self::AnyTarget,
            // Credentials, quota, rate, or an upstream without this model.
            401..=404 | 429 => Self::OtherTarget,
            400..=499 => Self::None,
            // A gateway's 502 or 504 does not show that the server behind it did nothing.
            _ => Self::OtherTarget,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ErrorReport, Phase, Sent};
    use super::*;

    #[test]
    fn next_attempt_depends_on_the_error_and_on_what_was_sent() {
        let refused = |status| AttemptErrorKind::Refused { status, retry_after: None, report: None };
        let reported = |code: &str| {
            let code = Some(code.to_owned());
            AttemptErrorKind::Reported(Box::new(ErrorReport { code, ..ErrorReport::default() }))
        };
        let disconnected = || AttemptErrorKind::Disconnected { cause: "connection reset".into() };
        for (kind, sent, next) in [
            (AttemptErrorKind::Unreachable { cause: "connection refused".into() }, Sent::No, NextAttempt::AnyTarget),
            (AttemptErrorKind::Timeout(Phase::Connect), Sent::No, NextAttempt::AnyTarget),
            (AttemptErrorKind::Timeout(Phase::Head), Sent::Maybe, NextAttempt::OtherTarget),
            (disconnected(), Sent::Maybe, NextAttempt::OtherTarget),
            (disconnected(), Sent::Yes, NextAttempt::OtherTarget),
            (AttemptErrorKind::Empty, Sent::Yes, NextAttempt::OtherTarget),
            (AttemptErrorKind::LimitRefused { status: 400, report: None }, Sent::Yes, NextAttempt::OtherTarget),
            (AttemptErrorKind::Unsupported(Box::default()), Sent::No, NextAttempt::OtherTarget),
            (reported("server_error"), Sent::Yes, NextAttempt::OtherTarget),
            (reported("context_length_exceeded"), Sent::Yes, NextAttempt::None),
            (refused(307), Sent::Yes, NextAttempt::OtherTarget),
            (refused(400), Sent::Yes, NextAttempt::None),
            (refused(401), Sent::Yes, NextAttempt::OtherTarget),
            (refused(404), Sent::Yes, NextAttempt::OtherTarget),
            (refused(413), Sent::Yes, NextAttempt::None),
            (refused(422), Sent::Yes, NextAttempt::None),
            (refused(429), Sent::Yes, NextAttempt::OtherTarget),
            (refused(500), Sent::Yes, NextAttempt::AnyTarget),
            (refused(502), Sent::Yes, NextAttempt::OtherTarget),
            (refused(503), Sent::Yes, NextAttempt::AnyTarget),
            (refused(504), Sent::Yes, NextAttempt::OtherTarget),
            (refused(529), Sent::Yes, NextAttempt::AnyTarget),
        ] {
            let error = AttemptError::new(kind, sent);
            assert_eq!(NextAttempt::after(&error), next, "{error:?}");
        }
    }
}
