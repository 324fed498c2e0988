//! What follows a failure before the first token.

use std::time::Duration;

use super::super::{AttemptError, AttemptErrorKind, Billed, ErrorReport, Phase};
use crate::domain::FallbackClass;

/// What an error means for the request, for other requests, and for the breakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureVerdict {
    pub next: NextStep,
    /// What other requests must leave alone, and for how long.
    pub rest: Option<(Resting, Duration)>,
    pub health: AttemptHealth,
}

/// Where the request may be sent next. Each step also permits those after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// To the same target with the same key, after a backoff, or after the wait that the upstream asks for.
    SameKey { wait: Option<Duration> },
    /// With another key at once; with the same key after the wait, if there is nothing else to ask.
    OtherKey { wait: Duration },
    /// With another key. The same key would be refused again.
    OtherKeyOnly,
    /// To another target. The same target would refuse the request again, or charge for it twice.
    OtherTarget,
    /// To another target only if the settings say so (`models.*.fallback_on`).
    OtherTargetIf(FallbackClass),
}

/// What rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resting {
    Key,
    /// The key for this model: providers limit the rate of each model.
    KeyForModel,
    /// The model on this upstream.
    Target,
}

/// What an attempt shows of its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptHealth {
    Success,
    /// The upstream could not be reached, whatever the model.
    NoConnection,
    Failure,
    /// It responded, but not about its health: a rate limit, or wrong credentials.
    Responded,
    /// Nothing.
    Unknown,
}

/// The rest of a key whose credentials were refused.
const REFUSED_KEY: Duration = Duration::from_mins(5);
/// The rest of a key whose quota is used up, unless the upstream names a time.
const EMPTY_QUOTA: Duration = Duration::from_hours(1);
/// The rest of a key above its rate, unless the upstream names a time.
const ABOVE_RATE: Duration = Duration::from_secs(1);
/// The rest of a model that an upstream does not have.
const NO_MODEL: Duration = Duration::from_mins(1);

/// The codes and types of a 429 about money, which a retry does not change.
const QUOTA_WORDS: [&str; 7] = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "enforced_spend_limit_reached",
    "billing_error",
];

impl FailureVerdict {
    pub fn of(error: &AttemptError) -> Self {
        match &error.kind {
            AttemptErrorKind::Unreachable { .. } | AttemptErrorKind::Timeout(Phase::Connect) => {
                Self::new(NextStep::SameKey { wait: None }, AttemptHealth::NoConnection)
            }
            AttemptErrorKind::Refused { status, retry_after, report } => {
                Self::of_refusal(*status, *retry_after, report.as_deref())
            }
            AttemptErrorKind::Reported(report) if report.is_request_fault() => Self::of_request(Some(report)),
            AttemptErrorKind::Reported(report) if is_about_money(report) => Self::of_money(None),
            AttemptErrorKind::Reported(_) => Self::new(NextStep::SameKey { wait: None }, AttemptHealth::Failure),
            // Another target's answer would have no room either.
            AttemptErrorKind::NoRoom => Self::of_request(None),
            // The operator's limit is at fault.
            AttemptErrorKind::LimitRefused { .. } => Self::new(NextStep::OtherTarget, AttemptHealth::Success),
            // Only the dialect of this target cannot say it, and nothing was sent.
            AttemptErrorKind::Unsupported(_) => Self::new(NextStep::OtherTarget, AttemptHealth::Unknown),
            AttemptErrorKind::Disconnected { .. } if error.billed() == Billed::No => {
                Self::new(NextStep::SameKey { wait: None }, AttemptHealth::Failure)
            }
            AttemptErrorKind::Timeout(_)
            | AttemptErrorKind::Disconnected { .. }
            | AttemptErrorKind::Malformed(_)
            | AttemptErrorKind::Empty => Self::new(NextStep::OtherTarget, AttemptHealth::Failure),
        }
    }

