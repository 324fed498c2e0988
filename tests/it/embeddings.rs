//! Embeddings: the upstream's answer is passed on unchanged, limited, charged and not kept.

use std::num::NonZeroU32;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokenrill::auth::NewKey;
use tokenrill::settings::{AliasSettings, ApiKeySettings, Quota, Settings, UpstreamSettings};
use tokio::task::yield_now;

use crate::anthropic::script;
use crate::budgets::{price, with_budget};
use crate::support::{Answer, Call, Service, Upstream, soon};

const ANSWER: &str = r#"{"object":"list","data":[ {"object":"embedding","index":0,"embedding":[0.10000000149011612,-1e-07]} ],"model":"text-x","x":1.0,"usage":{"prompt_tokens":8,"total_tokens":8}}"#;

fn body() -> Value {
    json!({"model": "m", "input": "The quick brown fox"})
}

async fn send(service: &Service, body: &Value) -> Answer {
    Answer::to(service.request(Method::POST, "/v1/embeddings").json(body)).await
}

/// Sends a request, which `script` answers for the upstream.
async fn sent(
    service: &Service,
    upstream: &Upstream,
    body: &Value,
    script: impl AsyncFnOnce(&mut Call),
) -> (Answer, Call) {
    tokio::join!(send(service, body), async {
        let mut call = upstream.call().await;
        script(&mut call).await;
        call
    })
}

async fn answered(service: &Service, upstream: &Upstream, body: &Value) -> Answer {
    sent(service, upstream, body, async |call| call.json(ANSWER).await).await.0
}

#[tokio::test]
async fn answer_is_returned_byte_for_byte() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let base64 = r#"{"data":[{"embedding":"zczMPQ=="}],"object":"list"}"#;
    for json in [ANSWER, base64, r#"{"data":[],"usage":null}"#] {
        let (answer, _) = sent(&service, &upstream, &body(), async |call| call.json(json).await).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        assert_eq!(answer.text().await, json);
    }
}

