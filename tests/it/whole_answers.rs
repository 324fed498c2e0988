//! Whole answers: requested from the upstream without streaming and returned unchanged.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokenrill::settings::{OnDisconnect, Settings};

use crate::support::{Answer, Call, Service, Upstream, soon};

/// Has whitespace, member order and members that this service would not write.
const COMPLETION: &str = "{\n \"choices\" : [ {\"finish_reason\":\"stop\",\"index\":0,\"message\":{\"content\":\"Hello \\u0077orld\",\"role\":\"assistant\",\"vendor\":1.0}} ],\n \"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7,\"x\":1e3},\"id\":\"c\",\"model\":\"m\"}\n";

fn request(service: &Service, body: &Value) -> RequestBuilder {
    let request = service.request(Method::POST, "/v1/chat/completions").header(CONTENT_TYPE, "application/json");
    request.body(body.to_string())
}

fn chat() -> Value {
    json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
}

/// A service with an upstream and changed settings.
async fn service(change: impl FnOnce(&mut Settings)) -> (Upstream, Service) {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    change(&mut settings);
    (upstream, Service::with(settings).await)
}

/// The response to a request for a whole answer, which the upstream answers with `reply`.
async fn request_whole_answer(change: impl FnOnce(&mut Settings), reply: impl AsyncFnOnce(Call)) -> (Service, Answer) {
    let (upstream, service) = service(change).await;
    let (answer, ()) = tokio::join!(Answer::to(request(&service, &chat())), async {
        let call = upstream.call().await;
        assert_eq!(call.body["stream"], false);
        reply(call).await;
    });
    (service, answer)
}

#[tokio::test]
async fn whole_answer_is_returned_byte_for_byte() {
    let (service, answer) = request_whole_answer(
        |_| {},
        async |mut call| {
            assert!(call.head.contains("\r\naccept: application/json\r\n"), "{}", call.head);
            call.json(COMPLETION).await;
        },
    )
    .await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let path = format!("/v1/generations/{}", answer.header("tokenrill-generation"));
    assert_eq!(answer.text().await, COMPLETION);

    let events = service.get(&format!("{path}/events")).await.events().await;
    assert_eq!(
        events.iter().map(|event| event.name.as_str()).filter(|name| *name != "part").collect::<Vec<_>>(),
        ["start", "delta", "done"]
    );
    let done = &events[events.len() - 1].data;
    assert_eq!((&done["finish_reason"], &done["usage"]["output_tokens"]), (&json!("stop"), &json!(2)));
    let snapshot = service.get(&path).await.json().await;
    assert_eq!(snapshot["text"], "Hello world");
}

