//! CORS: the pages of other origins that may call (WHATWG Fetch, section 3.2).

use std::time::Duration;

use axum::http::{HeaderName, Method, header};
use tokio::sync::watch;
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowOrigin, CorsLayer};

use super::admission::Admission;
use super::headers::{
    PREFERENCE_APPLIED, RATE_LIMIT, RATE_LIMIT_POLICY, REQUEST_ID, RETRY_AFTER_MS, TOKENRILL_ATTACHED,
    TOKENRILL_GENERATION, X_RATE_LIMIT, X_REQUEST_ID, X_SHOULD_RETRY,
};
use super::refused_origins::RefusedOrigins;

/// Builds the CORS layer. It does not allow origins that are not listed, so their browsers refuse the request, and logs
/// them.
///
/// The requested headers are mirrored, because clients add many of their own; `*` would not cover `Authorization`.
/// Cookies are allowed if a cookie is configured as a credential.
pub fn cors(admission: watch::Receiver<Admission>) -> CorsLayer {
    let (with_cookies, refused) = (admission.clone(), RefusedOrigins::default());
    CorsLayer::new()
        .allow_credentials(AllowCredentials::predicate(move |origin, _| {
            let admission = with_cookies.borrow();
            admission.cookie.is_some() && admission.origins.allow(origin)
        }))
        .allow_origin(AllowOrigin::predicate(move |origin, head| {
            let allowed = admission.borrow().origins.allow(origin);
            if !allowed {
                refused.note(origin, &head.uri, &head.headers);
            }
            allowed
        }))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED.into_iter().chain(X_RATE_LIMIT.into_iter().flatten()).collect::<Vec<_>>())
        .max_age(PREFLIGHT_MAX_AGE)
        // Caches do not store preflights (RFC 9110, section 9.3.7), so their headers need no mention.
        .vary([header::ORIGIN])
}

const EXPOSED: [HeaderName; 12] = [
    X_REQUEST_ID,
    REQUEST_ID,
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
