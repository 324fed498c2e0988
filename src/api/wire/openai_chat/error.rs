//! Errors of chat completions: `{"error": {...}}`, as JSON or as an event.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};

use super::error_body::OpenAiError;
use crate::api::headers::{RETRY_AFTER_MS, X_SHOULD_RETRY};
use crate::api::problem::{ErrorCode, ProblemBody};
use crate::api::wire::frames::Frames;
use crate::api::wire::port::{RefusalBody, RefusalFormat};

pub fn refusal(problem: &ProblemBody, format: RefusalFormat) -> RefusalBody {
    let error = OpenAiError::from(problem);
    match format {
        RefusalFormat::Json => RefusalBody {
            content_type: "application/json",
            bytes: serde_json::to_vec(&error).unwrap_or_default().into(),
        },
        // Without a name, an id or `retry`.
        RefusalFormat::Event => {
            let mut frames = Frames::default();
            let mut block = frames.unnamed();
            block.data().json(&error);
            block.end_with_data();
            RefusalBody::event(frames.take())
        }
    }
}

pub fn refusal_headers(problem: &ProblemBody, headers: &mut HeaderMap) {
    if let Some(wait) = problem.retry_after_ms {
        headers.insert(RETRY_AFTER_MS, HeaderValue::from(wait));
    }
    let retry = if should_retry(problem) { "true" } else { "false" };
    headers.insert(X_SHOULD_RETRY, HeaderValue::from_static(retry));
}

/// Whether an SDK should retry the request by itself. Not if the model may have been called, because a retry could be
/// billed again. Not if the wait is longer than a minute, because SDKs then retry without any wait.
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
