//! Evictions: which answers are evicted, and the response to a repeat of their requests.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HOST, RETRY_AFTER};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokenrill::domain::{
    Account, CancelReason, Cancelled, Claim, Event, Fingerprint, GenerationId, Principal, Start, Timestamp, Timings,
    Usage, UsageRequest,
};
use tokenrill::event_log::{Created, EventLog, LogTerms, MOST_TOMBSTONES};
use tokenrill::settings::{Settings, Size};
use tower::ServiceExt;

use crate::support::{Answer, Service, Upstream, in_process, soon};

const SCOPES: &[&str] = &["generate", "follow", "stop"];
const KEY: &str = "idempotency-key";
const CHAT: &str = "/v1/chat/completions";
const NATIVE: &str = "/v1/generations";
/// The limit of the event log in MiB. A large answer is a sixteenth of it.
const LOG_MIB: usize = 1;

fn settings(upstream: &Upstream) -> Settings {
    let mut settings = Service::settings(&upstream.base_url());
    settings.event_log.memory.max_bytes = Size::mib(LOG_MIB);
    settings
}

fn body(path: &str, text: &str) -> Value {
    match path {
        CHAT => json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": text}]}),
        _ => json!({"input": text}),
    }
}

fn post(service: &Service, path: &str, key: &str, body: &Value) -> RequestBuilder {
    let request = service.request(Method::POST, path).bearer_auth(key).header(CONTENT_TYPE, "application/json");
    request.body(body.to_string())
}

/// Sends the request, responds as the upstream with `text`, and reads the answer to its end; returns its id.
async fn answered(upstream: &Upstream, request: RequestBuilder, text: &str) -> String {
    let answering = async {
        let mut call = upstream.call().await;
        call.ok().await;
        call.text(text).await;
        call.finish("stop").await;
        call.data(json!({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 22, "total_tokens": 33}}))
            .await;
        call.done().await;
    };
    let (answer, ()) = tokio::join!(Answer::to(request.header(ACCEPT, "text/event-stream")), answering);
    assert_eq!(answer.status, 200);
    let id = answer.header("tokenrill-generation").to_owned();
    let read = answer.text().await;
    assert!(read.contains(text), "{read}");
    id
}

/// Makes 40 answers of 64 KiB.
async fn many_large_answers(upstream: &Upstream, service: &Service, key: &str) {
    let text = "x".repeat(64 << 10);
    for _ in 0..40 {
        answered(upstream, post(service, NATIVE, key, &json!({"input": "Hello"})), &text).await;
    }
}

