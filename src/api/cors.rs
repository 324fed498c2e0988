//! Which pages of other origins may call (WHATWG Fetch, section 3.2).

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use super::refusal::{RETRY_AFTER_MS, X_SHOULD_RETRY};
use super::request_id::X_REQUEST_ID;
use super::sse::TOKENRILL_GENERATION;
use super::start::TOKENRILL_ATTACHED;

/// Pages from loopback, on any port: what a front-end developer serves. Others are told nothing, so
/// their browsers refuse.
///
/// The headers that a page asks for are allowed as asked, because clients bring many of their own;
/// never `*`, which would not cover `Authorization`.
pub fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(|origin, _| is_loopback(origin)))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            X_REQUEST_ID,
            TOKENRILL_GENERATION,
            TOKENRILL_ATTACHED,
            header::LOCATION,
            header::RETRY_AFTER,
            RETRY_AFTER_MS,
            X_SHOULD_RETRY,
            PREFERENCE_APPLIED,
        ])
        .max_age(PREFLIGHT_KEPT)
}

const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// As long as any browser keeps it.
const PREFLIGHT_KEPT: Duration = Duration::from_hours(2);

fn is_loopback(origin: &HeaderValue) -> bool {
    let Some(uri) = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok()) else { return false };
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    scheme && matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_what_the_host_says_and_not_what_it_looks_like() {
        for (origin, allowed) in [
            ("http://localhost:5173", true),
            ("https://127.0.0.1", true),
            ("http://[::1]:3000", true),
            ("http://localhost.evil.example", false),
            ("http://evil.example/localhost", false),
            ("http://localhost@evil.example", false),
            ("null", false),
            ("file://localhost", false),
            ("https://example.com", false),
        ] {
            assert_eq!(is_loopback(&HeaderValue::from_static(origin)), allowed, "{origin}");
        }
    }
}
