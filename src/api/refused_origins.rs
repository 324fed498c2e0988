//! Logs which origins are refused, for the operator. The browser reports it only to its user.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tokio::time::Instant;

/// Logs each refused origin at most once a minute.
#[derive(Default)]
pub struct RefusedOrigins {
    logged: Mutex<HashMap<HeaderValue, Instant>>,
}

const PAUSE: Duration = Duration::from_mins(1);
/// The maximum number of origins that are tracked, and so of log lines per minute.
const MOST_ORIGINS: usize = 100;
/// The maximum number of bytes of an origin that are logged.
const MOST_LOGGED: usize = 200;
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl RefusedOrigins {
    /// Logs the origin of a request that was not allowed. A page of this service's own origin needs no permission.
    pub fn note(&self, origin: &HeaderValue, uri: &Uri, headers: &HeaderMap) {
        if is_own(origin, uri, headers) || !self.is_due(origin, Instant::now()) {
            return;
        }
        let shown = origin.as_bytes().get(..MOST_LOGGED).unwrap_or(origin.as_bytes()).escape_ascii();
        tracing::warn!(origin = %shown, "a page of this origin was refused: add the origin to cors.origins");
    }

    fn is_due(&self, origin: &HeaderValue, now: Instant) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < PAUSE;
        if logged.get(origin).is_some_and(is_recent) {
            return false;
        }
        if logged.len() >= MOST_ORIGINS {
            logged.retain(|_, at| is_recent(at));
        }
        let has_room = logged.len() < MOST_ORIGINS;
        if has_room {
            logged.insert(origin.clone(), now);
        }
        has_room
    }
}

/// Whether the page was loaded from this service. Browsers send `Origin` for such a page too if it sends a POST.
fn is_own(origin: &HeaderValue, uri: &Uri, headers: &HeaderMap) -> bool {
    let host = uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = host.or_else(|| headers.get(HOST).map(HeaderValue::as_bytes)).unwrap_or_default();
    let named = [&b"http://"[..], b"https://"].iter().find_map(|scheme| origin.as_bytes().strip_prefix(*scheme));
    let same_host = named.is_some_and(|named| !host.is_empty() && named.eq_ignore_ascii_case(host));
    // No page can write this header (WHATWG Fetch, section 2.2.2, forbidden request-headers).
    same_host || headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_logged_once_a_minute_and_the_number_of_lines_is_bounded() {
        let (origins, now) = (RefusedOrigins::default(), Instant::now());
        let origin =
            |number: usize| format!("https://{number}.example").parse::<HeaderValue>().expect("a header value");
        let lines = |numbers: std::ops::Range<usize>, now| {
            numbers.filter(|number| origins.is_due(&origin(*number), now)).count()
        };
        assert_eq!((lines(0..1, now), lines(0..1, now), lines(1..2, now)), (1, 0, 1));
        assert_eq!(lines(2..1000, now), MOST_ORIGINS - 2);
        assert_eq!(lines(0..1000, now + PAUSE), MOST_ORIGINS);
    }

    #[test]
    fn own_pages_have_own_origin() {
        let own = |origin: &'static str, host: &'static str| {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            is_own(&HeaderValue::from_static(origin), &Uri::from_static("/v1/models"), &headers)
        };
        assert!(own("http://127.0.0.1:8080", "127.0.0.1:8080") && own("https://llm.example", "LLM.example"));
        assert!(!own("http://127.0.0.1:5173", "127.0.0.1:8080") && !own("null", "localhost") && !own("http://", ""));
    }
}
