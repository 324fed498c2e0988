//! Limits: no caller exceeds its limits, and each refusal states when to retry.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokenrill::auth::NewKey;
use tokenrill::domain::{Account, Principal};
use tokenrill::limits::{Limiter, Policy, Spender};
use tokenrill::settings::{ApiKeySettings, JwtSettings, ModelLimitSettings, Quota, Settings};

use crate::support::issuer::{SECRET, claims, hs256, trusting};
use crate::support::{Answer, Service, Upstream};

fn some(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number)
}

fn limited(quota: Quota) -> Settings {
    let mut settings = Settings::default();
    settings.limits.each = quota;
    settings
}

fn body() -> Value {
    json!({"input": "Hello", "model": "demo?tokens=2&rate=max"})
}

fn chat(service: &Service) -> RequestBuilder {
    let body = json!({"model": "demo?tokens=2&rate=max", "messages": [{"role": "user", "content": "Hello"}]});
    service
        .request(Method::POST, "/v1/chat/completions")
        .header(CONTENT_TYPE, "application/json")
        .body(body.to_string())
}

/// A parameter of the member with this name in a list such as `"requests";r=4;t=12`.
fn member(headers: &HeaderMap, header: &str, name: &str, parameter: &str) -> u64 {
    let list = headers[header].to_str().expect("ASCII");
    let member = list.split(", ").find_map(|member| member.strip_prefix(&format!("\"{name}\""))).expect("a member");
    let value = member.split(';').find_map(|pair| pair.strip_prefix(&format!("{parameter}=")));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {parameter} in {list}"))
}

async fn sent(request: RequestBuilder) -> reqwest::Response {
    request.send().await.expect("an answer")
}

#[tokio::test]
async fn rate_limit_headers_count_down_and_waiting_retry_after_admits_the_request() {
    // One request in 200 ms: short enough for a test to wait.
    let service = Service::with(limited(Quota { requests_per_minute: some(300), ..Quota::default() })).await;
    let mut left = 300;
    let refused = loop {
        let answer = sent(service.generation(&body())).await;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        assert_eq!(headers["ratelimit-policy"], "\"requests\";q=300;w=60");
        let now = member(&headers, "ratelimit", "requests", "r");
        if status == 429 {
            assert_eq!(now, 0);
            break answer;
        }
        // The quota refills meanwhile.
        assert!(status == 200 && now < 300 && now + 1 >= left, "{now} of {left}");
        left = now;
        answer.bytes().await.expect("it ends");
    };
    assert_eq!(refused.headers()["retry-after"], "1", "rounded up");
    let problem: Value = refused.json().await.expect("a problem");
    assert_eq!((&problem["code"], &problem["retryable"]), (&json!("rate_limited"), &json!(true)));
    let wait = problem["retry_after_ms"].as_u64().expect("a wait");
    assert!((1..=200).contains(&wait), "{wait}");
    // A real wait: the service runs on the real clock, and the test is that its own `Retry-After` is long enough.
    tokio::time::sleep(Duration::from_millis(wait)).await;
    assert_eq!(sent(service.generation(&body())).await.status(), 200);
}

#[tokio::test]
async fn rate_limit_refusal_is_an_sse_event_or_an_openai_error_by_client() {
    let service = Service::with(limited(Quota { requests_per_minute: some(1), ..Quota::default() })).await;
    let first = sent(chat(&service)).await;
    assert_eq!(first.status(), 200);
    assert_eq!(first.headers()["x-ratelimit-limit-requests"], "1");
    assert_eq!(first.headers()["x-ratelimit-remaining-requests"], "0");
    assert_eq!(first.headers()["x-ratelimit-reset-requests"], "1m0s");

    let mut events = service.generate(&body()).await;
    assert_eq!((events.status, events.header("content-type")), (429, "text/event-stream"));
    let failed = events.expect("failed").await;
    let wait = failed.data["error"]["retry_after_ms"].as_u64().expect("a wait");
    assert!((55_000..=60_000).contains(&wait), "{wait}");
    assert_eq!((failed.retry, failed.id), (Some(wait), None));

    let refused = sent(chat(&service)).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(
        (&refused.headers()["retry-after"], &refused.headers()["x-should-retry"]),
        (&"60".parse().unwrap(), &"true".parse().unwrap())
    );
    assert_eq!(refused.headers()["x-ratelimit-remaining-requests"], "0");
    let error: Value = refused.json().await.expect("JSON");
    assert_eq!(
        (&error["error"]["type"], &error["error"]["code"]),
        (&json!("rate_limit_error"), &json!("rate_limited"))
    );

    // Every response of a limited operation states the remaining quota. Above the rate the body is not read.
    let wrong =
        sent(service.request(Method::POST, "/v1/chat/completions").header(CONTENT_TYPE, "application/json").body("{"))
            .await;
    assert_eq!(
        (wrong.status().as_u16(), &wrong.headers()["x-ratelimit-remaining-requests"]),
        (429, &"0".parse().unwrap())
    );
}

