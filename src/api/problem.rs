//! Error responses, as callers see them.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::denial::{Denial, DenialReason};
use super::durations::millis;
use super::error_code::Remedy;
use super::upstream_error::UpstreamErrorBody;
use super::wire::measures::UsageBody;
use super::wire::openai_chat::error_body::{OpenAiError, OpenAiErrorBody, param};
use crate::domain::{Failed, Failure, RequestId, Usage};
use crate::limits::{Allowance, BudgetExceeded, Exceeded, ExceededLimit};

pub use super::error_code::ErrorCode;

/// An error response under construction. `into_response` sets only the status; then
/// [`RefusalForm`](super::refusal::RefusalForm) writes the body in the format that the request asks for, with the
/// request's id.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(super) code: ErrorCode,
    detail: String,
    pub(super) retry_after: Option<Duration>,
    /// The caller's remaining allowance, if a limit is the reason.
    pub(super) allowance: Option<Box<Allowance>>,
    /// The challenge and the fault of the credential, if that is the reason.
    pub(super) denial: Option<Box<Denial>>,
    pub(super) errors: Vec<FieldError>,
    /// The usage of a lost answer, if that loss is the reason.
    usage: Option<Box<Usage>>,
    /// The failure of the generation, with the same members as in a `failed` event. Set only if that is the reason.
    failure: Option<Box<Failure>>,
}

/// Problem details (RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:tokenrill:error:` and the code.
    #[schema(example = "urn:tokenrill:error:model_not_found")]
    pub r#type: String,
    /// The kind of problem; the same for every problem with this code.
    pub title: String,
    /// The HTTP status, also if the problem is an event of a stream that began with status 200.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    pub code: ErrorCode,
    /// Why the request is unauthenticated; only with the code `unauthenticated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DenialReason>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// How long to wait before a retry, in milliseconds, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The id of the request. Include it in a report to the operator.
    pub request_id: String,
    /// The error of the upstream, if the caller can act on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamErrorBody>,
    /// The usage of an answer that is no longer kept; only with `history_lost`, for a repeated `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageBody>,
    /// The invalid fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The same error in OpenAI's format; only with `route_not_found`, because an OpenAI SDK may call a wrong path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<OpenAiErrorBody>,
}

/// An invalid field of the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldError {
    /// The path of the field (JSON Pointer, RFC 6901).
    #[schema(example = "/messages/0/role")]
    pub pointer: String,
    pub detail: String,
}

/// The wait before a retry if neither a limit nor the upstream gives one.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);