#[tokio::test]
async fn whole_answer_can_be_repeated_and_streamed_as_chunks() {
    let (upstream, service) = service(|_| {}).await;
    let keyed = |body: &Value| request(&service, body).header("idempotency-key", "k");
    let (whole, ()) = tokio::join!(Answer::to(keyed(&chat())), async { upstream.call().await.json(COMPLETION).await });
    let path = format!("/v1/generations/{}/events?format=openai", whole.header("tokenrill-generation"));
    assert_eq!(whole.text().await, COMPLETION);
    let repeat = Answer::to(keyed(&chat())).await;
    assert_eq!(repeat.header("tokenrill-attached"), "existing");
    assert_eq!(repeat.text().await, COMPLETION);
    let chunks = service.get(&path).await.text().await;
    assert!(
        chunks.contains("chat.completion.chunk") && chunks.contains("\\u0077orld") && chunks.contains("data: [DONE]"),
        "{chunks}"
    );
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn whole_answer_is_streamed_upstream_if_viewers_may_reconnect_or_join() {
    type Change = fn(&mut Settings);
    let continues: Change = |settings| settings.generation.on_disconnect = OnDisconnect::Continue;
    let always: Change = |settings| settings.upstreams[0].always_stream = true;
    for (name, value, change) in [
        ("grace_ms", json!(1000), None),
        ("on_disconnect", json!("continue"), None),
        ("channel", json!("room-1"), None),
        ("top_k", json!(1), Some(continues)),
        ("top_k", json!(1), Some(always)),
    ] {
        let (upstream, service) = service(change.unwrap_or(|_| {})).await;
        let mut body = chat();
        body[name] = value;
        let (answer, ()) = tokio::join!(Answer::to(request(&service, &body)), async {
            let mut call = upstream.call().await;
            assert_eq!(call.body["stream"], true, "{name}");
            call.answer(&["Hello", " world"]).await;
        });
        assert_eq!(answer.json().await["choices"][0]["message"]["content"], "Hello world", "{name}");
    }
    let (upstream, service) = service(|_| {}).await;
    let asking = Answer::to(request(&service, &chat()).header("tokenrill-grace-ms", "1000"));
    let (_, ()) = tokio::join!(asking, async {
        let mut call = upstream.call().await;
        assert_eq!(call.body["stream"], true);
        call.answer(&["Hello"]).await;
    });
}

#[tokio::test]
async fn disconnect_before_or_within_the_body_closes_the_upstream() {
    for begun in ["", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"choices\":["]
    {
        let (upstream, service) = service(|_| {}).await;
        let mut call = {
            let asking = Answer::to(request(&service, &chat()));
            tokio::pin!(asking);
            let calling = async {
                let mut call = upstream.call().await;
                call.raw(begun).await;
                call
            };
            tokio::select! {
                call = calling => call,
                _ = &mut asking => panic!("answered before the upstream did"),
            }
        };
        call.closed().await;
        service.metric_becomes("tokenrill_generations_live", 0.0).await;
    }
}

/// Requests a streamed answer, and waits until it has failed at a timeout of streams.
async fn streamed_answer_times_out(upstream: &Upstream, service: &Service) {
    let mut streamed = chat();
    streamed["stream"] = json!(true);
    let (answer, _call) = tokio::join!(Answer::to(request(service, &streamed)), upstream.call());
    assert_eq!(answer.status, 504);
}

#[tokio::test]
async fn stream_timeouts_do_not_apply_to_whole_answers_but_the_deadline_does() {
    let short = |settings: &mut Settings| {
        let upstream = &mut settings.upstreams[0];
        (upstream.head_timeout, upstream.first_token_timeout) = (Duration::from_millis(20), Duration::from_millis(20));
        upstream.idle_timeout = Duration::from_millis(20);
    };
    let (upstream, service) = service(short).await;
    let (answer, ()) = tokio::join!(Answer::to(request(&service, &chat())), async {
        let mut call = upstream.call().await;
        // Longer than each of these timeouts, before the head and within the body.
        streamed_answer_times_out(&upstream, &service).await;
        let (one, other) = COMPLETION.split_at(20);
        call.raw(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{one}", COMPLETION.len())).await;
        streamed_answer_times_out(&upstream, &service).await;
        call.raw(other).await;
    });
    assert_eq!((answer.status, answer.text().await.as_str()), (200, COMPLETION));

    let deadline = |settings: &mut Settings| settings.generation.max_duration = Duration::from_millis(100);
    let (_, answer) = request_whole_answer(deadline, async |mut call| call.closed().await).await;
    assert_eq!(answer.status, 504);
}

#[tokio::test]
async fn whole_answer_above_the_size_limit_fails_and_closes_the_connection() {
    let small = |settings: &mut Settings| settings.generation.max_bytes = "64KiB".parse().expect("a size");
    let (_, answer) = request_whole_answer(small, async |mut call| {
        call.raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n{").await;
        call.repeat([b' '; 4096]).await;
    })
    .await;
    assert!(answer.status >= 500, "{}", answer.status);
}

#[tokio::test]
async fn error_or_truncation_in_a_200_response_fails() {
    for (json, code) in [
        (r#"{"error":{"message":"no","type":"server_error"}}"#, "upstream_error"),
        (r#"{"choices":[{"index":0,"message":{"content":"Hel"#, "upstream_disconnected"),
        ("", "upstream_disconnected"),
    ] {
        let (_, answer) = request_whole_answer(
            |_| {},
            async |mut call| {
                call.raw(format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{json}"
                ))
                .await;
            },
        )
        .await;
        assert!(answer.status >= 500, "{}", answer.status);
        let text = answer.text().await;
        assert!(text.contains(code), "{json}: {text}");
    }
}

#[tokio::test]
async fn stream_in_place_of_a_whole_answer_is_assembled() {
    let (_, answer) = request_whole_answer(|_| {}, async |mut call| call.answer(&["Hello", " world"]).await).await;
    let completion = answer.json().await;
    assert_eq!(completion["object"], "chat.completion");
    assert_eq!(completion["choices"][0]["message"]["content"], "Hello world");
}

#[tokio::test]
async fn missing_usage_of_a_whole_answer_is_added() {
    let json = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"odd":1.0}"#;
    let (_, answer) = request_whole_answer(|_| {}, async |mut call| call.json(json).await).await;
    let text = answer.text().await;
    let kept = json.strip_suffix('}').expect("an object");
    assert!(text.starts_with(kept), "{text}");
    let completion: Value = serde_json::from_str(&text).expect("JSON");
    assert!(completion["usage"]["completion_tokens"].as_u64() > Some(0), "{text}");
}

#[tokio::test]
async fn embedded_model_returns_whole_answers() {
    let service = Service::start().await;
    let mut body = chat();
    body["model"] = json!("demo?tokens=12&rate=max");
    let answer = soon(Answer::to(request(&service, &body))).await;
    let completion = answer.json().await;
    assert_eq!(completion["usage"]["completion_tokens"], 12);
}
