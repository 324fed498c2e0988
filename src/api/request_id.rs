//! The id and the log line of each request.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use tracing::Span;

use crate::domain::RequestId;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request that has come, and its id, which is in the answer and in every log line about it.
#[derive(Clone, Copy)]
pub struct Traced {
    id: RequestId,
    at: Instant,
}

impl Traced {
    /// Gives the request an id, new for each.
    pub fn note(request: &mut Request) -> Self {
        let id = RequestId::random();
        request.extensions_mut().insert(id);
        Self { id, at: Instant::now() }
    }

    /// What is logged within it names the route's template, and never the path or the query: those hold ids and tickets.
    pub fn span(self, request: &Request) -> Span {
        let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str);
        tracing::info_span!("request", request_id = %self.id, method = %request.method(), route)
    }

    /// Says the id in the answer, and that there is one in the log.
    pub fn tell(self, response: &mut Response) {
        if let Ok(value) = HeaderValue::from_str(&self.id.to_string()) {
            response.headers_mut().insert(X_REQUEST_ID, value);
        }
        tracing::info!(status = response.status().as_u16(), head_ms = self.at.elapsed().as_millis(), "request");
    }
}

/// The id that [`Traced::note`] gave; a new one where that layer is missing.
pub fn request_id(request: &Request) -> RequestId {
    request.extensions().get().copied().unwrap_or_else(RequestId::random)
}
