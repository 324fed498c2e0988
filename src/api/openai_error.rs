//! Errors in OpenAI's format, which its SDKs turn into exceptions.

use std::fmt::Write as _;
use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::{ErrorCode, ProblemBody, UpstreamErrorBody};
use super::wire::native::UsageBody;
use crate::domain::Failure;

/// `{"error": {...}}`: the body of an error response of OpenAI's API, or an event of its streams.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAiError {
    pub error: OpenAiErrorBody,
}

/// The error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAiErrorBody {
    /// What happened and what to do.
    pub message: String,
    /// The kind of error, derived from the status.
    #[schema(example = "invalid_request_error")]
    pub r#type: String,
    /// The invalid field, if the error is about one.
    pub param: Option<String>,
    /// The code, from the same list as that of the problems; for an unauthenticated request, its `reason`.
    pub code: Option<String>,
    /// The usage of an answer that is no longer kept; only with `history_lost`, for a repeated `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageBody>,
}

impl OpenAiError {
    fn new(code: ErrorCode, message: String, param: Option<String>) -> Self {
        let r#type = match code.status() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "server_error",
        };
        Self {
            error: OpenAiErrorBody { message, r#type: r#type.to_owned(), param, code: Some(code.name()), usage: None },
        }
    }

    /// Replaces the members with those of the upstream's error, as far as it has them.
    fn with(self, words: &UpstreamErrorBody) -> Self {
        let UpstreamErrorBody { r#type, code, param, message, .. } = words.clone();
        Self {
            error: OpenAiErrorBody {
                message: message.unwrap_or(self.error.message),
                r#type: r#type.unwrap_or(self.error.r#type),
                param: param.or(self.error.param),
                code: code.or(self.error.code),
                usage: self.error.usage,
            },
        }
    }

    /// Returns the error for a client that was reading when the generation was cancelled.
    pub fn cancelled() -> Self {
        Self::new(ErrorCode::Cancelled, "The generation was cancelled. The answer is incomplete.".into(), None)
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

impl From<&Failure> for OpenAiError {
    fn from(failure: &Failure) -> Self {
        let own = Self::new(failure.code.into(), failure.detail.clone(), None);
        failure.upstream.as_deref().map_or(own.clone(), |words| own.with(&words.into()))
    }
}

/// Converts a JSON Pointer to OpenAI's notation: `/messages/0/role` becomes `messages[0].role`.
fn param(pointer: &str) -> String {
    let mut param = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty() {
            _ = write!(param, "[{part}]");
        } else {
            if !param.is_empty() {
                param.push('.');
            }
            param.push_str(part);
        }
    }
    param
}

/// Whether an SDK should retry the request by itself. Not if the model may have been called, because a retry could be
/// billed again. Not if the wait is longer than a minute, because SDKs then retry without any wait.
pub fn should_retry(problem: &ProblemBody) -> bool {
    let model_was_not_called = matches!(
        problem.code,
        ErrorCode::IssuerUnavailable
            | ErrorCode::ChannelFull
            | ErrorCode::RateLimited
            | ErrorCode::TooManyGenerations
            | ErrorCode::TooManyConnections
            | ErrorCode::RequestTimeout
            | ErrorCode::UpstreamUnreachable
            | ErrorCode::UpstreamRateLimited
            | ErrorCode::Overloaded
            | ErrorCode::ShuttingDown
    );
    let wait = problem.retry_after_ms.map_or(Duration::ZERO, Duration::from_millis);
    model_was_not_called && problem.retryable && wait <= Duration::from_mins(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointer_becomes_param() {
        for (pointer, expected) in
            [("", ""), ("/model", "model"), ("/messages/0/role", "messages[0].role"), ("/tools/12", "tools[12]")]
        {
            assert_eq!(param(pointer), expected);
        }
    }
}