#[tokio::test]
async fn reconnects_and_repeats_consume_no_quota() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.limits.each = Quota { requests_per_minute: some(1), concurrent_generations: some(1), ..Quota::default() };
    settings.limits.queue.max_waiting = 0;
    let service = Service::with(settings).await;
    let request = || {
        service
            .generation(&json!({"input": "Hello"}))
            .header("idempotency-key", "once")
            .header("accept", "text/event-stream")
    };
    let mut first = Answer::to(request()).await;
    let start = first.expect("start").await;
    let mut call = upstream.call().await;
    call.ok().await;
    call.text("Hel").await;
    first.expect("delta").await;
    for _ in 0..20 {
        let id = start.id.clone().expect("an id");
        let mut again = Answer::to(service.generation(&json!({})).header("last-event-id", id)).await;
        assert_eq!((again.status, again.header("ratelimit")), (200, "\"requests\";r=0;t=60"));
        again.expect("delta").await;
        assert_eq!(Answer::to(request()).await.status, 200);
        assert_eq!(service.get(&format!("/v1/generations/{}", start.generation())).await.status, 200);
    }
    assert_eq!(service.generate(&json!({"input": "Hello"})).await.status, 429);
}

#[tokio::test]
async fn tokens_are_reserved_at_the_start_and_settled_at_the_end() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.limits.each = Quota { tokens_per_minute: some(10_000), ..Quota::default() };
    let service = Service::with(settings).await;
    let left = |answer: &Answer| {
        let list = answer.header("ratelimit").to_owned();
        list.split(";r=").nth(1).and_then(|rest| rest.split(';').next()?.parse::<u64>().ok()).expect("what is left")
    };
    // 4 tokens of the prompt by its length, 1,000 of the answer by the request's own limit.
    let request = json!({"input": "Hello, world", "max_completion_tokens": 1_000});
    let close =
        |left: u64, expected: u64| assert!((expected..expected + 200).contains(&left), "{left}, not {expected}");
    let mut first = service.generate(&request).await;
    close(left(&first), 8_996);
    let mut call = upstream.call().await;
    call.ok().await;
    call.text("Hello").await;
    call.finish("stop").await;
    call.data(json!({"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 50}})).await;
    call.done().await;
    while first.next().await.is_some_and(|event| event.name != "done") {}
    let mut second = service.generate(&request).await;
    close(left(&second), 10_000 - 150 - 1_004);

    // A generation that fails before its first token is refunded completely, a stopped one its unused tokens.
    call.next().await.expect("the same connection").refuse(500, "", "").await;
    while second.next().await.is_some_and(|event| event.name != "failed") {}
    let mut third = service.generate(&request).await;
    close(left(&third), 10_000 - 150 - 1_004);
    let mut call = upstream.call().await;
    call.ok().await;
    call.text("Hello").await;
    third.expect("start").await;
    let delta = third.expect("delta").await;
    Answer::to(service.request(Method::POST, &format!("/v1/generations/{}/cancel", delta.generation()))).await;
    call.closed().await;
    let fourth = service.generate(&json!({"input": "Hello, world", "max_completion_tokens": 9_999})).await;
    assert_eq!(fourth.status, 429, "more than is left");
    let problem = fourth.events().await.remove(0);
    assert!(
        problem.data["error"]["detail"].as_str().is_some_and(|detail| detail.contains("tokens per minute")),
        "{problem:?}"
    );
    let fifth = service.generate(&request).await;
    assert_eq!(fifth.status, 200);
    assert!(left(&fifth) > 8_600, "{}", left(&fifth));
}

#[tokio::test]
async fn long_answers_of_one_key_do_not_raise_the_reservations_of_another() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    let [long, short] = [(); 2].map(|()| NewKey::random().expect("random bytes"));
    let few = Quota { tokens_per_minute: some(5_000), ..Quota::default() };
    for (key, limits) in [(&long, None), (&short, Some(few))] {
        let (name, hash) = (key.hash.to_string(), key.hash.to_string());
        settings.auth.api_keys.push(ApiKeySettings { name, hash, limits, ..ApiKeySettings::default() });
    }
    let service = Service::with(settings).await;
    let request = |key: &NewKey| {
        service.generation(&json!({"input": "Hello"})).header("accept", "text/event-stream").bearer_auth(&key.key)
    };
    let answered = async |key: &NewKey, tokens: u32| {
        let answering = async {
            let mut call = upstream.call().await;
            call.ok().await;
            call.text("Hello").await;
            call.finish("stop").await;
            call.data(json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": tokens}})).await;
            call.done().await;
        };
        let (answer, ()) = tokio::join!(Answer::to(request(key)), answering);
        assert_eq!(answer.status, 200);
        answer.text().await;
    };
    for _ in 0..50 {
        answered(&long, 4_000).await;
    }
    let mut open = Vec::new();
    for number in 1..=6 {
        let answer = Answer::to(request(&short)).await;
        assert_eq!(answer.status, 200, "request {number} of 6");
        open.push(answer);
    }
}

#[tokio::test]
async fn reservation_without_a_token_limit_is_estimated_from_the_keys_own_answers() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.limits.each = Quota { tokens_per_minute: some(100_000), ..Quota::default() };
    let service = Service::with(settings).await;
    let left = |answer: &Answer| {
        let list = answer.header("ratelimit").to_owned();
        list.split(";r=").nth(1).and_then(|rest| rest.split(';').next()?.parse::<u64>().ok()).expect("what is left")
    };
    let request = json!({"input": "Hello"});
    let mut first = service.generate(&request).await;
    // While the test runs, more than 1,600 tokens a second are refilled.
    assert!(left(&first) >= 100_000 - 270, "256 and the prompt: {}", left(&first));
    let mut call = upstream.call().await;
    call.ok().await;
    call.text("Hello").await;
    call.finish("stop").await;
    call.data(json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 40_000}})).await;
    call.done().await;
    while first.next().await.is_some_and(|event| event.name != "done") {}
    let second = service.generate(&request).await;
    assert!((19_900..40_000).contains(&left(&second)), "40,001 used and 40,000 reserved: {}", left(&second));
    let limited = service.generate(&json!({"input": "Hello", "max_completion_tokens": 100})).await;
    assert!(left(&limited) + 110 >= left(&second), "the request's own limit counts: {}", left(&limited));
}

