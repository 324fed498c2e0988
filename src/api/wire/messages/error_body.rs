//! Errors in Anthropic's format, which its SDKs turn into exceptions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::problem::{ErrorCode, failure_status};
use crate::domain::Failure;

/// `{"type": "error", "error": {...}}`: the body of an error response of Anthropic's API, or an event of its streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessagesError {
    /// `error`.
    #[schema(example = "error")]
    pub r#type: String,
    pub error: MessagesErrorBody,
    /// The id of the request; absent in a stream, whose response has it as a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessagesErrorBody {
    /// The kind of error, derived from the status.
    #[schema(example = "invalid_request_error")]
    pub r#type: String,
    /// What happened and what to do.
    pub message: String,
    pub details: MessagesErrorDetails,
}

/// What SDKs read as the code of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessagesErrorDetails {
    /// The code, from the same list as that of the problems; or the code that the upstream reported.
    pub error_code: String,
}

impl MessagesError {
    pub fn new(status: u16, code: String, message: String) -> Self {
        let error = MessagesErrorBody {
            r#type: error_type(status).to_owned(),
            message,
            details: MessagesErrorDetails { error_code: code },
        };
        Self { r#type: "error".to_owned(), error, request_id: None }
    }

    /// Returns the error for a client that was reading when the generation was cancelled.
    pub fn cancelled() -> Self {
        Self::of(ErrorCode::Cancelled, "The generation was cancelled. The answer is incomplete.")
    }

    /// Returns the error of a tool call whose arguments no client can parse.
    pub fn invalid_arguments() -> Self {
        Self::of(ErrorCode::UpstreamMalformed, "The arguments of a tool call are not valid JSON.")
    }

    /// Returns the error for a client that has text of an answer which was withdrawn.
    pub fn restarted() -> Self {
        let message = "The model's server failed, and another one began anew: the answer so far is withdrawn. Follow the \
                       generation after this event for the new answer.";
        Self::of(ErrorCode::UpstreamRestarted, message)
    }

    fn of(code: ErrorCode, message: &str) -> Self {
        Self::new(code.status().as_u16(), code.name(), message.to_owned())
    }
}

impl From<&Failure> for MessagesError {
    fn from(failure: &Failure) -> Self {
        let code = ErrorCode::from(failure.code);
        let words = failure.upstream.as_deref();
        let message = words.and_then(|words| words.message.clone()).unwrap_or_else(|| failure.detail.clone());
        let reported = words.and_then(|words| words.code.clone()).unwrap_or_else(|| code.name());
        Self::new(failure_status(failure).as_u16(), reported, message)
    }
}

/// Returns Anthropic's name for an error with this status.
fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 | 410 => "not_found_error",
        408 | 504 => "timeout_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_of_an_error_follows_from_its_status() {
        for (status, expected) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (413, "request_too_large"),
            (422, "invalid_request_error"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (502, "api_error"),
            (503, "overloaded_error"),
            (504, "timeout_error"),
        ] {
            assert_eq!(error_type(status), expected, "{status}");
        }
    }
}
