//! The request id, the log line and the metrics of each request.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use tracing::Span;

use super::access::{PAGES, operations};
use super::headers::X_REQUEST_ID;
use crate::domain::RequestId;
use crate::telemetry::{HttpRequestLabels, Metrics};

/// A request and its id, which is in the response and in every log line about the request.
pub struct Traced {
    id: RequestId,
    at: Instant,
    method: &'static str,
    route: &'static str,
    /// Set only if no route matches.
    path: Option<String>,
}

/// The route label if no route matches.
const UNMATCHED: &str = "unmatched";

/// Routes that probes and scrapers poll. They are logged at `debug`, unless they fail.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

impl Traced {
    /// Assigns a new id to the request.
    pub fn note(request: &mut Request) -> Self {
        let id = RequestId::random();
        request.extensions_mut().insert(id);
        let route = route(request.extensions().get::<MatchedPath>().map(MatchedPath::as_str));
        let path = (route == UNMATCHED).then(|| loggable_path(request.uri().path()));
        Self { id, at: Instant::now(), method: method(request.method()), route, path }
    }

    /// Returns the span of the request. It contains the route template, not the path or the query: those hold ids and
    /// tickets.
    pub fn span(&self) -> Span {
        tracing::info_span!("request", request_id = %self.id, method = self.method, route = self.route)
    }

    /// Writes the id into the response, logs the request and counts it.
    pub fn finish(self, response: &mut Response, metrics: &Metrics) {
        if let Ok(value) = HeaderValue::from_str(&self.id.to_string()) {
            response.headers_mut().insert(X_REQUEST_ID, value);
        }
        let status = response.status();
        metrics.http_request(&HttpRequestLabels {
            http_request_method: self.method,
            http_route: self.route,
            http_response_status_code: status.as_u16(),
        });
        let head_ms = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, failed, path) = (status.as_u16(), status.is_server_error(), self.path.as_deref());
        let is_probe = PROBES.contains(&self.route) || (self.method == "OPTIONS" && path.is_none());
        if is_probe && !failed {
            tracing::debug!(status, head_ms, path, "request");
        } else {
            tracing::info!(status, head_ms, path, "request");
        }
    }
}

/// Returns the id that [`Traced::note`] assigned, or a new one if that layer is missing.
pub fn request_id(request: &Request) -> RequestId {
    request.extensions().get().copied().unwrap_or_else(RequestId::random)
}

/// Returns a label from a closed list.
fn route(matched: Option<&str>) -> &'static str {
    const DOCS: &str = "/docs/{*rest}";
    let Some(matched) = matched else { return UNMATCHED };
    let mut known = operations().map(|((path, _), _)| path).chain(PAGES);
    match known.find(|path| *path == matched) {
        Some(path) => path,
        None if matched.starts_with("/docs/") => DOCS,
        None => "other",
    }
}

/// Returns a label from the methods of RFC 9110, or `_OTHER` (OpenTelemetry's semantic conventions).
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// The maximum number of characters of a path that are logged.
const LONGEST_LOGGED: usize = 200;
/// A longer segment may be an id, a ticket or a key, sent by a client whose base URL is wrong.
const LONGEST_SEGMENT: usize = 20;

/// Returns the path with control characters escaped, long segments truncated, and truncated itself.
fn loggable_path(path: &str) -> String {
    let segment = |segment: &str| {
        if segment.chars().count() <= LONGEST_SEGMENT {
            segment.to_owned()
        } else {
            segment.chars().take(4).chain(['…']).collect()
        }
    };
    let path = path.split('/').map(segment).collect::<Vec<_>>().join("/");
    let escape = |char: char| if char.is_control() { char.escape_default().collect() } else { vec![char] };
    path.chars().flat_map(escape).take(LONGEST_LOGGED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_from_closed_lists() {
        for (matched, label) in [
            (None, UNMATCHED),
            (Some("/v1/generations/{id}/events"), "/v1/generations/{id}/events"),
            (Some("/"), "/"),
            (Some("/docs/"), "/docs/{*rest}"),
            (Some("/forgotten"), "other"),
        ] {
            assert_eq!(route(matched), label);
        }
        let odd = Method::from_bytes(b"BREW").expect("a method");
        assert_eq!([method(&Method::GET), method(&odd)], ["GET", "_OTHER"]);
    }

    #[test]
    fn a_logged_path_is_bounded_and_holds_neither_ids_nor_control_characters() {
        for (path, logged) in [
            ("/chat/completions", "/chat/completions"),
            ("/v1/v1/chat/completions", "/v1/v1/chat/completions"),
            ("/generations/AAAAAAAAAAAAAAAAAAAAAA/events", "/generations/AAAA…/events"),
            ("/a\u{85}b", "/a\\u{85}b"),
        ] {
            assert_eq!(loggable_path(path), logged);
        }
        assert_eq!(loggable_path(&"/a".repeat(1_000)).chars().count(), LONGEST_LOGGED);
    }
}
