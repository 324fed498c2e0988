//! The head of the AI SDK's UI message stream.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const UI_STREAM: HeaderName = HeaderName::from_static("x-vercel-ai-ui-message-stream");

/// Marks a stream as that of the AI SDK.
pub fn mark(headers: &mut HeaderMap) {
    headers.insert(UI_STREAM, HeaderValue::from_static("v1"));
}