#[tokio::test]
async fn limits_of_keys_tokens_and_models_override_the_defaults() {
    let few = Quota { requests_per_minute: some(2), ..Quota::default() };
    let mut settings = trusting(JwtSettings {
        secret_env: Some("SECRET".to_owned()),
        limits_claim: Some("limits".to_owned()),
        ..JwtSettings::default()
    });
    settings.limits.each = Quota { requests_per_minute: some(5), ..Quota::default() };
    settings.limits.models = vec![ModelLimitSettings {
        model: "demo?tokens=1*".into(),
        requests_per_minute: some(1),
        ..ModelLimitSettings::default()
    }];
    let keys = [(); 2].map(|()| NewKey::random().expect("random bytes"));
    for (key, limits) in keys.iter().zip([Some(few), None]) {
        let (name, hash) = (key.hash.to_string(), key.hash.to_string());
        settings.auth.api_keys.push(ApiKeySettings { name, hash, limits, ..ApiKeySettings::default() });
    }
    let service = Service::in_environment(settings, [("SECRET".to_owned(), SECRET.to_owned())].into()).await;
    let token = |sub: &str, limits: Value| {
        hs256(SECRET.as_bytes(), &json!({"alg": "HS256"}), &claims(&json!({"sub": sub, "limits": limits})))
    };
    let admitted = async |credential: &str, body: &Value| {
        let mut admitted = 0;
        while sent(service.generation(body).bearer_auth(credential)).await.status() == 200 {
            admitted += 1;
        }
        admitted
    };
    assert_eq!(admitted(&keys[0].key, &body()).await, 2);
    assert_eq!(admitted(&keys[1].key, &body()).await, 5);
    assert_eq!(admitted(&token("alice", json!({"requests_per_minute": 3})), &body()).await, 3);
    assert_eq!(
        admitted(&token("alice", json!({"requests_per_minute": 3})), &body()).await,
        0,
        "another token of the same caller"
    );
    assert_eq!(admitted(&token("bob", Value::Null), &body()).await, 5);
    let one = json!({"input": "Hello", "model": "demo?tokens=1&rate=max"});
    assert_eq!(admitted(&token("carol", Value::Null), &one).await, 1, "of this model");
    assert_eq!(admitted(&token("carol", Value::Null), &body()).await, 4, "and the remaining quota of the other limits");
    assert_eq!(admitted(&token("erin", json!({"requests_per_minute": 2, "burst": {"most": 1}})), &body()).await, 2);
    // An invalid limits claim is refused. It does not mean "no limits".
    for limits in [json!("many"), json!({"requests_per_minute": 0}), json!({"requests_per_minute": -1}), json!([])] {
        assert_eq!(
            sent(service.generation(&body()).bearer_auth(token("dave", limits.clone()))).await.status(),
            401,
            "{limits}"
        );
    }
}

