//! CORS: the pages of other origins that may call (WHATWG Fetch, section 3.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::response::Response;
use tokio::sync::watch;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer};

use super::allowance::{RATE_LIMIT, RATE_LIMIT_POLICY, X_RATE_LIMIT};
use super::refusal::{RETRY_AFTER_MS, X_SHOULD_RETRY};
use super::request_id::X_REQUEST_ID;
use super::sse::TOKENRILL_GENERATION;
use super::start::TOKENRILL_ATTACHED;
use super::state::Admission;

/// The origins whose pages may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Loopback on any port, for front-end development.
    Loopback,
    /// These origins (RFC 6454, section 6.2), compared byte by byte; `:*` after a loopback host matches every port.
    These(Arc<[String]>),
}

impl Origins {
    pub fn allow(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Loopback => loopback(origin).is_some(),
            Self::These(origins) => origins.iter().any(|allowed| match allowed.strip_suffix(":*") {
                Some(any_port) => {
                    loopback(origin).is_some_and(|(scheme, host)| any_port == format!("{scheme}://{host}"))
                }
                None => allowed.as_bytes() == origin.as_bytes(),
            }),
        }
    }
}

/// Builds the CORS layer. It adds no CORS headers for origins that are not allowed, so their browsers refuse the
/// request.
///
/// The requested headers are mirrored, because clients add many of their own; `*` would not cover `Authorization`.
/// Cookies are allowed if a cookie is configured as a credential.
pub fn cors(admission: watch::Receiver<Admission>) -> CorsLayer {
    let with_cookies = admission.clone();
    CorsLayer::new()
        .allow_credentials(AllowCredentials::predicate(move |origin, _| {
            let admission = with_cookies.borrow();
            admission.cookie.is_some() && admission.origins.allow(origin)
        }))
        .allow_origin(AllowOrigin::predicate(move |origin, _| admission.borrow().origins.allow(origin)))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED.into_iter().chain(X_RATE_LIMIT.into_iter().flatten()).collect::<Vec<_>>())
        .max_age(PREFLIGHT_MAX_AGE)
}

/// Whether the request may come from a page of another origin. Without an `Origin` header it does not, and needs no
/// CORS headers in its response.
pub fn is_of_a_page(request: &Request) -> bool {
    request.headers().contains_key(header::ORIGIN) || request.method() == Method::OPTIONS
}

/// Responds to preflights, and adds CORS headers to every other response to a page of another origin.
pub async fn with_cors<A: Future<Output = Response> + Send>(
    cors: &CorsLayer,
    request: Request,
    answer: impl FnOnce(Request) -> A,
) -> Response {
    // The layer calls the service at most once.
    let mut answer = Some(answer);
    let service = service_fn(|request| {
        let answer = answer.take().map(|answer| answer(request));
        async {
            let Some(answer) = answer else { return Ok::<_, Infallible>(Response::default()) };
            Ok(answer.await)
        }
    });
    // Boxed to keep the caller's future small: few requests come from pages of other origins.
    let Ok(response) = Box::pin(cors.layer(service).oneshot(request)).await;
    response
}

/// Adds `Vary: origin`, because the response to a page of another origin may differ (RFC 9111, section 4.1).
pub fn without_cors(mut response: Response) -> Response {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    response
}

const EXPOSED: [HeaderName; 11] = [
    X_REQUEST_ID,
    TOKENRILL_GENERATION,
    TOKENRILL_ATTACHED,
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    RETRY_AFTER_MS,
    X_SHOULD_RETRY,
    PREFERENCE_APPLIED,
    RATE_LIMIT,
    RATE_LIMIT_POLICY,
];
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// The longest time for which any browser caches a preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_hours(2);

/// Returns the scheme and host of an origin on loopback.
fn loopback(origin: &HeaderValue) -> Option<(String, String)> {
    let uri = origin.to_str().ok()?.parse::<Uri>().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let host = uri.host().filter(|host| matches!(*host, "localhost" | "127.0.0.1" | "[::1]"))?;
    Some((scheme.to_owned(), host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognized_by_the_exact_host_only() {
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
            assert_eq!(Origins::Loopback.allow(&HeaderValue::from_static(origin)), allowed, "{origin}");
        }
    }

    #[test]
    fn listed_origin_is_allowed_only_on_an_exact_match() {
        let origins = Origins::These(["https://app.example".to_owned(), "http://localhost:*".to_owned()].into());
        for (origin, allowed) in [
            ("https://app.example", true),
            ("http://localhost:5173", true),
            ("http://localhost", true),
            ("https://localhost:5173", false),
            ("http://127.0.0.1:5173", false),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil.example", false),
            ("https://evil-app.example", false),
            ("https://APP.example", false),
            ("http://localhost.evil.example:5173", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(origins.allow(&HeaderValue::from_static(origin)), allowed, "{origin}");
        }
        assert!(!Origins::These([].into()).allow(&HeaderValue::from_static("http://localhost")));
    }
}
