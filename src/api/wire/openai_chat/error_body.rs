//! Errors in OpenAI's format, which its SDKs turn into exceptions.

use std::fmt::Write as _;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::error_code::ErrorCode;
use crate::api::upstream_error::UpstreamErrorBody;
use crate::api::wire::measures::UsageBody;
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
    pub fn new(code: ErrorCode, message: String, param: Option<String>) -> Self {
        let r#type = match code.status() {
            // As OpenAI reports a budget that is used up.
            _ if code == ErrorCode::BudgetExceeded => "insufficient_quota",
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
    #[must_use]
    pub fn with(self, words: &UpstreamErrorBody) -> Self {
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

    /// Returns the error for a client that was reading when the answer was withdrawn.
    pub fn restarted() -> Self {
        let message = "The model's server failed, and another one began anew: the answer so far is withdrawn. Follow the \
                       generation after this event for the new answer.";
        Self::new(ErrorCode::UpstreamRestarted, message.into(), None)
    }
}

impl From<&Failure> for OpenAiError {
    fn from(failure: &Failure) -> Self {
        let own = Self::new(failure.code.into(), failure.detail.clone(), None);
        failure.upstream.as_deref().map_or(own.clone(), |words| own.with(&words.into()))
    }
}

/// Converts a JSON Pointer to OpenAI's notation: `/messages/0/role` becomes `messages[0].role`.
pub fn param(pointer: &str) -> String {
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