impl Problem {
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let retry_after = (code.remedy() == Remedy::Wait).then_some(DEFAULT_WAIT);
        Self {
            code,
            detail: detail.into(),
            retry_after,
            allowance: None,
            denial: None,
            errors: Vec::new(),
            usage: None,
            failure: None,
        }
    }

    #[cfg(test)]
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Adds a challenge (RFC 9110, section 11.6.1), and the reason why the request is unauthenticated.
    pub(super) fn denied(mut self, reason: Option<DenialReason>, challenge: &str) -> Self {
        self.denial = HeaderValue::from_str(challenge).ok().map(|challenge| Box::new(Denial { reason, challenge }));
        self
    }

    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self::of_fields(ErrorCode::InvalidRequest, errors)
    }

    /// Returns the problem for fields of a request.
    pub fn of_fields(code: ErrorCode, errors: Vec<FieldError>) -> Self {
        // An empty pointer refers to the whole document (RFC 6901, section 5).
        let name = |pointer: &str| if pointer.is_empty() { "the body".to_owned() } else { pointer.to_owned() };
        let named: Vec<_> = errors.iter().map(|error| format!("{} {}", name(&error.pointer), error.detail)).collect();
        let named = named.join("; ");
        let end = if named.ends_with('?') { "" } else { "." };
        Self { errors, ..Self::new(code, format!("The request is invalid: {named}{end}")) }
    }

    pub fn forbidden() -> Self {
        Self::new(ErrorCode::Forbidden, "Your credential does not permit this.")
    }

    /// Returns the problem for a valid credential that lacks the scope which the operation requires.
    pub fn insufficient_scope(scope: Option<&str>) -> Self {
        let (detail, challenge) = match scope {
            Some(scope) => (
                format!("Your credential lacks the scope `{scope}`."),
                format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""),
            ),
            None => (
                "Your credential has no scope of this service.".to_owned(),
                "Bearer error=\"insufficient_scope\"".to_owned(),
            ),
        };
        Self::new(ErrorCode::Forbidden, detail).denied(None, &challenge)
    }

    pub fn not_json() -> Self {
        let detail = "Send the body as JSON with the header Content-Type: application/json.";
        Self::new(ErrorCode::UnsupportedMediaType, detail)
    }

    /// Returns the problem for a limit that the request exceeds.
    pub fn exceeded(exceeded: Exceeded, allowance: Allowance) -> Self {
        let (code, detail) = match exceeded.limit {
            ExceededLimit::RequestsPerMinute(limit) => (
                ErrorCode::RateLimited,
                format!("You may start {limit} generations per minute. Try again after the time in Retry-After."),
            ),
            ExceededLimit::TokensPerMinute(limit) => (
                ErrorCode::RateLimited,
                format!("You may use {limit} tokens per minute. Try again after the time in Retry-After."),
            ),
            ExceededLimit::PublishesPerMinute(limit) => (
                ErrorCode::RateLimited,
                format!("You may publish {limit} events per minute. Try again after the time in Retry-After."),
            ),
            ExceededLimit::Budget(budget) => (ErrorCode::BudgetExceeded, budget_detail(&budget)),
            ExceededLimit::Generations => (
                ErrorCode::TooManyGenerations,
                "All slots for generations are in use and the queue is full. Try again after the time in Retry-After."
                    .to_owned(),
            ),
        };
        let problem = Self::new(code, detail);
        Self { retry_after: exceeded.wait.or(problem.retry_after), allowance: Some(Box::new(allowance)), ..problem }
    }

    /// Returns the problem for limits that did not answer in time.
    pub fn limits_unavailable() -> Self {
        Self::new(ErrorCode::EventLogUnavailable, "This service cannot check its limits. Try again in a few seconds.")
    }

    /// Returns the problem for an event log that did not answer in time.
    pub fn event_log_unavailable() -> Self {
        Self::new(
            ErrorCode::EventLogUnavailable,
            "This service cannot reach the store of its answers. Try again in a few seconds.",
        )
    }

    /// Returns the problem for a channel whose log or roster did not answer in time.
    pub fn channels_unavailable() -> Self {
        Self::new(
            ErrorCode::EventLogUnavailable,
            "This service cannot reach the store of its channels. Try again in a few seconds.",
        )
    }

    /// Returns the problem for sums of usage that did not arrive in time.
    pub fn usage_unavailable() -> Self {
        Self::new(
            ErrorCode::EventLogUnavailable,
            "This service cannot reach the store of its usage. Try again in a few seconds.",
        )
    }

    /// Returns the problem for a connection that is not here while the other replicas cannot be asked.
    pub fn replicas_unavailable() -> Self {
        Self::new(
            ErrorCode::EventLogUnavailable,
            "This replica does not have this connection and cannot ask the others. Try again in a few seconds.",
        )
    }

    pub fn history_lost() -> Self {
        Self::new(ErrorCode::HistoryLost, "The events after this id are lost. Start a new generation.")
    }

    /// Returns the problem for an `Idempotency-Key` whose answer was evicted or discarded.
    pub fn answer_lost(usage: Option<Usage>) -> Self {
        let detail = "The answer for this Idempotency-Key is no longer kept. The request was processed and may have \
                      been billed. Send a new key to start a new generation.";
        Self { usage: usage.map(Box::new), ..Self::new(ErrorCode::HistoryLost, detail) }
    }

    /// Returns the problem for a caller with the maximum number of used `Idempotency-Key`s without kept answers.
    pub fn too_many_lost_answers(wait: Duration) -> Self {
        let detail = "Too many of your Idempotency-Keys belong to answers that are no longer kept. Send this request \
                      without Idempotency-Key, or try again after the time in Retry-After.";
        Self { retry_after: Some(wait), ..Self::new(ErrorCode::RateLimited, detail) }
    }

    pub fn shutting_down() -> Self {
        Self::new(ErrorCode::ShuttingDown, "This service is restarting. Try again in a few seconds.")
    }

    pub fn prompt_not_found() -> Self {
        Self::new(
            ErrorCode::PromptNotFound,
            "There is no such prompt, or it has another version now. GET /v1/prompts lists the prompts.",
        )
    }

    /// Returns the problem for variables that a prompt does not accept.
    pub fn invalid_variables(errors: Vec<FieldError>) -> Self {
        let named: Vec<_> = errors.iter().map(|error| format!("{} {}", error.pointer, error.detail)).collect();
        let detail = format!("The variables do not fit the prompt: {}.", named.join("; "));
        Self { errors, ..Self::new(ErrorCode::InvalidVariables, detail) }
    }

    pub fn connection_not_found() -> Self {
        Self::new(ErrorCode::ConnectionNotFound, "There is no such connection, or it has ended.")
    }

    pub fn generation_not_found() -> Self {
        Self::new(
            ErrorCode::GenerationNotFound,
            "There is no such generation, or it is no longer kept. Start a new one.",
        )
    }

    /// Returns the problem for a `Last-Event-ID` that is not the id of an event that is kept here.
    pub fn nothing_to_resume() -> Self {
        Self::new(
            ErrorCode::GenerationNotFound,
            "Last-Event-ID is not the id of an event that is kept here. To start a new generation, send the request \
             without Last-Event-ID.",
        )
    }

    pub(super) fn body(&self, request_id: RequestId) -> ProblemBody {
        if let Some(failure) = &self.failure {
            return ProblemBody { request_id: request_id.to_string(), ..ProblemBody::from(&**failure) };
        }
        let body = ProblemBody {
            errors: self.errors.clone(),
            usage: self.usage.as_deref().copied().map(UsageBody::from),
            reason: self.denial.as_ref().and_then(|denial| denial.reason),
            ..ProblemBody::new(self.code, self.detail.clone(), self.retry_after, request_id)
        };
        let error = (self.code == ErrorCode::RouteNotFound).then(|| OpenAiError::from(&body).error);
        ProblemBody { error, ..body }
    }
}

