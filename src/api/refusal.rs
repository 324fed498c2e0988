//! Writes error responses in the format that each kind of client understands.

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::response::Response;
use smallvec::SmallVec;

use super::accept::Accept;
use super::durations::seconds;
use super::problem::Problem;
use super::request_id::request_id;
use super::wire::port::RefusalFormat;
use super::wire::table::WireEntry;
use crate::domain::RequestId;

/// The format of an error response to a request.
pub struct RefusalForm {
    /// Parsed only if the request is refused.
    accept: SmallVec<[HeaderValue; 1]>,
    wire: &'static WireEntry,
    request_id: RequestId,
}

impl RefusalForm {
    pub fn of(request: &Request) -> Self {
        let accept = request.headers().get_all(ACCEPT).iter().cloned().collect();
        Self { accept, wire: WireEntry::of_path(request.uri().path()), request_id: request_id(request) }
    }

    /// Writes the body of an error response on the wire of the request's path.
    pub fn write_refusal(self, mut response: Response) -> Response {
        match response.extensions_mut().remove() {
            Some(problem) => self.write(&problem, response),
            None => response,
        }
    }

    fn write(self, problem: &Problem, response: Response) -> Response {
        let names_events = Accept::of_values(&self.accept).names_event_stream();
        let format = if names_events { RefusalFormat::Event } else { RefusalFormat::Json };
        let body = problem.body(self.request_id);
        // Keeps headers that the router has set, such as `Allow`.
        let (mut parts, _) = response.into_parts();
        parts.headers.remove(CONTENT_LENGTH);
        if let Some(denial) = &problem.denial {
            parts.headers.insert(WWW_AUTHENTICATE, denial.challenge.clone());
        }
        if let Some(wait) = problem.retry_after {
            parts.headers.insert(RETRY_AFTER, HeaderValue::from(seconds(wait)));
        }
        (self.wire.refusal_headers)(&body, &mut parts.headers);
        let refusal = (self.wire.refusal)(body, format);
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(refusal.content_type));
        Response::from_parts(parts, refusal.bytes.into())
    }
}
