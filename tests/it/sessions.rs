//! A token in a cookie authenticates, and no foreign page can use it (CSRF).

use std::collections::BTreeMap;

use reqwest::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, COOKIE, ORIGIN,
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokenrill::auth::NewKey;
use tokenrill::settings::{ApiKeySettings, JwtSettings, Settings};

use crate::support::issuer::{SECRET, claims, hs256, now, trusting};
use crate::support::{Answer, Service};

const PAGE: &str = "https://app.example";
const JSON: &str = "application/json";

fn settings() -> Settings {
    let mut settings = trusting(JwtSettings { secret_env: Some("SECRET".to_owned()), ..JwtSettings::default() });
    settings.auth.cookie = Some("session".to_owned());
    settings.cors.origins = Some(vec![PAGE.to_owned()]);
    settings
}

async fn service(settings: Settings) -> Service {
    Service::in_environment(settings, BTreeMap::from([("SECRET".to_owned(), SECRET.to_owned())])).await
}

fn token(but: &Value) -> String {
    hs256(SECRET.as_bytes(), &json!({"alg": "HS256"}), &claims(but))
}

/// A request with the session in a cookie.
fn with_session(service: &Service, method: Method, path: &str) -> RequestBuilder {
    service.request(method, path).header(COOKIE, format!("theme=dark; session={}", token(&json!({}))))
}

async fn status(request: RequestBuilder) -> u16 {
    Answer::to(request).await.status
}

#[tokio::test]
async fn cookie_request_that_changes_state_needs_a_listed_origin_and_json() {
    let service = service(settings()).await;
    let body = json!({"input": "Hello", "model": "demo?tokens=3&rate=max", "on_disconnect": "continue"}).to_string();
    let post = || with_session(&service, Method::POST, "/v1/generations").body(body.clone());

    for (what, request) in [
        ("no origin", post().header(CONTENT_TYPE, JSON)),
        ("two origins", post().header(CONTENT_TYPE, JSON).header(ORIGIN, PAGE).header(ORIGIN, PAGE)),
        ("no page but a link", post().header(CONTENT_TYPE, JSON).header("sec-fetch-site", "none")),
        ("a neighbour", post().header(CONTENT_TYPE, JSON).header("sec-fetch-site", "same-site")),
        ("a stranger", post().header(CONTENT_TYPE, JSON).header("sec-fetch-site", "cross-site")),
    ] {
        assert_eq!(status(request).await, 403, "{what}");
    }
    for origin in [
        "https://evil.example",
        "https://app.example.evil.example",
        "https://evil-app.example",
        "https://app.example:8443",
        "https://app.example/",
        "https://APP.example",
        "http://app.example",
        "http://localhost",
        "null",
        "*",
        "",
        "https://app.example https://evil.example",
        "https://app.example, https://evil.example",
    ] {
        let answer = Answer::to(post().header(CONTENT_TYPE, JSON).header(ORIGIN, origin)).await;
        assert_eq!(answer.status, 403, "{origin}");
        for header in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS] {
            assert_eq!(answer.header(header.as_str()), "", "{origin}");
        }
    }
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain; application/json"]
    {
        for path in ["/v1/generations", "/v1/chat/completions", "/v1/tickets", "/v1/generations/any/cancel"] {
            let request = with_session(&service, Method::POST, path).body(body.clone()).header(ORIGIN, PAGE);
            assert_eq!(status(request.header(CONTENT_TYPE, kind)).await, 415, "{kind} {path}");
        }
    }
    for (method, path) in [(Method::DELETE, "/v1/generations/any"), (Method::POST, "/v1/generations/any/cancel")] {
        assert_eq!(status(with_session(&service, method.clone(), path)).await, 403, "{method} from nowhere");
        assert_eq!(status(with_session(&service, method.clone(), path).header(ORIGIN, PAGE)).await, 404, "{method}");
    }
    let list = || with_session(&service, Method::GET, "/v1/generations");
    let begun = async || Answer::to(list()).await.json().await["data"].as_array().map(Vec::len);
    assert_eq!(begun().await, Some(0), "the refused requests started nothing");

    let answer = Answer::to(post().header(CONTENT_TYPE, JSON).header(ORIGIN, PAGE)).await;
    assert_eq!((answer.status, answer.header(ACCESS_CONTROL_ALLOW_ORIGIN.as_str())), (200, PAGE),);
    assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_CREDENTIALS.as_str()), "true");
    answer.events().await;
    let own =
        post().header(CONTENT_TYPE, JSON).header(ORIGIN, "https://api.example").header("sec-fetch-site", "same-origin");
    let answer = Answer::to(own).await;
    assert_eq!(answer.status, 200, "a page of this service's own origin");
    answer.events().await;
    assert_eq!(begun().await, Some(2));

    // Reads are accepted from any origin, but CORS hides the response from a foreign page.
    let foreign = Answer::to(list().header(ORIGIN, "https://evil.example")).await;
    assert_eq!((foreign.status, foreign.header(ACCESS_CONTROL_ALLOW_ORIGIN.as_str())), (200, ""));
    for (origin, allowed) in [(PAGE, "true"), ("https://evil.example", "")] {
        let preflight = service.request(Method::OPTIONS, "/v1/generations").header(ORIGIN, origin);
        let preflight = preflight.header(ACCESS_CONTROL_REQUEST_METHOD, "POST");
        let answer = Answer::to(preflight.header(ACCESS_CONTROL_REQUEST_HEADERS, "content-type")).await;
        assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_CREDENTIALS.as_str()), allowed, "{origin}");
    }
}

#[tokio::test]
async fn first_credential_present_decides() {
    let new = NewKey::random().expect("random bytes");
    let mut settings = settings();
    settings.auth.api_keys.push(ApiKeySettings {
        name: "web".into(),
        hash: new.hash.to_string(),
        ..ApiKeySettings::default()
    });
    let service = service(settings).await;
    let (good, expired) = (token(&json!({})), token(&json!({"exp": now() - 60})));
    let cookie = |cookie: String| service.request(Method::GET, "/v1/models").header(COOKIE, cookie);
    let session = |token: &str| cookie(format!("session={token}"));
    for (what, request, expected) in [
        ("a session", session(&good), 200),
        ("one that has expired", session(&expired), 401),
        ("an empty one", session(""), 401),
        ("another cookie", cookie(format!("token={good}")), 401),
        ("two of them", cookie(format!("session={good}; session={good}")), 401),
        ("a key", session(&new.key), 401),
        ("one behind a bad bearer", session(&good).bearer_auth("bad"), 401),
        ("one behind a bad key", session(&good).header("x-api-key", "bad"), 401),
        ("an expired one behind a good bearer", session(&expired).bearer_auth(&good), 200),
        ("an expired one behind a good key", session(&expired).header("x-api-key", &new.key), 200),
        ("one before a bad ticket", session(&good).query(&[("ticket", "bad")]), 200),
        ("an expired one before a ticket", session(&expired).query(&[("ticket", "bad")]), 401),
    ] {
        assert_eq!(status(request).await, expected, "{what}");
    }
}

#[tokio::test]
async fn cookies_are_ignored_without_a_configured_cookie_name() {
    let mut settings = settings();
    settings.auth.cookie = None;
    let service = service(settings).await;
    let answer = Answer::to(with_session(&service, Method::GET, "/v1/generations").header(ORIGIN, PAGE)).await;
    assert_eq!((answer.status, answer.header(ACCESS_CONTROL_ALLOW_CREDENTIALS.as_str())), (401, ""));
}