#[tokio::test]
async fn request_is_forwarded_as_it_was_written_except_for_the_model() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    let alias: AliasSettings = toml::from_str(r#"targets = ["scripted/text-x"]"#).expect("an alias");
    settings.models.aliases.insert("embed".to_owned(), alias);
    let service = Service::with(settings).await;
    for (sent, forwarded) in [
        (
            r#"{"input":["one", "two"],"model":"embed","dimensions":8,"encoding_format":"base64","user":"u","x":1.0}"#,
            r#"{"input":["one", "two"],"model":"text-x","dimensions":8,"encoding_format":"base64","user":"u","x":1.0}"#,
        ),
        (r#"{"model":"org/y","input":[1,2,3]}"#, r#"{"model":"org/y","input":[1,2,3]}"#),
        (r#"{"model":"z","input":[ [1],[2,3] ]}"#, r#"{"model":"z","input":[ [1],[2,3] ]}"#),
        (r#"{"input":"a"}"#, r#"{"model":"m","input":"a"}"#),
    ] {
        let request = service.request(Method::POST, "/v1/embeddings").header(CONTENT_TYPE, "application/json");
        let (answer, call) = tokio::join!(Answer::to(request.body(sent)), async {
            let mut call = upstream.call().await;
            call.json(ANSWER).await;
            call
        });
        assert_eq!(answer.status, 200, "{sent}");
        assert!(call.head.starts_with("post /v1/embeddings http/1.1\r\n"), "{}", call.head);
        assert_eq!(call.raw_body, forwarded);
    }
}

#[tokio::test]
async fn invalid_request_is_refused_before_the_upstream_is_asked() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    for (body, param) in [
        (json!({"model": "m"}), "input"),
        (json!({"model": "m", "input": ""}), "input"),
        (json!({"model": "m", "input": []}), "input"),
        (json!({"model": "m", "input": 1}), "input"),
        (json!({"model": "", "input": "a"}), "model"),
        (json!({"model": "m".repeat(600), "input": "a"}), "model"),
        (json!({"model": "m", "input": "a", "api_base": "http://elsewhere"}), "api_base"),
        (json!({"model": "m", "input": "a", "extra_body": {"x": 1}}), "extra_body"),
    ] {
        let answer = send(&service, &body).await;
        assert_eq!(answer.status, 400, "{param}");
        assert_eq!(answer.header("x-should-retry"), "false");
        let error = &answer.json().await["error"];
        assert_eq!((&error["code"], &error["param"]), (&json!("invalid_request"), &json!(param)), "{error}");
    }
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn body_above_the_limit_returns_413() {
    let mut settings = Settings::default();
    settings.server.max_body = "1000B".parse().expect("a size");
    let service = Service::with(settings).await;
    let answer = send(&service, &json!({"model": "demo", "input": "a".repeat(1000)})).await;
    assert_eq!((answer.status, &answer.json().await["error"]["code"]), (413, &json!("body_too_large")));
}

#[tokio::test]
async fn failure_of_the_upstream_is_reported_as_of_a_chat() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let report =
        |code: &str| json!({"error": {"message": "words", "type": "t", "code": code, "param": "input"}}).to_string();
    for (status, headers, code, expected, retry) in [
        (400, "", "too_long", (400, "too_long"), ("false", "")),
        (401, "", "invalid_api_key", (502, "upstream_auth"), ("false", "")),
        (404, "", "no_such_model", (404, "no_such_model"), ("false", "")),
        (429, "retry-after: 7\r\n", "slow", (429, "upstream_rate_limited"), ("true", "7")),
        (503, "retry-after: 7\r\n", "busy", (503, "upstream_overloaded"), ("false", "7")),
    ] {
        let script = async |call: &mut Call| call.refuse(status, headers, &report(code)).await;
        // A key or a model that was refused rests, so each has its own model and upstream.
        let upstream = Upstream::start().await;
        let service = Service::before(&upstream.base_url()).await;
        let (answer, _) = sent(&service, &upstream, &body(), script).await;
        assert_eq!(answer.status, expected.0);
        assert_eq!((answer.header("x-should-retry"), answer.header("retry-after")), retry);
        let error = &answer.json().await["error"];
        assert_eq!(error["code"], expected.1, "{error}");
    }
    for (json, code) in [("<html>", "upstream_malformed"), ("{}", "upstream_malformed")] {
        let (answer, _) = sent(&service, &upstream, &body(), async |call| call.json(json).await).await;
        assert_eq!((answer.status, &answer.json().await["error"]["code"]), (502, &json!(code)), "{json}");
    }
    let cut = async |call: &mut Call| {
        call.raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"data\":[").await;
        call.fin().await;
    };
    let (answer, _) = sent(&service, &upstream, &body(), cut).await;
    assert_eq!((answer.status, &answer.json().await["error"]["code"]), (502, &json!("upstream_disconnected")));
}

#[tokio::test]
async fn another_target_answers_after_a_refusal() {
    let (a, b) = (Upstream::start().await, Upstream::start().await);
    let mut settings = Settings::default();
    for (name, upstream) in [("a", &a), ("b", &b)] {
        let upstream = UpstreamSettings::new(name, upstream.base_url().parse().expect("a base URL"));
        settings.upstreams.push(UpstreamSettings { max_retries: 0, models: vec!["none".to_owned()], ..upstream });
    }
    let alias = toml::from_str(r#"targets = ["a/one", "b/two"]"#).expect("an alias");
    settings.models.aliases.insert("embed".to_owned(), alias);
    let service = Service::with(settings).await;
    let upstreams = async {
        a.call().await.refuse(503, "", "{}").await;
        let mut call = b.call().await;
        assert_eq!(call.body["model"], "two");
        call.json(ANSWER).await;
    };
    let request = json!({"model": "embed", "input": "a"});
    let (answer, ()) = tokio::join!(send(&service, &request), upstreams);
    assert_eq!((answer.status, answer.text().await.as_str()), (200, ANSWER));
    let repeated = service.metric("tokenrill_upstream_repeated_attempts_total{upstream=\"b\"").await;
    assert_eq!(repeated.to_bits(), 1f64.to_bits());
}

#[tokio::test]
async fn upstream_without_embeddings_is_refused_before_it_is_asked() {
    let upstream = Upstream::start().await;
    let service = Service::in_environment(script::settings(&upstream), script::environment()).await;
    let answer = send(&service, &body()).await;
    assert_eq!(answer.status, 400);
    let error = &answer.json().await["error"];
    assert_eq!((&error["code"], &error["param"]), (&json!("unsupported_parameter"), &json!("model")), "{error}");
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn disconnect_of_the_client_closes_the_upstream_and_counts_as_cancelled() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut call = {
        let mut request = Box::pin(service.request(Method::POST, "/v1/embeddings").json(&body()).send());
        tokio::select! {
            call = upstream.call() => call,
            _ = &mut request => panic!("the upstream has not answered"),
        }
    };
    call.closed().await;
    soon(async {
        while service.get("/v1/usage").await.json().await["data"] == json!([]) {
            yield_now().await;
        }
    })
    .await;
    let row = service.get("/v1/usage").await.json().await["data"][0].clone();
    assert_eq!(
        (&row["cancelled"], &row["input_tokens"], &row["estimated"]),
        (&json!(1), &json!(5), &json!(1)),
        "{row}"
    );
}

#[tokio::test]
async fn usage_is_in_the_ledger_and_the_metrics_and_nothing_is_kept() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.prices.insert("scripted/m".to_owned(), price("2", None));
    let service = Service::with(settings).await;
    assert_eq!(answered(&service, &upstream, &body()).await.status, 200);
    let row = service.get("/v1/usage?by=model").await.json().await["data"][0].clone();
    for (member, value) in [("attempts", 1), ("done", 1), ("input_tokens", 8), ("output_tokens", 0), ("unpriced", 0)] {
        assert_eq!(row[member], value, "{row}");
    }
    assert_eq!(row["cost"].to_string(), "0.000016");
    assert_eq!(service.metric("tokenrill_tokens_total{type=\"input\"}").await.to_bits(), 8f64.to_bits());
    assert_eq!(service.get("/v1/generations").await.json().await["data"], json!([]));
}

#[tokio::test]
async fn requests_and_tokens_are_limited() {
    let upstream = Upstream::start().await;
    for (quota, name) in [
        (Quota { requests_per_minute: NonZeroU32::new(1), ..Quota::default() }, "requests"),
        (Quota { tokens_per_minute: NonZeroU32::new(12), ..Quota::default() }, "tokens"),
    ] {
        let mut settings = Service::settings(&upstream.base_url());
        settings.limits.each = quota;
        let service = Service::with(settings).await;
        let first = answered(&service, &upstream, &body()).await;
        assert_eq!((first.status, first.header(&format!("x-ratelimit-remaining-{name}")).is_empty()), (200, false));
        let refused = send(&service, &body()).await;
        assert_eq!((refused.status, refused.header("x-should-retry")), (429, "true"), "{name}");
        assert!(!refused.header("retry-after").is_empty());
        assert_eq!(refused.json().await["error"]["code"], "rate_limited", "{name}");
    }
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn slot_is_held_until_the_answer_and_a_second_request_does_not_wait() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.limits.each = Quota { concurrent_generations: NonZeroU32::new(1), ..Quota::default() };
    let service = Service::with(settings).await;
    let (answer, _) = sent(&service, &upstream, &body(), async |call| {
        let refused = send(&service, &body()).await;
        assert_eq!((refused.status, &refused.json().await["error"]["code"]), (429, &json!("too_many_generations")));
        call.json(ANSWER).await;
    })
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answered(&service, &upstream, &body()).await.status, 200);
}