    fn of_refusal(status: u16, retry_after: Option<Duration>, report: Option<&ErrorReport>) -> Self {
        match status {
            402 => Self::of_money(retry_after),
            _ if report.is_some_and(is_about_money) => Self::of_money(retry_after),
            429 => {
                let wait = retry_after.unwrap_or(ABOVE_RATE);
                Self::new(NextStep::OtherKey { wait }, AttemptHealth::Responded).with_rest(Resting::KeyForModel, wait)
            }
            401 | 403 => {
                Self::new(NextStep::OtherKeyOnly, AttemptHealth::Responded).with_rest(Resting::Key, REFUSED_KEY)
            }
            404 => Self::new(NextStep::OtherTarget, AttemptHealth::Responded).with_rest(Resting::Target, NO_MODEL),
            503 | 529 => {
                let verdict = Self::new(NextStep::SameKey { wait: retry_after }, AttemptHealth::Failure);
                retry_after.map_or(verdict, |wait| verdict.with_rest(Resting::Target, wait))
            }
            408 | 409 | 500 => Self::new(NextStep::SameKey { wait: retry_after }, AttemptHealth::Failure),
            400..=499 => Self::of_request(report),
            // A gateway's 502 or 504 does not show that the server behind it did nothing.
            _ => Self::new(NextStep::OtherTarget, AttemptHealth::Failure),
        }
    }

    fn of_request(report: Option<&ErrorReport>) -> Self {
        let has = |word: &str| report.is_some_and(|report| report.code.as_deref() == Some(word));
        let class = if has("context_length_exceeded") {
            FallbackClass::ContextLength
        } else if has("content_filter") {
            FallbackClass::ContentFilter
        } else {
            FallbackClass::Rejected
        };
        Self::new(NextStep::OtherTargetIf(class), AttemptHealth::Success)
    }

    fn of_money(wait: Option<Duration>) -> Self {
        Self::new(NextStep::OtherKeyOnly, AttemptHealth::Responded).with_rest(Resting::Key, wait.unwrap_or(EMPTY_QUOTA))
    }

    const fn new(next: NextStep, health: AttemptHealth) -> Self {
        Self { next, rest: None, health }
    }

    const fn with_rest(self, what: Resting, wait: Duration) -> Self {
        Self { rest: Some((what, wait)), ..self }
    }
}

