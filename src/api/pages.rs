//! The pages of the binary, the playground and Swagger UI, and the client that other pages import.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::openapi;

/// A page of the playground as `make` bundles it, or a page that explains how to build it, if `build.rs` finds none.
struct StaticPage {
    path: &'static str,
    html: &'static str,
    policy: &'static str,
}

macro_rules! page {
    ($path:literal, $name:literal) => {
        StaticPage {
            path: $path,
            html: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".html")),
            policy: include_str!(concat!(env!("OUT_DIR"), "/", $name, ".csp")),
        }
    };
}

static PLAYGROUND: [StaticPage; 5] = [
    page!("/", "playground"),
    page!("/playground/feed", "playground-feed"),
    page!("/playground/progress", "playground-progress"),
    page!("/playground/room", "playground-room"),
    page!("/playground/metrics", "playground-metrics"),
];

static DOCUMENT: LazyLock<String> = LazyLock::new(openapi::text);

const REFERRER_POLICY: HeaderName = HeaderName::from_static("referrer-policy");

/// Returns the routes of the playground, `/docs`, `/openapi.json` and `/tokenrill.js`.
pub fn pages<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let docs = SwaggerUi::new("/docs").config(Config::from("/openapi.json").try_it_out_enabled(true));
    let playground = PLAYGROUND
        .iter()
        .fold(Router::new(), |router, page| router.route(page.path, get(move || async move { page.response() })));
    playground.route("/openapi.json", get(document)).route("/tokenrill.js", get(client)).merge(docs)
}

/// The policy of Swagger UI, which sets its styles in attributes.
const OTHER_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Sets the security headers of every response: no content sniffing, no `Referer`, and for pages a content security
/// policy that allows only resources of this origin.
pub fn secure(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html")) {
        headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(OTHER_POLICY));
    }
}

impl StaticPage {
    fn response(&self) -> Response {
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, self.policy),
            (CACHE_CONTROL, "no-cache"),
        ];
        (headers, self.html).into_response()
    }
}

/// The client, an ES module.
async fn client() -> Response {
    let headers = [(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, "no-cache")];
    (headers, include_str!("../../client/tokenrill.js")).into_response()
}

async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}