#[tokio::test]
async fn budget_requires_prices_of_the_input_alone() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.prices.insert("scripted/m".to_owned(), price("1000", None));
    let (service, key) = with_budget(settings, "0.012").await;
    let request = |model: &str| {
        let body = json!({"model": model, "input": "The quick brown fox"});
        Answer::to(service.request(Method::POST, "/v1/embeddings").json(&body).bearer_auth(&key))
    };
    let unpriced = request("other").await;
    assert_eq!((unpriced.status, &unpriced.json().await["error"]["code"]), (403, &json!("model_unpriced")));
    let (paid, ()) = tokio::join!(request("m"), async { upstream.call().await.json(ANSWER).await });
    assert_eq!(paid.status, 200);
    // Of 0.012 dollars, 0.008 are spent, and five tokens are estimated.
    let refused = request("m").await;
    assert_eq!((refused.status, refused.header("x-should-retry")), (429, "false"));
    assert_eq!(refused.json().await["error"]["code"], "budget_exceeded");
}

#[tokio::test]
async fn credential_needs_the_scope_generate_and_its_list_of_models_applies() {
    let few = NewKey::random().expect("random bytes");
    let mut settings = Settings::default();
    settings.auth.api_keys.push(ApiKeySettings {
        name: "few".into(),
        hash: few.hash.to_string(),
        models: Some(vec!["demo?headers*".into()]),
        ..ApiKeySettings::default()
    });
    let (service, keys) = Service::guarded(settings, &[("all", &["generate"]), ("viewer", &["follow"])]).await;
    let request = |body: Value, key: &str| {
        Answer::to(service.request(Method::POST, "/v1/embeddings").json(&body).bearer_auth(key))
    };
    let demo = json!({"model": "demo", "input": "a"});
    for (key, status) in [("wrong", 401), (&keys["viewer"], 403), (&few.key, 403), (&keys["all"], 200)] {
        let answer = request(demo.clone(), key).await;
        assert_eq!(answer.status, status);
        if status != 200 {
            assert!(answer.json().await["error"]["message"].is_string());
        }
    }
    let allowed = json!({"model": "demo?headers=1ms", "input": "a"});
    assert_eq!(request(allowed.clone(), &few.key).await.status, 200);
    let mut steering = allowed;
    steering["models"] = json!(["demo"]);
    assert_eq!(request(steering, &few.key).await.status, 400);
}