fn is_about_money(report: &ErrorReport) -> bool {
    [&report.code, &report.kind].into_iter().flatten().any(|word| QUOTA_WORDS.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::super::{MalformedResponseError, Sent};
    use super::*;

    const WAIT: Duration = Duration::from_secs(7);

    fn report(code: &str) -> Box<ErrorReport> {
        Box::new(ErrorReport { code: Some(code.to_owned()), ..ErrorReport::default() })
    }

    fn verdict(kind: AttemptErrorKind, sent: Sent) -> FailureVerdict {
        FailureVerdict::of(&AttemptError::new(kind, sent))
    }

    fn refused(status: u16, retry_after: Option<Duration>, code: Option<&str>) -> FailureVerdict {
        verdict(AttemptErrorKind::Refused { status, retry_after, report: code.map(report) }, Sent::Yes)
    }

    #[test]
    fn failures_of_a_connection_and_of_a_server_are_repeated_only_if_they_cannot_have_been_billed() {
        use AttemptHealth::{Failure, NoConnection};
        let again = NextStep::SameKey { wait: None };
        let disconnected = || AttemptErrorKind::Disconnected { cause: "connection reset".into() };
        for (kind, sent, next, health) in [
            (AttemptErrorKind::Unreachable { cause: "connection refused".into() }, Sent::No, again, NoConnection),
            (AttemptErrorKind::Timeout(Phase::Connect), Sent::No, again, NoConnection),
            (disconnected(), Sent::No, again, Failure),
            (disconnected(), Sent::Maybe, NextStep::OtherTarget, Failure),
            (disconnected(), Sent::Yes, NextStep::OtherTarget, Failure),
            (AttemptErrorKind::Timeout(Phase::Head), Sent::Maybe, NextStep::OtherTarget, Failure),
            (AttemptErrorKind::Timeout(Phase::FirstToken), Sent::Yes, NextStep::OtherTarget, Failure),
            (AttemptErrorKind::Empty, Sent::Yes, NextStep::OtherTarget, Failure),
            (AttemptErrorKind::Malformed(MalformedResponseError::Chunk), Sent::Yes, NextStep::OtherTarget, Failure),
            (AttemptErrorKind::Reported(report("server_error")), Sent::Yes, again, Failure),
            (AttemptErrorKind::Unsupported(Box::default()), Sent::No, NextStep::OtherTarget, AttemptHealth::Unknown),
        ] {
            assert_eq!(verdict(kind.clone(), sent), FailureVerdict { next, rest: None, health }, "{kind:?} {sent:?}");
        }
    }

    #[test]
    fn each_status_has_its_step_its_rest_and_its_effect_on_the_breaker() {
        use AttemptHealth::{Failure, Responded, Success};
        let (again, other_key) = (|wait| NextStep::SameKey { wait }, |wait| NextStep::OtherKey { wait });
        let rejected = NextStep::OtherTargetIf(FallbackClass::Rejected);
        for (status, wait, next, rest, health) in [
            (400, None, rejected, None, Success),
            (401, None, NextStep::OtherKeyOnly, Some((Resting::Key, REFUSED_KEY)), Responded),
            (402, None, NextStep::OtherKeyOnly, Some((Resting::Key, EMPTY_QUOTA)), Responded),
            (403, None, NextStep::OtherKeyOnly, Some((Resting::Key, REFUSED_KEY)), Responded),
            (404, None, NextStep::OtherTarget, Some((Resting::Target, NO_MODEL)), Responded),
            (408, None, again(None), None, Failure),
            (409, None, again(None), None, Failure),
            (413, None, rejected, None, Success),
            (422, None, rejected, None, Success),
            (429, None, other_key(ABOVE_RATE), Some((Resting::KeyForModel, ABOVE_RATE)), Responded),
            (429, Some(WAIT), other_key(WAIT), Some((Resting::KeyForModel, WAIT)), Responded),
            (500, None, again(None), None, Failure),
            (502, None, NextStep::OtherTarget, None, Failure),
            (503, None, again(None), None, Failure),
            (503, Some(WAIT), again(Some(WAIT)), Some((Resting::Target, WAIT)), Failure),
            (504, None, NextStep::OtherTarget, None, Failure),
            (529, Some(WAIT), again(Some(WAIT)), Some((Resting::Target, WAIT)), Failure),
            (307, None, NextStep::OtherTarget, None, Failure),
        ] {
            assert_eq!(refused(status, wait, None), FailureVerdict { next, rest, health }, "{status}");
        }
    }

    #[test]
    fn quota_that_is_used_up_rests_its_key_long_whatever_the_status() {
        let rest = |wait| Some((Resting::Key, wait));
        for word in QUOTA_WORDS {
            for status in [400, 402, 403, 429] {
                let verdict = refused(status, None, Some(word));
                assert_eq!((verdict.next, verdict.rest), (NextStep::OtherKeyOnly, rest(EMPTY_QUOTA)), "{word}");
            }
        }
        assert_eq!(refused(429, Some(WAIT), Some("insufficient_quota")).rest, rest(WAIT), "as the upstream says");
        let reported = verdict(AttemptErrorKind::Reported(report("insufficient_quota")), Sent::Yes);
        assert_eq!(reported.next, NextStep::OtherKeyOnly);
    }

    #[test]
    fn fault_of_the_request_has_a_class_of_its_own() {
        for (code, class) in [
            ("context_length_exceeded", FallbackClass::ContextLength),
            ("content_filter", FallbackClass::ContentFilter),
            ("unsupported_value", FallbackClass::Rejected),
        ] {
            let next = NextStep::OtherTargetIf(class);
            assert_eq!(refused(400, None, Some(code)).next, next);
            assert_eq!(verdict(AttemptErrorKind::Reported(report(code)), Sent::Yes).next, next);
        }
    }
}
