//! The id and the log line of each request.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use tracing::Instrument;

use crate::domain::RequestId;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives the request an id, new for each, and says it in the answer and in every log line about it.
///
/// Logs the route's template and never the path or the query: those hold ids and tickets.
pub async fn with_request_id(mut request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    let id = RequestId::random();
    request.extensions_mut().insert(id);
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", request_id = %id, method = %request.method(), route);
    let started = Instant::now();
    async {
        let mut response = next(request).await;
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(X_REQUEST_ID, value);
        }
        tracing::info!(status = response.status().as_u16(), head_ms = started.elapsed().as_millis(), "request");
        response
    }
    .instrument(span)
    .await
}

/// The id that [`with_request_id`] gave; a new one where that layer is missing.
pub fn request_id(request: &Request) -> RequestId {
    request.extensions().get().copied().unwrap_or_else(RequestId::random)
}