#[tokio::test]
async fn unknown_model_is_refused_with_the_models_that_exist() {
    let service = Service::start().await;
    let answer = send(&service, &json!({"model": "nope", "input": "a"})).await;
    assert_eq!(answer.status, 404);
    let error = &answer.json().await["error"];
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("model_not_found"), &json!("No upstream serves this model. You may use `demo`."))
    );
}

#[tokio::test]
async fn demo_embeds_the_same_text_always_alike() {
    let service = Service::start().await;
    let request = json!({"model": "demo", "input": ["Hello world", "Hello world"], "dimensions": 16});
    let (first, again) = (send(&service, &request).await.text().await, send(&service, &request).await.text().await);
    assert_eq!(first, again);
    let answer: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(answer["data"][0]["embedding"], answer["data"][1]["embedding"]);
    assert_eq!((&answer["data"][1]["index"], &answer["object"]), (&json!(1), &json!("list")));
    let refused = send(&service, &json!({"model": "demo?status=429&retry_after=3", "input": "a"})).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "3"));
}

#[tokio::test]
async fn answer_without_room_in_the_memory_for_bodies_is_refused_and_not_retried() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.server.max_body = "64KiB".parse().expect("a size");
    settings.server.max_body_memory = "128KiB".parse().expect("a size");
    let service = Service::with(settings).await;
    let large = format!(r#"{{"data":["{}"]}}"#, "A".repeat(1 << 20));
    let script = async |call: &mut Call| {
        call.blurt(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{large}", large.len())).await;
    };
    let (answer, _) = sent(&service, &upstream, &body(), script).await;
    assert_eq!((answer.status, answer.header("x-should-retry")), (503, "false"));
    assert_eq!(answer.json().await["error"]["code"], "overloaded");
}
