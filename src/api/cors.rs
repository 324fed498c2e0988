//! CORS: the pages of other origins that may call (WHATWG Fetch, section 3.2).

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use tokio::sync::watch;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer};

use super::admission::Admission;
use super::headers::{
    PREFERENCE_APPLIED, RATE_LIMIT, RATE_LIMIT_POLICY, RETRY_AFTER_MS, TOKENRILL_ATTACHED, TOKENRILL_GENERATION,
    X_RATE_LIMIT, X_REQUEST_ID, X_SHOULD_RETRY,
};

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
pub fn may_be_cross_origin(request: &Request) -> bool {
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
/// The longest time for which any browser caches a preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_hours(2);
