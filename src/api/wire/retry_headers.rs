//! The headers by which SDKs decide on a retry.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};

use crate::api::headers::{RETRY_AFTER_MS, X_SHOULD_RETRY};
use crate::api::problem::{ErrorCode, ProblemBody};

/// Sets the headers that the SDKs of OpenAI and Anthropic read in addition to `Retry-After`.
pub fn insert_retry_headers(problem: &ProblemBody, headers: &mut HeaderMap) {
    if let Some(wait) = problem.retry_after_ms {
        headers.insert(RETRY_AFTER_MS, HeaderValue::from(wait));
    }
    let retry = if should_retry(problem) { "true" } else { "false" };
    headers.insert(X_SHOULD_RETRY, HeaderValue::from_static(retry));
}

/// Whether an SDK should retry the request by itself. Not if the model may have been called, because a retry could be
/// billed again. Not if the wait is longer than a minute, because OpenAI's SDKs then retry without any wait, and
/// Anthropic's wait as long as they are told.
fn should_retry(problem: &ProblemBody) -> bool {
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
            | ErrorCode::EventLogUnavailable
            | ErrorCode::ShuttingDown
    );
    let wait = problem.retry_after_ms.map_or(Duration::ZERO, Duration::from_millis);
    model_was_not_called && problem.retryable && wait <= Duration::from_mins(1)
}
