//! The pages of the binary: the playground and Swagger UI.

use std::sync::LazyLock;

use axum::Router;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::openapi;

/// The playground as `make` bundles it, or the page that says how to build it: `build.rs` decides.
const PLAYGROUND: &str = include_str!(concat!(env!("OUT_DIR"), "/playground.html"));
const PLAYGROUND_POLICY: &str = include_str!(concat!(env!("OUT_DIR"), "/playground.csp"));

static DOCUMENT: LazyLock<String> = LazyLock::new(openapi::text);

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");

/// `/`, `/docs` and `/openapi.json`.
pub fn pages<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let docs = SwaggerUi::new("/docs").config(Config::from("/openapi.json").try_it_out_enabled(true));
    Router::new().route("/", get(playground)).route("/openapi.json", get(document)).merge(docs)
}

async fn playground() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, PLAYGROUND_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, PLAYGROUND).into_response()
}

async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}
