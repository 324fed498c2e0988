//! Writes error responses in the format that each kind of client understands.

use std::time::Duration;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use smallvec::SmallVec;

use super::accept::Accept;
use super::durations::{millis, seconds};
use super::headers::{RETRY_AFTER_MS, X_SHOULD_RETRY};
use super::openai_error::OpenAiError;
use super::problem::{ErrorCode, Problem, ProblemBody};
use super::request_id::request_id;
use super::wire::frames::Frames;
use super::wire::native::FailedData;
use super::wire::retry::Retry;
use crate::domain::RequestId;

/// The API that a path belongs to. It determines the format of its error responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Native,
    OpenAi,
}

impl Dialect {
    pub fn of(path: &str) -> Self {
        let is_openai = path == "/v1/chat/completions" || path == "/v1/models" || path.starts_with("/v1/models/");
        if is_openai { Self::OpenAi } else { Self::Native }
    }
}

/// The format of an error response to a request.
pub struct RefusalForm {
    /// Parsed only if the request is refused.
    accept: SmallVec<[HeaderValue; 1]>,
    dialect: Dialect,
    request_id: RequestId,
}

impl RefusalForm {
    pub fn of(request: &Request) -> Self {
        let accept = request.headers().get_all(ACCEPT).iter().cloned().collect();
        Self { accept, dialect: Dialect::of(request.uri().path()), request_id: request_id(request) }
    }

    /// Writes the body of an error response: as one event if `Accept` names `text/event-stream`, else as JSON.
    ///
    /// fetch-event-source checks only the content type. After a JSON response it would retry every second forever; an
    /// event is delivered once and ends the stream.
    pub fn write_refusal(self, mut response: Response) -> Response {
        match response.extensions_mut().remove() {
            Some(problem) => self.write(&problem, response),
            None => response,
        }
    }

    fn write(self, problem: &Problem, response: Response) -> Response {
        let Self { accept, dialect, request_id } = self;
        let names_events = Accept::of_values(&accept).names_event_stream();
        let body = problem.body(request_id);
        let retry = should_retry(&body);
        let (content_type, bytes) = match (dialect, names_events) {
            (Dialect::Native, true) => ("text/event-stream", refusal_event(body)),
            (Dialect::Native, false) => ("application/problem+json", json(&body)),
            (Dialect::OpenAi, true) => ("text/event-stream", error_event(&body)),
            (Dialect::OpenAi, false) => ("application/json", json(&OpenAiError::from(&body))),
        };
        // Keeps headers that the router has set, such as `Allow`.
        let (mut parts, _) = response.into_parts();
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(denial) = &problem.denial {
            parts.headers.insert(WWW_AUTHENTICATE, denial.challenge.clone());
        }
        if let Some(wait) = problem.retry_after {
            parts.headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
            if dialect == Dialect::OpenAi {
                parts.headers.insert(RETRY_AFTER_MS, HeaderValue::from(millis(wait)));
            }
        }
        if dialect == Dialect::OpenAi {
            parts.headers.insert(X_SHOULD_RETRY, HeaderValue::from_static(if retry { "true" } else { "false" }));
        }
        Response::from_parts(parts, bytes.into())
    }
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
            | ErrorCode::ShuttingDown
    );
    let wait = problem.retry_after_ms.map_or(Duration::ZERO, Duration::from_millis);
    model_was_not_called && problem.retryable && wait <= Duration::from_mins(1)
}

fn json(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).unwrap_or_default().into()
}

/// Formats an error response as an event without an id. `retry` is the wait before a retry, or prevents retries.
pub fn refusal_event(error: ProblemBody) -> Bytes {
    let retry = error.retry_after_ms.map_or(Retry::DORMANT, |wait| Retry::after(Duration::from_millis(wait)));
    let mut frames = Frames::default();
    frames.set_retry(retry);
    let mut block = frames.event("failed");
    let usage = error.usage.clone();
    block.data().json(&FailedData { error, usage, timings: None });
    block.end(None::<&str>);
    frames.take()
}

/// As [`refusal_event`], for clients of OpenAI's streaming format: no event name, no id, no `retry`.
pub fn error_event(error: &ProblemBody) -> Bytes {
    let mut frames = Frames::default();
    let mut block = frames.unnamed();
    block.data().json(&OpenAiError::from(error));
    block.end_with_data();
    frames.take()
}