#[tokio::test]
async fn large_answers_of_one_key_evict_no_answer_of_another() {
    let upstream = Upstream::start().await;
    let (service, keys) = Service::guarded(settings(&upstream), &[("small", SCOPES), ("large", SCOPES)]).await;
    let request = || post(&service, NATIVE, &keys["small"], &json!({"input": "Hello"})).header(KEY, "k");
    let id = answered(&upstream, request(), "kept").await;
    many_large_answers(&upstream, &service, &keys["large"]).await;

    let get = service.request(Method::GET, &format!("{NATIVE}/{id}")).bearer_auth(&keys["small"]);
    assert_eq!(Answer::to(get).await.json().await["text"], "kept");
    let repeated = Answer::to(request()).await;
    assert_eq!((repeated.status, repeated.header("tokenrill-attached")), (200, "existing"));
    assert!(repeated.text().await.contains("kept"));
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn evictions_are_counted_and_the_log_stays_within_its_limit() {
    let upstream = Upstream::start().await;
    let service = Service::with(settings(&upstream)).await;
    many_large_answers(&upstream, &service, "none").await;
    assert!(service.metric("tokenrill_evicted_logs_total").await >= 20.0);
    assert!(
        service.metric("tokenrill_event_log_bytes").await <= service.metric("tokenrill_event_log_limit_bytes").await
    );
}

/// Asserts that a repeat is refused with the usage in each response format, and is not sent to the upstream again.
async fn assert_lost(upstream: &Upstream, service: &Service, path: &str, key: &str, body: &Value) {
    let usage = json!({"input_tokens": 11, "output_tokens": 22, "estimated": false});
    for accept in ["application/json", "text/event-stream"] {
        let repeated = Answer::to(post(service, path, key, body).header(KEY, "k").header(ACCEPT, accept)).await;
        let name = format!("{path} {accept}");
        assert_eq!(repeated.status, 410, "{name}");
        assert!(repeated.header("content-type").starts_with(accept) || accept == "application/json", "{name}");
        if path == CHAT {
            assert_eq!(repeated.header("x-should-retry"), "false", "{name}");
        }
        let text = repeated.text().await;
        let (json, retry) = match accept {
            "text/event-stream" => {
                let data = text.lines().find_map(|line| line.strip_prefix("data: ")).expect("data");
                (data, text.lines().find_map(|line| line.strip_prefix("retry: ")))
            }
            _ => (text.as_str(), None),
        };
        let refusal: Value = serde_json::from_str(json).expect("JSON");
        let error = if refusal["error"].is_object() { &refusal["error"] } else { &refusal };
        assert_eq!((&error["code"], &error["usage"]), (&json!("history_lost"), &usage), "{name}");
        if path == NATIVE {
            assert_eq!(error["retryable"], false, "{name}");
        }
        if (path, accept) == (NATIVE, "text/event-stream") {
            assert!(text.starts_with("event: failed\n"), "{text}");
            assert_eq!((retry, &refusal["usage"]), (Some("86400000"), &usage));
        }
    }
    let other = self::body(path, "another");
    let conflict = Answer::to(post(service, path, key, &other).header(KEY, "k")).await;
    assert_eq!(conflict.status, 422, "{path}");
    assert!(conflict.text().await.contains("idempotency_conflict"), "{path}");
    assert!(!upstream.was_called(), "{path}");
}

#[tokio::test]
async fn a_repeat_after_an_eviction_is_410_with_the_usage_and_is_not_sent_again() {
    for path in [NATIVE, CHAT] {
        let upstream = Upstream::start().await;
        let (service, keys) = Service::guarded(settings(&upstream), &[("a", SCOPES)]).await;
        let (key, body) = (&keys["a"], body(path, "Hello"));
        let id = answered(&upstream, post(&service, path, key, &body).header(KEY, "k"), "once").await;
        many_large_answers(&upstream, &service, key).await;
        assert_lost(&upstream, &service, path, key, &body).await;
        for (method, tail) in [(Method::GET, ""), (Method::GET, "/events"), (Method::DELETE, "")] {
            let by_id = service.request(method, &format!("{NATIVE}/{id}{tail}")).bearer_auth(key);
            assert_eq!(Answer::to(by_id.header(CONTENT_TYPE, "application/json")).await.status, 404, "{tail}");
        }
        assert_lost(&upstream, &service, path, key, &body).await;
    }
}

#[tokio::test]
async fn a_repeat_after_an_unstored_answer_is_410_with_the_usage_and_is_not_sent_again() {
    for path in [NATIVE, CHAT] {
        let upstream = Upstream::start().await;
        let (service, keys) = Service::guarded(settings(&upstream), &[("a", SCOPES)]).await;
        let (key, mut body) = (&keys["a"], body(path, "Hello"));
        body["store"] = json!(false);
        let id = answered(&upstream, post(&service, path, key, &body).header(KEY, "k"), "once").await;
        soon(async {
            while Answer::to(service.request(Method::GET, &format!("{NATIVE}/{id}")).bearer_auth(key)).await.status
                != 404
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_lost(&upstream, &service, path, key, &body).await;
    }
}

#[tokio::test]
async fn a_deleted_answer_frees_its_key() {
    let upstream = Upstream::start().await;
    let (service, keys) = Service::guarded(settings(&upstream), &[("a", SCOPES)]).await;
    let request = || post(&service, NATIVE, &keys["a"], &json!({"input": "Hello"})).header(KEY, "k");
    let id = answered(&upstream, request(), "first").await;
    let delete = service.request(Method::DELETE, &format!("{NATIVE}/{id}")).bearer_auth(&keys["a"]);
    assert_eq!(Answer::to(delete).await.status, 204);
    answered(&upstream, request(), "second").await;
}

/// Creates an ended answer with this key and discards it, as `store: false` does.
async fn lose(log: &impl EventLog, key: &str) {
    let start = Start {
        generation: GenerationId::random(),
        owner: Principal::Anonymous,
        model: "m".to_owned(),
        created_at: Timestamp::now(),
        prompt: None,
        metadata: [].into(),
        usage: UsageRequest::NotAsked,
        notes: None,
        chat: None,
    };
    let claim = Claim { key: key.parse().expect("a key"), request: Fingerprint::new([1; 32]) };
    // An in-process request has no client address, so its account is the anonymous principal.
    let account = Account::Principal(Principal::Anonymous);
    let (reason, usage, timings) = (CancelReason::ClientRequest, Usage::default(), Timings::default());
    let cancelled = Event::Cancelled(Arc::new(Cancelled { reason, usage, timings }));
    let terms = LogTerms { account, claim: Some(claim), if_orphaned: cancelled.clone(), recovery: None };
    let Ok(Created::New { mut writer, .. }) = log.create(Arc::new(start), terms).await else { panic!("there is room") };
    let generation = writer.log().start().generation;
    writer.close(cancelled).await.expect("there is room");
    log.discard(generation).await.expect("the log answers");
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_429_while_too_many_answers_are_lost_and_is_admitted_when_the_oldest_expires() {
    let retention = Duration::from_mins(10);
    let in_process::Parts { api, log, metrics, .. } = in_process::parts(retention);
    let expiring = tokio_util::task::TaskTracker::new();
    expiring.spawn({
        let log = log.clone();
        async move { log.expire().await }
    });
    let sent = async |path: &str, key: Option<&str>| {
        let request =
            axum::extract::Request::post(path).header(HOST, "localhost").header(CONTENT_TYPE, "application/json");
        let request =
            key.into_iter().fold(request.header(ACCEPT, "application/json"), |request, key| request.header(KEY, key));
        let body = json!({"messages": [{"role": "user", "content": "Hello"}]}).to_string();
        let response =
            api.clone().oneshot(request.body(Body::from(body)).expect("a request")).await.expect("a response");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (status, headers, String::from_utf8_lossy(&body).into_owned())
    };
    // The first request meets a deliberate defect.
    sent(NATIVE, None).await;
    lose(&log, "oldest").await;
    tokio::time::advance(Duration::from_mins(1)).await;
    for number in 1..MOST_TOMBSTONES {
        lose(&log, &format!("k{number}")).await;
    }

    let (status, headers, body) = sent(NATIVE, Some("new")).await;
    assert_eq!((status, &headers[RETRY_AFTER]), (429, &"540".parse().expect("a header")));
    let problem: Value = serde_json::from_str(&body).expect("a problem");
    assert_eq!(
        (&problem["code"], &problem["retryable"], &problem["retry_after_ms"]),
        (&json!("rate_limited"), &json!(true), &json!(540_000))
    );
    let (status, headers, _) = sent(CHAT, Some("new")).await;
    assert_eq!((status, &headers["x-should-retry"]), (429, &"false".parse().expect("a header")), "more than a minute");
    let (status, _, body) = sent(NATIVE, None).await;
    assert_eq!(status, 200, "without a key: {body}");
    let figures = metrics.render().1;
    assert!(figures.contains("\ntokenrill_refusals_total{limit=\"lost_answers\"} 2\n"), "{figures}");

    tokio::time::sleep(Duration::from_mins(9) + Duration::from_secs(1)).await;
    assert_eq!(sent(NATIVE, Some("new")).await.0, 200);
    tokio::time::sleep(retention * 2).await;
    assert_eq!((log.tombstones(), log.count(), log.bytes()), (0, 0, 0));
}
