//! Classifies a failed attempt, and selects what operators and callers see of it.

use std::time::Duration;

pub use crate::domain::UpstreamMessages;
use crate::domain::{FailureCode, Remedy, RequestId, UpstreamWords};
use crate::telemetry::GenerationLabels;
use crate::upstream::{
    AttemptError, AttemptErrorKind, AttemptNumber, ErrorReport, MalformedResponseError, Phase, REQUEST_FAULT_CODES,
    Target, without_echo,
};

/// What the caller receives of a failed attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptFailure {
    pub code: FailureCode,
    pub remedy: Option<Remedy>,
    pub retry_after: Option<Duration>,
    /// The part of the upstream's error that the caller receives.
    pub words: Option<Box<UpstreamWords>>,
}

/// The codes of providers that clients act on, beside [`REQUEST_FAULT_CODES`]. They are passed on even if the message
/// is not.
const ACTIONABLE_CODES: [&str; 2] = ["insufficient_quota", "rate_limit_exceeded"];
/// The messages of servers at an address without a route: FastAPI, Go, and gateways.
const NO_ROUTE_MESSAGES: [&str; 4] =
    ["not found", "404 page not found", "no route matched with those values", "not_found"];

impl AttemptFailure {
    pub fn of(error: &AttemptError) -> Self {
        let report = error.report();
        let code = match &error.kind {
            AttemptErrorKind::Unreachable { .. } | AttemptErrorKind::Timeout(Phase::Connect) => {
                FailureCode::UpstreamUnreachable
            }
            AttemptErrorKind::Refused { status, .. } => refused(*status, report),
            AttemptErrorKind::LimitRefused { .. } => FailureCode::UpstreamMisconfigured,
            AttemptErrorKind::Unsupported(_) => FailureCode::UpstreamRejected,
            AttemptErrorKind::Reported(report) => reported(report),
            AttemptErrorKind::Timeout(_) => FailureCode::UpstreamTimeout,
            AttemptErrorKind::Disconnected { .. } => FailureCode::UpstreamDisconnected,
            AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge) => FailureCode::TooLarge,
            AttemptErrorKind::Malformed(_) => FailureCode::UpstreamMalformed,
            AttemptErrorKind::Empty => FailureCode::UpstreamEmpty,
            AttemptErrorKind::NoRoom => FailureCode::Overloaded,
        };
        let is_quota_error = report.is_some_and(|report| {
            [&report.code, &report.kind].into_iter().flatten().any(|word| word == "insufficient_quota")
        });
        Self {
            code,
            // Waiting does not help if the account's quota is used up, and an answer without room may be billed again.
            remedy: ((is_quota_error && code == FailureCode::UpstreamRateLimited)
                || error.kind == AttemptErrorKind::NoRoom)
                .then_some(Remedy::Change),
            retry_after: error.retry_after(),
            words: match report {
                Some(report) => words(error, code, report).map(Box::new),
                None => status_alone(error, code).map(Box::new),
            },
        }
    }
}

/// Returns the labels of the metrics of a target.
pub fn labels(target: &Target) -> GenerationLabels<'_> {
    GenerationLabels { upstream: &target.upstream().name, model: target.model() }
}

fn refused(status: u16, report: Option<&ErrorReport>) -> FailureCode {
    match status {
        401 | 403 => FailureCode::UpstreamAuth,
        404 if report.is_none_or(is_missing_route) => FailureCode::UpstreamMisconfigured,
        404 => FailureCode::ModelNotFound,
        408 | 504 => FailureCode::UpstreamTimeout,
        429 => FailureCode::UpstreamRateLimited,
        503 | 529 => FailureCode::UpstreamOverloaded,
        // A redirect to another host, which is not followed.
        300..=399 => FailureCode::UpstreamMisconfigured,
        400..=499 => FailureCode::UpstreamRejected,
        _ => FailureCode::UpstreamError,
    }
}

fn is_missing_route(report: &ErrorReport) -> bool {
    let message = report.message.as_deref().unwrap_or_default().to_ascii_lowercase();
    report.code.as_deref().is_none_or(|code| code == "404")
        && NO_ROUTE_MESSAGES.contains(&message.trim_end_matches('.'))
}

/// Classifies an error that the upstream sent with a success status. It is `upstream_rejected` only if its code names a
/// fault of the request. Any other error may have been billed, so it gets no code that clients retry automatically.
fn reported(report: &ErrorReport) -> FailureCode {
    if report.is_request_fault() { FailureCode::UpstreamRejected } else { FailureCode::UpstreamError }
}

/// Returns what the caller can act on: the whole report of an error in its request, else only a code that clients act
/// on.
fn words(error: &AttemptError, code: FailureCode, report: &ErrorReport) -> Option<UpstreamWords> {
    let is_operator_fault = matches!(error.kind, AttemptErrorKind::LimitRefused { .. });
    if matches!(code, FailureCode::UpstreamRejected | FailureCode::ModelNotFound) && !is_operator_fault {
        return Some(UpstreamWords {
            status: error.status(),
            kind: report.kind.clone(),
            code: report.code.clone(),
            param: report.param.clone(),
            message: report.public_message.clone(),
        });
    }
    let is_actionable = |word: &str| ACTIONABLE_CODES.contains(&word) || REQUEST_FAULT_CODES.contains(&word);
    let known = |word: &Option<String>| word.clone().filter(|word| is_actionable(word));
    let code = known(&report.code).or_else(|| known(&report.kind))?;
    Some(UpstreamWords { status: error.status(), code: Some(code), ..UpstreamWords::default() })
}

