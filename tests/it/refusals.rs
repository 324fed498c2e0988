//! Refused requests: their status, problem and event, and that they leave nothing running.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream;
use reqwest::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN,
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokenrill::api::wire::native::FailedData;
use tokenrill::settings::{AuthMode, AuthSettings, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::ServiceExt;

use crate::support::{Answer, Service, Upstream, in_process, soon};

const PAGE: &str = "http://localhost:5173";
/// A value in requests that no response may repeat.
const HUNTER2: &str = "hunter2";

/// A body that must be refused, with the expected refusal.
struct Bad {
    what: String,
    content_type: Option<HeaderValue>,
    body: Vec<u8>,
    status: u16,
    code: &'static str,
    pointers: Vec<String>,
}

impl Bad {
    fn new(what: impl Into<String>, body: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Self {
        let content_type = Some(HeaderValue::from_static("application/json"));
        Self { what: what.into(), content_type, body: body.into(), status, code, pointers: Vec::new() }
    }

    fn json(what: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::new(what, body, 400, "invalid_json")
    }

    fn field(pointer: &str, body: &Value) -> Self {
        Self::fields(&[pointer], body)
    }

    fn fields(pointers: &[&str], body: &Value) -> Self {
        let pointers = pointers.iter().map(ToString::to_string).collect();
        let what: String = body.to_string().chars().take(200).collect();
        Self { pointers, ..Self::new(what, body.to_string(), 400, "invalid_request") }
    }

    fn content_type(content_type: Option<&[u8]>) -> Self {
        let what = format!("content type {:?}", content_type.map(String::from_utf8_lossy));
        let content_type = content_type.map(|value| HeaderValue::from_bytes(value).expect("a header value"));
        Self { content_type, ..Self::new(what, GOOD, 415, "unsupported_media_type") }
    }

    fn request(&self, service: &Service) -> RequestBuilder {
        let request = service.request(Method::POST, "/v1/generations").header(ORIGIN, PAGE).body(self.body.clone());
        self.content_type.iter().fold(request, |request, value| request.header(CONTENT_TYPE, value))
    }
}

const GOOD: &str = r#"{"input":"Hello","model":"m"}"#;

/// For each documented field, values that no provider accepts.
const WRONG: &[(&str, &[&str])] = &[
    ("input", &["5", "true", "[]", "{}", r#""""#]),
    ("messages", &["5", "true", "{}", r#""hunter2""#]),
    ("model", &["5", "true", "[]", "{}", r#""""#]),
    ("on_disconnect", &["5", "true", "[]", "{}", r#""hunter2""#, r#""Cancel""#]),
    ("on_upstream_failure", &["5", "true", "[]", "{}", r#""hunter2""#, r#""Restart""#]),
    ("store", &["5", "[]", "{}", r#""true""#]),
    ("stream", &["5", "[]", "{}", r#""true""#]),
    ("grace_ms", &["-1", "0.5", "true", "[]", r#""5""#]),
    ("max_queue_ms", &["-1", "0.5", "true", "[]", r#""5""#]),
    ("prompt", &["5", "true", "[]", r#""a""#, r#"{"id":"a","template":"x"}"#]),
    ("channel", &["5", "true", "[]", r#""""#, r#""a b""#]),
    ("metadata", &["5", "true", "[]", r#""hunter2""#]),
    ("temperature", &["true", "[]", "{}", r#""0.5""#]),
    ("top_p", &["true", "[]", "{}", r#""0.5""#]),
    ("frequency_penalty", &["true", "[]", "{}", r#""0.5""#]),
    ("presence_penalty", &["true", "[]", "{}", r#""0.5""#]),
    ("max_tokens", &["0", "-2", "0.5", "true", r#""5""#]),
    ("max_completion_tokens", &["0", "-2", "0.5", "true", r#""5""#]),
    ("n", &["0", "-1", "0.5", "18446744073709551616", "true", r#""5""#]),
    ("seed", &["0.5", "1e30", "true", r#""5""#]),
    ("stop", &["5", "true", "{}"]),
    ("logprobs", &["5", "[]", r#""true""#]),
    ("top_logprobs", &["-1", "0.5", "true", r#""5""#]),
    ("logit_bias", &["5", "true", "[]", r#""hunter2""#]),
    ("tool_choice", &["5", "true", "[]"]),
    ("tools", &["5", "true", "{}", r#""hunter2""#]),
    ("parallel_tool_calls", &["5", "[]", r#""true""#]),
    ("response_format", &["5", "true", "[]", r#""json""#]),
    ("reasoning_effort", &["5", "true", "[]", "{}"]),
    ("stream_options", &["5", "true", "[]", r#""hunter2""#]),
    ("user", &["5", "true", "[]", "{}"]),
    ("verbosity", &["5", "true", "[]", "{}"]),
];

/// Fields that would direct this service, or an upstream that is itself a gateway, to another server.
const STEERING: &[&str] = &[
    "api_base",
    "api_key",
    "api_type",
    "api_version",
    "azure_ad_token",
    "azure_endpoint",
    "base_url",
    "custom_llm_provider",
    "default_headers",
    "default_query",
    "extra_body",
    "extra_headers",
    "extra_query",
    "headers",
    "organization",
    "proxies",
    "proxy",
];

/// Bad requests to a service that serves every model and has no default model.
fn bad_requests() -> Vec<Bad> {
    let mut bad = vec![
        Bad::json("nothing", ""),
        Bad::json("no JSON", "hunter2"),
        Bad::json("JavaScript", "{input: 'hunter2'}"),
        Bad::json("a truncated object", r#"{"input":"hunter2"#),
        Bad::json("two objects", r#"{"input":"a"}{"input":"b"}"#),
        Bad::json("a byte order mark", "\u{feff}{\"input\":\"a\"}"),
        Bad::json("UTF-16", b"{\0\"\0i\0n\0p\0u\0t\0\"\0:\0\"\0a\0\"\0}\0"),
        Bad::json("no UTF-8 in a value", b"{\"input\":\"\xff\xfe\"}"),
        Bad::json("half a character", b"{\"input\":\"\xf0\x9f\x98\"}"),
        Bad::json("no UTF-8 in a name", b"{\"input\":\"a\",\"\xc3\x28\":1}"),
        Bad::json("a raw line feed in a string", "{\"input\":\"a\nb\"}"),
        Bad::json("a lone high surrogate", r#"{"input":"\ud83d"}"#),
        Bad::json("a lone low surrogate", r#"{"input":"\ude00"}"#),
        Bad::json("a surrogate pair the wrong way round", r#"{"input":"\ude00\ud83d"}"#),
        Bad::json("a number beyond all numbers", r#"{"input":"a","temperature":1e400}"#),
        Bad::json("another, where nobody looks", r#"{"input":"a","vendor":[-1e400]}"#),
        Bad::json("NaN", r#"{"input":"a","temperature":NaN}"#),
        Bad::json("10,000 arrays", "[".repeat(10_000)),
        Bad::json("10,000 objects", r#"{"a":"#.repeat(10_000)),
        Bad {
            pointers: vec![String::new()],
            ..Bad::new("10,000 arrays, closed", "[".repeat(10_000) + &"]".repeat(10_000), 400, "invalid_request")
        },
        Bad::json(
            "10,000 arrays in a message",
            format!(r#"{{"messages":[{{"role":"user","content":{}{}}}]}}"#, "[".repeat(10_000), "]".repeat(10_000)),
        ),
        Bad::new("no model where there is no default", r#"{"input":"hunter2"}"#, 400, "model_required"),
    ];

    bad.extend(
        ["null", "true", "5", r#""hunter2""#, "[]", r#"[{"input":"a"}]"#]
            .map(|body| Bad { pointers: vec![String::new()], ..Bad::new(body, body, 400, "invalid_request") }),
    );

    for (field, values) in WRONG {
        for value in *values {
            let value: Value = serde_json::from_str(value).expect("JSON");
            let mut body = if *field == "messages" { json!({}) } else { json!({"input": "a"}) };
            body[*field] = value;
            bad.push(Bad::field(&format!("/{field}"), &body));
        }
    }

    bad.extend([
        Bad::field("/messages", &json!({})),
        Bad::field("/messages", &json!({"model": "m"})),
        Bad::field("/messages", &json!({"input": null, "messages": null})),
        Bad::field("/input", &json!({"input": "a", "messages": [{"role": "user", "content": "a"}]})),
        Bad::field("/messages", &json!({"messages": []})),
        Bad::field("/messages/0", &json!({"messages": [HUNTER2]})),
        Bad::field("/messages/0", &json!({"messages": [null]})),
        Bad::field("/messages/0/role", &json!({"messages": [{}]})),
        Bad::field("/messages/0/role", &json!({"messages": [{"role": 5, "content": "a"}]})),
        Bad::field("/messages/1/role", &json!({"messages": [{"role": "user", "content": "a"}, {"role": ""}]})),
        Bad::field("/model", &json!({"input": "a", "model": HUNTER2.repeat(74)})),
        Bad::fields(&["/n", "/messages/0/role"], &json!({"n": 0, "messages": [{"content": HUNTER2}]})),
    ]);
    // The number of reported errors is bounded.
    let roles: Vec<_> = (0..16).map(|at| format!("/messages/{at}/role")).collect();
    let roles: Vec<_> = roles.iter().map(String::as_str).collect();
    bad.push(Bad::fields(&roles, &json!({"messages": vec![json!({}); 100_000]})));

    for field in STEERING {
        bad.push(Bad::field(&format!("/{field}"), &json!({"input": "a", *field: format!("http://{HUNTER2}.example")})));
        bad.push(Bad::field(&format!("/{field}"), &json!({"input": "a", *field: null})));
    }

    let many = |pairs| (0..pairs).map(|at| (at.to_string(), json!(HUNTER2))).collect::<serde_json::Map<_, _>>();
    for metadata in [
        json!(many(17)),
        json!(many(100_000)),
        json!({"k".repeat(65): "a"}),
        json!({"a": "v".repeat(513)}),
        json!({"a": 5}),
        json!({"a": null}),
        json!({"a": {"b": HUNTER2}}),
    ] {
        bad.push(Bad::field("/metadata", &json!({"input": "a", "metadata": metadata})));
    }
    bad.push(Bad::field("/messages", &Value::Object(many(100_000))));

    bad.extend(
        [
            None,
            Some(""),
            Some(";"),
            Some("json"),
            Some("text/plain"),
            Some("text/plain, application/json"),
            Some("application/x-www-form-urlencoded"),
            Some("multipart/form-data; boundary=application/json"),
            Some("application/jsonl"),
            Some("application/merge-patch+json"),
            Some("application /json"),
        ]
        .map(|value| Bad::content_type(value.map(str::as_bytes))),
    );
    bad.push(Bad::content_type(Some(b"application/json\xff")));
    bad
}

#[tokio::test]
async fn bad_request_is_refused_as_problem_and_event_and_starts_nothing() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.models.default = None;
    let service = Service::with(settings).await;
    let address = upstream.address.to_string();

    for bad in bad_requests() {
        let problem = refused(bad.request(&service), bad.status, bad.code, &bad.what).await;
        assert_eq!(pointers(&problem), bad.pointers, "{}: {problem}", bad.what);
        let text = problem.to_string();
        assert!(!text.contains(&address) && text.len() < 4096, "{}: {text}", bad.what);
        assert_nothing_is_running(&service, &bad.what).await;
        assert!(!upstream.was_called(), "{}: the upstream was called", bad.what);
    }

    let answer = service.generate(&json!({"input": "Hello", "model": "m"})).await;
    upstream.call().await.answer(&["Hi"]).await;
    assert_eq!(answer.events().await.last().map(|event| event.name.clone()).as_deref(), Some("done"));
}

/// Fails if `WRONG` lacks a field of the OpenAPI document.
#[test]
fn every_documented_field_is_tested_with_wrong_values() {
    let document = tokenrill::api::openapi::document();
    let parts = document["components"]["schemas"]["NewGeneration"]["allOf"].as_array().expect("parts");
    let properties = parts.iter().map(|part| part["properties"].as_object().expect("properties"));
    let documented: BTreeSet<_> = properties.flat_map(|properties| properties.keys().map(String::as_str)).collect();
    assert_eq!(WRONG.iter().map(|(field, _)| *field).collect::<BTreeSet<_>>(), documented);
}

#[tokio::test]
async fn unusual_but_valid_requests_are_accepted() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let many: serde_json::Map<_, _> = (0..100_000).map(|at| (format!("vendor_{at}"), json!(at))).collect();
    let mut many = Value::Object(many);
    many["input"] = json!("a");
    let deep = format!(r#"{{"input":"a","vendor":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    for (content_type, body) in [
        ("application/json", r#"{"input":"\u0000\u2028\ud83d\ude00","metadata":{}}"#.to_owned()),
        ("application/json, application/json", r#"{"input":"a"}"#.to_owned()),
        ("application/json;charset=utf-8, application/json;charset=utf-8", r#"{"input":"a"}"#.to_owned()),
        ("Application/JSON ; charset=UTF-8", " \r\n\t{\"input\":\"a\"}\n".to_owned()),
        ("application/json", r#"{"input":"a","temperature":1e-400,"seed":-9223372036854775808,"n":null}"#.to_owned()),
        ("application/json", deep),
        ("application/json", many.to_string()),
    ] {
        let request = service.request(Method::POST, "/v1/generations").header(CONTENT_TYPE, content_type);
        let answer = Answer::to(request.body(body)).await;
        upstream.call().await.answer(&["Hi"]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.events().await.last().map(|event| event.name.clone()).as_deref(), Some("done"));
    }
}

#[tokio::test]
async fn unknown_model_returns_404() {
    let service = Service::start().await;
    for model in ["no-such-model", "Demo", "demo2", "demo/x", "hunter2\r\nx: y", "\u{2028}"] {
        let request = service.generation(&json!({"input": "a", "model": model})).header(ORIGIN, PAGE);
        let problem = refused(request, 404, "model_not_found", model).await;
        assert_eq!(pointers(&problem), [""; 0]);
        assert_nothing_is_running(&service, model).await;
    }
}

#[tokio::test]
async fn unsupported_accept_header_returns_406() {
    let service = Service::start().await;
    for accept in ["text/html", "image/png, text/csv", "application/xml;q=0.9", "application/problem+json"] {
        let request = Bad::new(accept, GOOD, 406, "not_acceptable").request(&service).header("accept", accept);
        as_problem(Answer::to(request).await, 406, "not_acceptable", accept).await;
        assert_nothing_is_running(&service, accept).await;
    }

    let running = service.generate(&json!({"input": "a", "model": "demo?stall_at=1"})).await;
    let path = format!("/v1/generations/{}/events", running.header("tokenrill-generation"));
    for accept in ["application/json", "text/html", "application/*"] {
        let request = service.request(Method::GET, &path).header(ORIGIN, PAGE).header("accept", accept);
        as_problem(Answer::to(request).await, 406, "not_acceptable", accept).await;
    }
}

#[tokio::test]
async fn invalid_positions_and_queries_are_refused() {
    let service = Service::start().await;
    let running = service.generate(&json!({"input": "a", "model": "demo?stall_at=1", "grace_ms": 0})).await;
    let id = running.header("tokenrill-generation").to_owned();
    let path = format!("/v1/generations/{id}/events");
    for query in [
        "after=",
        "after=x",
        "after=-1",
        "after=01",
        "after=1.0",
        "after=99999999999999999999",
        "after=%F0%9F%98",
        "after=1&after=2",
        "After=1",
        "format=hunter2",
        "replay=hunter2",
        "replay=snapshot&format=openai",
        "after=1&cursor=hunter2",
        "=",
    ] {
        let request = service.request(Method::GET, &format!("{path}?{query}")).header(ORIGIN, PAGE);
        refused(request, 400, "invalid_request", query).await;
    }
    for query in ["after=x", "wait=20", "wait=-1s", "wait=hunter2", "wait=1s&wait=1s", "replay=snapshot"] {
        let request = service.request(Method::GET, &format!("/v1/generations/{id}?{query}")).header(ORIGIN, PAGE);
        refused(request, 400, "invalid_request", query).await;
    }
    for query in
        ["status=hunter2", "status=Done", "limit=0", "limit=101", "limit=x", "cursor=", "cursor=hunter2", "x=1"]
    {
        let request = service.request(Method::GET, &format!("/v1/generations?{query}")).header(ORIGIN, PAGE);
        refused(request, 400, "invalid_request", query).await;
    }
    let (generation, _) = id.rsplit_once('_').expect("gen_");
    for position in
        ["hunter2", "1", ".1", &format!("{id}."), &format!("{id}.x"), &format!("{id}.01"), "gen_.1", generation]
    {
        let follow = service.request(Method::GET, &path).header(ORIGIN, PAGE).header("last-event-id", position);
        refused(follow, 404, "generation_not_found", position).await;
        let again = service.generation(&json!({"input": "a"})).header(ORIGIN, PAGE).header("last-event-id", position);
        refused(again, 404, "generation_not_found", position).await;
    }
    assert_eq!(
        service.metric("tokenrill_generations_live").await.to_bits(),
        1f64.to_bits(),
        "no generation was started"
    );
    drop(running);
    assert_nothing_is_running(&service, "positions").await;
}

#[tokio::test]
async fn invalid_idempotency_key_or_grace_header_is_refused() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let good = json!({"input": "Hello"});
    let long = "x".repeat(256);
    for key in [&b""[..], b" ", b"a b", "hunter2\u{fc}".as_bytes(), long.as_bytes()] {
        let key = HeaderValue::from_bytes(key).expect("a header value");
        let request = service.generation(&good).header(ORIGIN, PAGE).header("idempotency-key", &key);
        refused(request, 400, "invalid_request", &format!("{key:?}")).await;
    }
    let twice = service.generation(&good).header(ORIGIN, PAGE).header("idempotency-key", "a");
    refused(twice.header("idempotency-key", "a"), 400, "invalid_request", "two keys").await;

    let chat = json!({"messages": [{"role": "user", "content": "Hello"}]});
    for grace in ["", "-1", "1.5", "1s", "+1", "99999999999999999999"] {
        let request = service.request(Method::POST, "/v1/chat/completions").header(CONTENT_TYPE, "application/json");
        let answer = Answer::to(request.body(chat.to_string()).header("tokenrill-grace-ms", grace)).await;
        assert_eq!(answer.status, 400, "{grace}");
        assert_eq!(answer.json().await["error"]["code"], "invalid_request", "{grace}");
    }
    assert_nothing_is_running(&service, "headers").await;
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn unknown_path_returns_404_and_wrong_method_returns_405_with_allow() {
    let service = Service::start().await;
    for path in ["/nope", "/v1", "/v1/generations//", "/v2/generations", "/v1/generations/x/y", "//", "/.env"] {
        refused(service.request(Method::GET, path).header(ORIGIN, PAGE), 404, "route_not_found", path).await;
    }
    for (method, path, allowed) in [
        (Method::PUT, "/v1/generations", "GET,HEAD,POST"),
        (Method::PATCH, "/v1/generations/gen_AAAAAAAAAAAAAAAAAAAAAA", "GET,HEAD,DELETE"),
        (Method::POST, "/v1/generations/gen_AAAAAAAAAAAAAAAAAAAAAA/events", "GET,HEAD"),
        (Method::GET, "/v1/generations/gen_AAAAAAAAAAAAAAAAAAAAAA/cancel", "POST"),
        (Method::DELETE, "/healthz", "GET,HEAD"),
        (Method::POST, "/metrics", "GET,HEAD"),
        (Method::POST, "/openapi.json", "GET,HEAD"),
        (Method::POST, "/", "GET,HEAD"),
    ] {
        let what = format!("{method} {path}");
        let request = || service.request(method.clone(), path).header(ORIGIN, PAGE);
        refused(request(), 405, "method_not_allowed", &what).await;
        let answer = Answer::to(request()).await;
        let said: BTreeSet<_> = answer.header("allow").split(',').map(str::trim).collect();
        assert_eq!(said, allowed.split(',').collect::<BTreeSet<_>>(), "{what}");
    }
    assert_nothing_is_running(&service, "paths").await;
}

#[tokio::test]
async fn unknown_path_gets_a_hint_that_openai_sdks_also_show() {
    let service = Service::start().await;
    let base = format!("Set the SDK's base URL to http://{}/v1.", service.address);
    for (method, path, hint) in [
        (Method::GET, "/models", format!("Is /v1 missing? {base}")),
        (Method::POST, "/v1/v1/chat/completions", format!("This path contains /v1 twice. {base}")),
        (Method::POST, "/api/chat", "Use POST /v1/chat/completions.".to_owned()),
    ] {
        let request = service.request(method, path).header(CONTENT_TYPE, "application/json").body("{}");
        let answer = Answer::to(request).await;
        assert_eq!((answer.status, answer.header("content-type")), (404, "application/problem+json"), "{path}");
        let said = answer.json().await;
        assert!(said["detail"].as_str().is_some_and(|detail| detail.contains(&hint)), "{path}: {said}");
        assert_eq!(said["code"], "route_not_found", "{path}");
        let error = json!({
            "message": said["detail"], "type": "invalid_request_error", "param": null, "code": "route_not_found",
        });
        assert_eq!(said["error"], error, "{path}");
    }
}

#[tokio::test]
async fn path_that_is_not_offered_gets_a_hint_in_the_dialect_of_its_sdk() {
    let service = Service::start().await;
    let base = format!("http://{}", service.address);
    for (path, hint) in [
        ("/v1/completions", "Use POST /v1/chat/completions.".to_owned()),
        ("/v1/assistants/asst_1", "send all messages".to_owned()),
        ("/v1/threads/t/runs", "send all messages".to_owned()),
        ("/v1/images/generations", "a model that writes images".to_owned()),
        ("/v1/audio/speech", "reads or writes audio".to_owned()),
        ("/v1/files", "as parts of a message".to_owned()),
        ("/v1/batches", "one by one".to_owned()),
        ("/v1/moderations", "Ask a model".to_owned()),
        ("/chat/completions", format!("Is /v1 missing? Set the SDK's base URL to {base}/v1.")),
        ("/embeddings", format!("Is /v1 missing? Set the SDK's base URL to {base}/v1.")),
    ] {
        let request = service.request(Method::POST, path).header(CONTENT_TYPE, "application/json").body("{}");
        let answer = Answer::to(request).await;
        assert_eq!((answer.status, answer.header("content-type")), (404, "application/json"), "{path}");
        let said = answer.json().await;
        assert_eq!(said["error"]["code"], "route_not_found", "{path}");
        assert!(said["error"]["message"].as_str().is_some_and(|message| message.contains(&hint)), "{path}: {said}");
    }
    for (path, hint) in [
        ("/v1/complete", "Use POST /v1/messages.".to_owned()),
        ("/v1/messages/batches", "there are no batches".to_owned()),
        ("/messages", format!("Is /v1 missing? Set the SDK's base URL to {base}.")),
    ] {
        let request = service.request(Method::POST, path).header(CONTENT_TYPE, "application/json").body("{}");
        let answer = Answer::to(request).await;
        assert_eq!((answer.status, answer.header("content-type")), (404, "application/json"), "{path}");
        let said = answer.json().await;
        assert_eq!((&said["type"], &said["error"]["type"]), (&json!("error"), &json!("not_found_error")), "{path}");
        assert!(said["error"]["message"].as_str().is_some_and(|message| message.contains(&hint)), "{path}: {said}");
    }
}

#[tokio::test]
async fn trailing_slash_of_a_path_is_ignored() {
    let service = Service::start().await;
    let page = |request: RequestBuilder| Answer::to(request.header(ORIGIN, PAGE));
    let list = page(service.request(Method::GET, "/v1/models/")).await;
    assert_eq!(list.status, 200);
    assert_eq!(list.headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter().count(), 1);
    assert_eq!(list.json().await["data"][0]["id"], "demo");
    let body = json!({"model": "demo?tokens=3&rate=max", "messages": [{"role": "user", "content": "Hello"}]});
    let chat = service.request(Method::POST, "/v1/chat/completions/").header(CONTENT_TYPE, "application/json");
    assert_eq!(page(chat.body(body.to_string())).await.json().await["object"], "chat.completion");
    let page_of = page(service.request(Method::GET, "/v1/generations/?limit=1")).await.json().await;
    assert_eq!(page_of["data"], json!([]));
    let preflight = service.request(Method::OPTIONS, "/v1/generations/").header(ACCESS_CONTROL_REQUEST_METHOD, "POST");
    assert_eq!(page(preflight).await.header("access-control-allow-origin"), PAGE);
    let put = page(service.request(Method::PUT, "/v1/models/")).await;
    assert_eq!((put.status, put.header("allow")), (405, "GET,HEAD"));
    let (guarded, _) = Service::guarded(Settings::default(), &[]).await;
    for path in ["/v1/models/", "/v1/generations/", "/metrics/", "/v1/connections/"] {
        assert_eq!(guarded.get(path).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn too_large_body_returns_413_with_any_framing() {
    let mut settings = Settings::default();
    settings.server.max_body = "1KiB".parse().expect("a size");
    let service = Service::with(settings).await;
    let large = format!(r#"{{"input":"{}"}}"#, "x".repeat(2048));
    let head = |headers: &str| {
        format!(
            "POST /v1/generations HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\norigin: {PAGE}\r\ncontent-type: application/json\r\n{headers}\r\n"
        )
    };
    let (sized, chunked) = (format!("content-length: {}\r\n", large.len()), "transfer-encoding: chunked\r\n");
    for (what, request) in [
        ("by its length", head(&sized) + &large),
        ("in chunks", head(chunked) + &format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len())),
        ("by its length, before its first byte", head("content-length: 1025\r\nexpect: 100-continue\r\n")),
        ("a terabyte", head("content-length: 1000000000000\r\nexpect: 100-continue\r\n")),
    ] {
        let said = send_raw(service.address, &request).await;
        assert!(said.starts_with("HTTP/1.1 413 "), "{what}: {said}");
        assert!(said.contains(r#""code":"body_too_large""#) && said.contains("content-type: application/problem+json"));
        assert!(said.contains(&format!("access-control-allow-origin: {PAGE}\r\n")), "{what}: {said}");
        let events = request.replacen("host: localhost", "host: localhost\r\naccept: text/event-stream", 1);
        let said = send_raw(service.address, &events).await;
        assert!(
            said.starts_with("HTTP/1.1 413 ") && said.contains("content-type: text/event-stream\r\n"),
            "{what}: {said}"
        );
        assert!(
            said.contains("event: failed\ndata: {\"error\":{") && said.contains("}\nretry: 86400000\n\n"),
            "{said}"
        );
        assert_nothing_is_running(&service, what).await;
    }
    // A body of exactly the maximum size is accepted.
    let fits = format!(r#"{{"input":"{}","model":"none"}}"#, "x".repeat(1024 - 27));
    assert_eq!(fits.len(), 1024);
    let request = service.request(Method::POST, "/v1/generations").header(CONTENT_TYPE, "application/json").body(fits);
    assert_eq!(Answer::to(request).await.status, 404);
}

#[tokio::test]
async fn expect_100_continue_gets_100_only_if_the_body_will_be_read() {
    let service = Service::start().await;
    let head = |headers: &str| {
        format!(
            "POST /v1/generations HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\nexpect: 100-continue\r\n{headers}\r\n"
        )
    };
    for (status, headers) in [
        (415, "content-type: text/plain\r\n"),
        (406, "content-type: application/json\r\naccept: text/html\r\n"),
        (404, "content-type: application/json\r\nlast-event-id: hunter2\r\n"),
    ] {
        let said = send_raw(service.address, &head(headers)).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
    }
    let said =
        send_raw(service.address, &(head("content-type: application/json\r\nconnection: close\r\n") + "{}")).await;
    assert!(said.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 "), "{said}");
}

/// DNS rebinding: a page whose host name resolves to loopback calls the service under that name.
#[tokio::test]
async fn foreign_host_name_returns_421_while_loopback_is_trusted() {
    let service = Service::start().await;
    let good = json!({"input": "Hello", "model": "demo?tokens=1&rate=max"});
    let call = || service.generation(&good).header("host", "evil.example").header(ORIGIN, "http://localhost:5173");
    refused(call(), 421, "misdirected", "a foreign name").await;
    assert_eq!(Answer::to(call()).await.headers["cache-control"], "no-store");
    assert_nothing_is_running(&service, "a foreign name").await;

    let settings = Settings {
        auth: AuthSettings { mode: Some(AuthMode::None), ..AuthSettings::default() },
        ..Settings::default()
    };
    let service = Service::with(settings).await;
    assert_eq!(Answer::to(service.generation(&good).header("host", "my.example")).await.status, 200);
}

/// Browsers send the whole body over HTTP/1.1 before they read the response. Kernel buffers are smaller than these
/// bodies, so the service must read them.
#[tokio::test]
async fn client_that_sends_its_whole_body_before_reading_gets_the_response() {
    let service = Service::start().await;
    let mut running = service.generate(&json!({"input": "a", "model": "demo?stall_at=1", "grace_ms": 0})).await;
    let start = running.expect("start").await.id.expect("an id");
    let reattach = format!("last-event-id: {start}\r\ncontent-type: application/json\r\n");
    for (headers, size, status) in [
        ("content-type: application/json\r\n", 17 << 20, 413),
        ("content-type: text/plain\r\n", 17 << 20, 415),
        ("content-type: application/json\r\naccept: text/html\r\n", 17 << 20, 406),
        ("last-event-id: hunter2\r\n", 17 << 20, 404),
        (reattach.as_str(), 4 << 20, 200),
    ] {
        let head =
            format!("POST /v1/generations HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {size}\r\n\r\n");
        let mut socket = soon(TcpStream::connect(service.address)).await.expect("a connection");
        soon(socket.write_all((head + &" ".repeat(size)).as_bytes())).await.expect("sent");
        let mut said = vec![0; 12];
        soon(socket.read_exact(&mut said)).await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&said), format!("HTTP/1.1 {status}"), "{headers}");
    }
    drop(running);
    assert_nothing_is_running(&service, "large bodies").await;
}

#[tokio::test]
async fn endless_body_is_cut_off() {
    let service = Service::start().await;
    let head = format!("POST /v1/generations HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40);
    let mut socket = soon(TcpStream::connect(service.address)).await.expect("a connection");
    soon(socket.write_all(head.as_bytes())).await.expect("sent");
    let megabyte = vec![b' '; 1 << 20];
    let taken = soon(async {
        let mut taken = 0;
        while socket.write_all(&megabyte).await.is_ok() {
            taken += 1;
        }
        taken
    });
    let taken: usize = taken.await;
    assert!(taken <= 48, "32 MiB are read, and the kernel's buffers hold some: {taken}");
    assert_nothing_is_running(&service, "an endless body").await;
}

#[tokio::test]
async fn body_with_broken_framing_returns_400() {
    let service = Service::start().await;
    let head = "POST /v1/generations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let said = send_raw(service.address, &format!("{head}2\r\n{{}}zz\r\n")).await;
    assert!(said.starts_with("HTTP/1.1 400 ") && said.contains(r#""code":"invalid_json""#), "{said}");
    assert_nothing_is_running(&service, "framing").await;
}

#[tokio::test]
async fn panic_ends_its_own_request_and_no_other() {
    let in_process::Parts { api, metrics, .. } = in_process::parts(Duration::from_secs(30));
    let said = async |request: axum::http::request::Builder, body: &'static str| {
        let response = api
            .clone()
            .oneshot(request.body(axum::body::Body::from(body)).expect("a request"))
            .await
            .expect("an answer");
        let (status, has_an_id) = (response.status().as_u16(), response.headers().contains_key("x-request-id"));
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a clean end");
        (status, has_an_id, String::from_utf8(body.to_vec()).expect("UTF-8"))
    };
    let get = |path: &str| axum::extract::Request::get(path).header("host", "localhost");
    let post = || {
        let request = axum::extract::Request::post("/v1/generations").header("host", "localhost");
        request.header(CONTENT_TYPE, "application/json")
    };
    let (status, has_an_id, body) = said(post().header("accept", "application/json"), r#"{"input":"Hello"}"#).await;
    assert_eq!((status, has_an_id), (500, true));
    assert!(body.contains(r#""code":"internal""#) && !body.contains("hunter2"), "{body}");
    assert_eq!(said(get("/v1/models"), "").await.0, 200, "a defect in one adapter's list costs that list");

    let (status, _, body) = said(post().header("accept", "text/event-stream"), r#"{"input":"Hello"}"#).await;
    assert_eq!(status, 200);
    let names: Vec<_> = body.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["start", "failed"]);
    assert!(body.contains(r#""code":"internal""#) && !body.contains("hunter2"), "{body}");

    assert_eq!(said(get("/healthz"), "").await.0, 200);
    let (_, figures) = metrics.render();
    for figure in ["tokenrill_panics_total 2", "tokenrill_generations_live 0", "tokenrill_viewers_live 0"] {
        assert!(figures.contains(&format!("\n{figure}\n")), "{figure}: {figures}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_body_returns_408_after_the_body_timeout() {
    let time = Duration::from_secs(30);
    let api = in_process::parts(time).api;
    // Endless, one byte per second.
    let drip = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>(" "), ()))
    });
    let request = axum::extract::Request::post("/v1/generations")
        .header("host", "localhost")
        .header(CONTENT_TYPE, "application/json")
        .body(axum::body::Body::from_stream(drip))
        .expect("a request");
    let started = tokio::time::Instant::now();
    let response = api.oneshot(request).await.expect("an answer");
    assert_eq!((response.status().as_u16(), started.elapsed()), (408, time));
    assert_eq!(response.headers()["retry-after"], "5");
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    let problem: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((&problem["code"], &problem["retryable"]), (&json!("request_timeout"), &json!(true)));
    assert_eq!(problem["retry_after_ms"], 5000);
}

#[tokio::test]
async fn loopback_page_may_send_any_request_header() {
    let service = Service::start().await;
    let asked = "accept,access-control-allow-origin,authorization,content-type,idempotency-key,last-event-id,\
                 prefer,x-api-key,x-stainless-os,x-stainless-retry-count";
    let preflight = |origin: &str, method: &str| {
        service
            .request(Method::OPTIONS, "/v1/generations")
            .header(ORIGIN, origin)
            .header(ACCESS_CONTROL_REQUEST_METHOD, method)
            .header(ACCESS_CONTROL_REQUEST_HEADERS, asked)
    };
    for origin in [PAGE, "http://127.0.0.1:8080", "http://[::1]:3000"] {
        for method in ["GET", "POST", "DELETE"] {
            let granted = Answer::to(preflight(origin, method)).await;
            assert_eq!(granted.status, 200);
            assert_eq!(granted.headers[ACCESS_CONTROL_ALLOW_ORIGIN], origin);
            assert_eq!(granted.headers[ACCESS_CONTROL_ALLOW_HEADERS], asked);
            let methods = granted.headers[ACCESS_CONTROL_ALLOW_METHODS].to_str().expect("ASCII");
            assert!(methods.split(',').any(|allowed| allowed.trim() == method), "{methods}");
            assert!(granted.headers.contains_key(ACCESS_CONTROL_MAX_AGE));
            assert!(granted.headers.get("access-control-allow-credentials").is_none());
            assert!(granted.header("x-request-id").starts_with("req_"));
        }
    }
    for origin in ["https://evil.example", "http://localhost.evil.example", "null"] {
        let good = json!({"input": "a", "model": "demo?tokens=1&rate=max"});
        for request in [
            preflight(origin, "POST"),
            service.generation(&good).header(ORIGIN, origin),
            service.generation(&json!({})).header(ORIGIN, origin),
            service.request(Method::GET, "/nope").header(ORIGIN, origin),
        ] {
            let answer = Answer::to(request).await;
            assert!(answer.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_none(), "{origin}: {:?}", answer.headers);
        }
    }
}

/// Sends the request twice, for a problem and for an event, which must agree. Returns the problem.
async fn refused(request: RequestBuilder, status: u16, code: &str, what: &str) -> Value {
    let events = request.try_clone().expect("a body in memory").header("accept", "text/event-stream");
    let problem = as_problem(Answer::to(request).await, status, code, what).await;
    let mut event = as_event(Answer::to(events).await, status, code, what).await;
    event["request_id"] = problem["request_id"].clone();
    assert_eq!(event, problem, "{what}");
    problem
}

async fn as_problem(answer: Answer, status: u16, code: &str, what: &str) -> Value {
    assert_eq!(answer.header("content-type"), "application/problem+json", "{what}");
    let (headers, actual) = (answer.headers.clone(), answer.status);
    let text = answer.text().await;
    let problem = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error} in {text}"));
    expect_problem(&problem, &headers, what);
    assert_eq!((actual, &problem["code"]), (status, &json!(code)), "{what}: {problem}");
    assert_eq!(problem["status"], status, "{what}");
    problem
}

async fn as_event(answer: Answer, status: u16, code: &str, what: &str) -> Value {
    assert_eq!((answer.status, answer.header("content-type")), (status, "text/event-stream"), "{what}");
    let headers = answer.headers.clone();
    let [event] = answer.events().await.try_into().unwrap_or_else(|events| panic!("{what}: {events:?}"));
    let names: Vec<_> = event.block.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert_eq!(names, ["event", "data", "retry"], "{what}: {}", event.block);
    assert_eq!((event.name.as_str(), event.id), ("failed", None), "{what}");
    let problem = event.data["error"].clone();
    assert_eq!(event.data, json!({"error": problem}), "{what}");
    assert_eq!(event.retry, problem["retry_after_ms"].as_u64().or(Some(86_400_000)), "{what}");
    expect_problem(&problem, &headers, what);
    assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)), "{what}");
    problem
}

/// Checks that a problem has the documented type, the request id and the CORS headers, and contains no internals and no
/// value of the request.
fn expect_problem(problem: &Value, headers: &HeaderMap, what: &str) {
    serde_json::from_value::<FailedData>(json!({"error": problem})).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(problem["type"], format!("urn:tokenrill:error:{}", problem["code"].as_str().expect("a code")), "{what}");
    for text in ["title", "detail"] {
        assert!(!problem[text].as_str().expect("text").is_empty(), "{what}");
    }
    assert_eq!(headers["x-request-id"].to_str().ok(), problem["request_id"].as_str(), "{what}");
    assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], PAGE, "{what}");
    let exposed = headers[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().expect("ASCII");
    assert!(
        ["x-request-id", "retry-after"].iter().all(|name| exposed.split(',').any(|each| each == *name)),
        "{exposed}"
    );

    let known = [
        "access-control-allow-origin",
        "access-control-expose-headers",
        "allow",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "date",
        "referrer-policy",
        "retry-after",
        "vary",
        "x-content-type-options",
        "x-request-id",
    ];
    for name in headers.keys() {
        assert!(known.contains(&name.as_str()), "{what}: {name}");
    }
    // Without the request id, which is random and may contain any of these words.
    let said = format!("{headers:?} {problem}").replace(problem["request_id"].as_str().expect("an id"), "");
    let said = said.to_ascii_lowercase();
    for inner in ["serde", "axum", "hyper", "tokio", "rust", "src/", ".rs", "panic", "127.0.0.1", "recursion", HUNTER2]
    {
        assert!(!said.contains(inner), "{what}: {inner} in {said}");
    }
}

fn pointers(problem: &Value) -> Vec<&str> {
    let errors = problem["errors"].as_array().into_iter().flatten();
    errors.map(|error| error["pointer"].as_str().expect("a pointer")).collect()
}

async fn assert_nothing_is_running(service: &Service, what: &str) {
    for gauge in ["tokenrill_generations_live", "tokenrill_viewers_live"] {
        let settled = tokio::time::timeout(crate::support::SOON, service.metric_becomes(gauge, 0.0));
        assert!(settled.await.is_ok(), "{what}: {gauge}");
    }
    assert_eq!(service.get("/readyz").await.status, 200, "{what}");
}

/// Sends these bytes and returns the bytes that the service sends until it closes the connection.
async fn send_raw(address: SocketAddr, bytes: &str) -> String {
    let mut socket = soon(TcpStream::connect(address)).await.expect("a connection");
    soon(socket.write_all(bytes.as_bytes())).await.expect("sent");
    let mut said = Vec::new();
    soon(socket.read_to_end(&mut said)).await.expect("a clean end");
    String::from_utf8(said).expect("UTF-8")
}