#[tokio::test]
async fn request_above_max_output_tokens_or_max_choices_is_refused() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.limits.each = Quota { max_output_tokens: some(100), max_choices: some(2), ..Quota::default() };
    let service = Service::with(settings).await;
    for (field, value) in [("max_tokens", json!(101)), ("max_completion_tokens", json!(1e3)), ("n", json!(3))] {
        let answer = Answer::to(service.generation(&json!({"input": "Hello", field: value}))).await;
        assert_eq!(answer.status, 400, "{field}");
        let problem = answer.json().await;
        assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"), "{problem}");
    }
    assert!(!upstream.was_called());
    for (sent, passed_on) in [
        (json!({}), json!([100, null])),
        (json!({"max_tokens": 7}), json!([null, 7])),
        (json!({"max_completion_tokens": 100, "n": 2}), json!([100, null])),
        (json!({"max_tokens": null}), json!([100, null])),
    ] {
        let mut request = sent;
        request["input"] = json!("Hello");
        let _answer = service.generate(&request).await;
        let body = upstream.call().await.body;
        assert_eq!(json!([body["max_completion_tokens"], body["max_tokens"]]), passed_on, "{request}");
    }
}

#[tokio::test]
async fn anonymous_callers_are_limited_by_address_and_only_trusted_proxies_may_forward_it() {
    let mut settings = limited(Quota { requests_per_minute: some(1), ..Quota::default() });
    let status = async |service: &Service, forwarded: &str| {
        sent(service.generation(&body()).header("x-forwarded-for", forwarded)).await.status().as_u16()
    };
    let service = Service::with(settings.clone()).await;
    assert_eq!(
        (status(&service, "198.51.100.1").await, status(&service, "198.51.100.2").await),
        (200, 429),
        "a forwarded address from an untrusted client is ignored"
    );

    settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let service = Service::with(settings).await;
    for (forwarded, expected) in [
        ("198.51.100.1", 200),
        ("198.51.100.1", 429),
        ("203.0.113.7, 198.51.100.1", 429),
        ("198.51.100.2", 200),
        ("2001:db8:1:2::1", 200),
        ("2001:db8:1:2:ffff::1", 429),
        ("2001:db8:1:3::1", 200),
    ] {
        assert_eq!(status(&service, forwarded).await, expected, "{forwarded}");
    }
    // A forwarded address is not a loopback address.
    let metrics = service.request(Method::GET, "/metrics").header("x-forwarded-for", "198.51.100.1");
    assert_eq!(sent(metrics).await.status(), 403);
}

/// 50 clients send requests for ten seconds and are admitted for the limit plus the refill, which is exact on a paused
/// clock. They retry far sooner than `Retry-After`.
#[tokio::test(start_paused = true)]
async fn fifty_clients_that_ignore_retry_after_are_admitted_only_at_the_limit() {
    const LIMIT: u32 = 600;
    const TIME: Duration = Duration::from_secs(10);
    let each = Quota { requests_per_minute: some(LIMIT), ..Quota::NONE };
    let policy = Arc::new(Policy { each, ..Policy::default() });
    let spender = Spender::new(Account::Principal(Principal::Anonymous), Quota::NONE, policy);
    let limiter = Limiter::default();
    let until = tokio::time::Instant::now() + TIME;
    let admitted = join_all((0..50).map(|_| async {
        let mut admitted = 0;
        while tokio::time::Instant::now() <= until {
            match limiter.take_request(&spender).await {
                Ok(mut permit) => {
                    permit.spend().await;
                    admitted += 1;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        admitted
    }));
    let refill = LIMIT * u32::try_from(TIME.as_secs()).expect("small") / 60;
    assert_eq!(admitted.await.into_iter().sum::<u32>(), LIMIT + refill);
}