/// Returns the status of a refusal without a report, which tells the caller what is wrong with the request.
fn status_alone(error: &AttemptError, code: FailureCode) -> Option<UpstreamWords> {
    let status = error.status().filter(|_| code == FailureCode::UpstreamRejected)?;
    Some(UpstreamWords { status: Some(status), ..UpstreamWords::default() })
}

/// Identifies an attempt in the log.
#[derive(Debug, Clone, Copy)]
pub struct AttemptPlace<'a> {
    pub request_id: RequestId,
    pub number: AttemptNumber,
    pub target: &'a Target,
    /// The requested model.
    pub model: &'a str,
    /// The kept part of the prompt. Text that repeats it is not logged.
    pub prompt: &'a str,
}

/// Writes the log line from which an operator can see which upstream failed, and why.
pub fn log_failure(place: AttemptPlace<'_>, error: &AttemptError, code: FailureCode, messages: UpstreamMessages) {
    let (upstream, report) = (place.target.upstream(), error.report());
    let cause = match &error.kind {
        AttemptErrorKind::Unreachable { cause } | AttemptErrorKind::Disconnected { cause } => cause.to_string(),
        kind => kind.to_string(),
    };
    let message = report.and_then(|report| report.message.as_deref());
    let said = message.map(|message| without_echo(message, place.prompt.as_bytes()));
    let field = |word: fn(&ErrorReport) -> Option<&String>| report.and_then(word).map(String::as_str);
    tracing::warn!(
        request_id = %place.request_id,
        upstream = &*upstream.name,
        url = &*upstream.url,
        model = place.model,
        target = ?place.target,
        attempt = place.number.get(),
        code = code.name(),
        status = error.status(),
        upstream_type = field(|report| report.kind.as_ref()),
        upstream_code = field(|report| report.code.as_ref()),
        upstream_param = field(|report| report.param.as_ref()),
        upstream_request_id = field(|report| report.request_id.as_ref()),
        cause,
        said = said.filter(|_| messages == UpstreamMessages::Log),
        "attempt failed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "a refusal may have none")]
    fn report(kind: &str, code: &str, message: &str) -> Option<Box<ErrorReport>> {
        let text = |text: &str| Some(text).filter(|text| !text.is_empty()).map(str::to_owned);
        let message = text(message);
        let public_message = message.clone();
        Some(Box::new(ErrorReport {
            kind: text(kind),
            code: text(code),
            message,
            public_message,
            ..ErrorReport::default()
        }))
    }

    fn classified(status: u16, report: Option<Box<ErrorReport>>) -> AttemptFailure {
        let kind = AttemptErrorKind::Refused { status, retry_after: None, report };
        AttemptFailure::of(&AttemptError::in_response(kind))
    }

    #[test]
    fn a_refusal_is_classified_by_its_status_and_report() {
        for (status, report, code) in [
            (400, report("", "context_length_exceeded", "too long"), FailureCode::UpstreamRejected),
            (401, report("", "invalid_api_key", "no"), FailureCode::UpstreamAuth),
            (403, None, FailureCode::UpstreamAuth),
            (404, None, FailureCode::UpstreamMisconfigured),
            (404, report("", "", "Not Found"), FailureCode::UpstreamMisconfigured),
            (404, report("NotFoundError", "404", "The model `x` does not exist."), FailureCode::ModelNotFound),
            (413, None, FailureCode::UpstreamRejected),
            (422, None, FailureCode::UpstreamRejected),
            (307, None, FailureCode::UpstreamMisconfigured),
            (429, None, FailureCode::UpstreamRateLimited),
            (500, None, FailureCode::UpstreamError),
            (503, None, FailureCode::UpstreamOverloaded),
            (504, None, FailureCode::UpstreamTimeout),
        ] {
            assert_eq!(classified(status, report).code, code, "{status}");
        }
    }

    #[test]
    fn the_report_is_passed_on_for_request_errors_and_known_codes_always() {
        let message = |failure: AttemptFailure| failure.words.and_then(|words| words.message);
        assert_eq!(message(classified(400, report("t", "c", "words"))).as_deref(), Some("words"));
        assert_eq!(message(classified(404, report("t", "c", "words"))).as_deref(), Some("words"));
        for status in [401, 403, 429, 500, 503] {
            assert_eq!(classified(status, report("t", "c", "words")).words, None, "{status}");
        }
        let quota = classified(429, report("insufficient_quota", "insufficient_quota", "words"));
        assert_eq!(quota.remedy, Some(Remedy::Change));
        let words = quota.words.expect("a code");
        assert_eq!((words.code.as_deref(), words.message), (Some("insufficient_quota"), None));
    }

    #[test]
    fn an_error_in_place_of_an_answer_is_classified_by_its_code() {
        for (code, expected) in [
            ("429", FailureCode::UpstreamError),
            ("400", FailureCode::UpstreamError),
            ("context_length_exceeded", FailureCode::UpstreamRejected),
            ("rate_limit_exceeded", FailureCode::UpstreamError),
            ("1004", FailureCode::UpstreamError),
            ("", FailureCode::UpstreamError),
        ] {
            let report = report("", code, "words").expect("a report");
            let error = AttemptError::in_response(AttemptErrorKind::Reported(report));
            assert_eq!(AttemptFailure::of(&error).code, expected, "{code}");
        }
    }
}