fn budget_detail(exceeded: &BudgetExceeded) -> String {
    let BudgetExceeded { budget, wanted, .. } = exceeded;
    let (left, most, per) = (exceeded.left(), budget.most, budget.per.name());
    // Without milliseconds, which are 0.
    let resets_at = exceeded.resets_at().to_string().replace(".000Z", "Z");
    format!(
        "This request may cost {wanted} US dollars, and {left} of your budget of {most} per {per} are left. The budget \
         is whole again at {resets_at}. Until then, send requests with a shorter prompt, a lower limit of output tokens \
         or a cheaper model."
    )
}

impl Problem {
    /// Returns the status, the same in every dialect.
    fn status(&self) -> StatusCode {
        self.failure.as_deref().map_or_else(|| self.code.status(), failure_status)
    }
}

/// Returns the status of a failure. For a request that an upstream refused, it is the upstream's own.
pub fn failure_status(failure: &Failure) -> StatusCode {
    let code = ErrorCode::from(failure.code);
    let passed = failure.upstream.as_ref().and_then(|words| words.status);
    let passed = passed.filter(|status| code == ErrorCode::UpstreamRejected && PASSED_STATUSES.contains(status));
    passed.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or_else(|| code.status())
}

/// Statuses of an upstream that are passed on, because they are about the request itself.
const PASSED_STATUSES: [u16; 4] = [400, 404, 413, 422];

impl ProblemBody {
    /// Returns an example of a problem with this code.
    pub fn example(code: ErrorCode, errors: Vec<FieldError>) -> Self {
        let problem = Problem::new(code, "What happened, and what to do.");
        let reason = (code == ErrorCode::Unauthenticated).then_some(DenialReason::CredentialMissing);
        let problem = Problem { errors, ..problem }.denied(reason, "Bearer");
        Self { request_id: "req_AAAAAAAAAAAAAAAAAAAAAA".to_owned(), ..problem.body(RequestId::random()) }
    }

    fn new(code: ErrorCode, detail: String, retry_after: Option<Duration>, request_id: RequestId) -> Self {
        Self {
            r#type: format!("urn:tokenrill:error:{}", code.name()),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            detail,
            code,
            reason: None,
            retryable: code.remedy() == Remedy::Wait,
            upstream: None,
            usage: None,
            retry_after_ms: retry_after.map(millis),
            request_id: request_id.to_string(),
            errors: Vec::new(),
            error: None,
        }
    }
}

impl From<&Failure> for ProblemBody {
    fn from(failure: &Failure) -> Self {
        let code = ErrorCode::from(failure.code);
        Self {
            retryable: failure.remedy.unwrap_or(code.remedy()) == Remedy::Wait,
            status: failure_status(failure).as_u16(),
            upstream: failure.upstream.as_deref().map(UpstreamErrorBody::from),
            ..Self::new(code, failure.detail.clone(), failure.retry_after, failure.request_id)
        }
    }
}

impl From<&ProblemBody> for OpenAiError {
    fn from(problem: &ProblemBody) -> Self {
        let param = problem.errors.first().map(|error| param(&error.pointer));
        let mut error = Self::new(problem.code, problem.detail.clone(), param);
        error.error.usage.clone_from(&problem.usage);
        if let Some(reason) = problem.reason {
            error.error.code = Some(reason.name().to_owned());
        }
        match &problem.upstream {
            Some(words) => error.with(words),
            None => error,
        }
    }
}

/// For a failure before the response head was sent, when it can still be a status.
impl From<&Failed> for Problem {
    fn from(failed: &Failed) -> Self {
        let failure = &failed.failure;
        // Only the wait that the upstream or a limit gave, not the default wait.
        let retry_after = failure.retry_after;
        let failure = Some(Box::new(failure.clone()));
        Self { retry_after, failure, ..Self::new(failed.failure.code.into(), failed.failure.detail.clone()) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detail_of_an_invalid_request_ends_with_one_punctuation_mark() {
        let detail = |fault: &str| {
            let error = FieldError { pointer: "/grcae".to_owned(), detail: fault.to_owned() };
            Problem::invalid(vec![error]).detail().to_owned()
        };
        assert_eq!(detail("is too long"), "The request is invalid: /grcae is too long.");
        assert_eq!(
            detail("is unknown: did you mean grace?"),
            "The request is invalid: /grcae is unknown: did you mean grace?"
        );
    }
}
