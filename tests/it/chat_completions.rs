//! The OpenAI chat completions API, and its streams and objects beside the native ones of the same log.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::support::{Answer, Service, Upstream, soon};

async fn complete(service: &Service, body: &Value) -> Answer {
    let request = service.request(Method::POST, "/v1/chat/completions").header(CONTENT_TYPE, "application/json");
    Answer::to(request.body(body.to_string())).await
}

fn chat(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hello"}], "stream": true})
}

/// Returns the data of each block. Panics if a block has another field.
fn data(stream: &str) -> Vec<&str> {
    let blocks = stream.split_terminator("\n\n");
    blocks
        .map(|block| {
            block.strip_prefix("data: ").filter(|data| !data.contains('\n')).unwrap_or_else(|| panic!("{block}"))
        })
        .collect()
}

fn without(stream: &str, fields: &[&str]) -> String {
    let lines = stream.split_inclusive('\n').filter(|line| !fields.iter().any(|field| line.starts_with(field)));
    lines.collect()
}

#[tokio::test]
async fn chat_stream_contains_only_chunks_and_done() {
    let service = Service::start().await;
    let answer = complete(&service, &chat("demo?tokens=30&rate=max")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
    assert!(answer.header("tokenrill-generation").starts_with("gen_"));
    let text = answer.text().await;
    let data = data(&text);
    assert_eq!(data.last(), Some(&"[DONE]"));
    let chunks: Vec<Value> =
        data[..data.len() - 1].iter().map(|data| serde_json::from_str(data).expect("JSON")).collect();
    for member in ["id", "created", "model", "object"] {
        assert!(chunks.iter().all(|chunk| chunk[member] == chunks[0][member] && !chunk[member].is_null()), "{member}");
    }
    let roles = chunks.iter().filter(|chunk| chunk["choices"][0]["delta"]["role"] == "assistant").count();
    let finishes = chunks.iter().filter(|chunk| chunk["choices"][0]["finish_reason"] == "stop").count();
    assert_eq!((roles, finishes), (1, 1));
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "usage was not requested");
}

#[tokio::test]
async fn include_usage_adds_one_usage_chunk() {
    let service = Service::start().await;
    let mut body = chat("demo?tokens=3&rate=max");
    body["stream_options"] = json!({"include_usage": true});
    let text = complete(&service, &body).await.text().await;
    let data = data(&text);
    let usage: Value = serde_json::from_str(data[data.len() - 2]).expect("JSON");
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(3)));
    assert_eq!(data.iter().filter(|data| data.contains("\"usage\"")).count(), 1);
}

#[tokio::test]
async fn live_and_replayed_streams_match_on_both_wires() {
    let service = Service::start().await;
    let answer = complete(&service, &chat("demo?tokens=40&reasoning=3&rate=max")).await;
    let events = format!("/v1/generations/{}/events", answer.header("tokenrill-generation"));
    let live = answer.text().await;

    let chunks = service.get(&format!("{events}?format=openai")).await.text().await;
    assert_eq!(without(&chunks, &["id: ", "retry: "]), live, "the same data lines, with ids");
    assert_eq!(service.get(&format!("{events}?format=openai")).await.text().await, chunks);

    let native = service.get(&events).await.events().await;
    let said: String = native.iter().filter_map(|event| event.data["text"].as_str()).collect();
    let chunked = data(&live).into_iter().filter_map(|data| serde_json::from_str::<Value>(data).ok());
    let spoken: String = chunked
        .map(|chunk| {
            let delta = &chunk["choices"][0]["delta"];
            ["reasoning_content", "content"]
                .map(|member| delta[member].as_str().unwrap_or_default().to_owned())
                .concat()
        })
        .collect();
    assert_eq!(said, spoken);

    // A stream of chunks can be resumed after any of its ids.
    let ids: Vec<_> = chunks.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    for (at, id) in ids.iter().enumerate().take(ids.len() - 1) {
        let request = service.request(Method::GET, &format!("{events}?format=openai")).header("last-event-id", *id);
        let rest = Answer::to(request).await.text().await;
        let begun = chunks.find(&format!("id: {id}\n\n")).expect("the id") + id.len() + "id: \n\n".len();
        assert_eq!(
            without(&rest, &["retry: "]),
            without(chunks.split_at(begun).1, &["retry: "]),
            "after the id number {at}"
        );
    }
}

#[tokio::test]
async fn native_generation_can_be_followed_as_chunks() {
    let service = Service::start().await;
    let answer = service.generate(&json!({"model": "demo?tool=weather&rate=max", "input": "Hello"})).await;
    let events = format!("/v1/generations/{}/events?format=openai", answer.header("tokenrill-generation"));
    let (native, chunks) = (answer.events().await, service.get(&events).await.text().await);
    assert!(native.iter().any(|event| event.name == "tool_call") && chunks.contains("\"tool_calls\""));
    assert!(chunks.contains("\n\ndata: [DONE]\nretry: 86400000\nid: gen_"));
    assert_eq!(service.get(&events.replace("openai", "nonsense")).await.status, 400);
}

#[tokio::test]
async fn unknown_fields_of_upstream_chunks_are_kept() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let body = chat("m");
    let (answer, ()) = tokio::join!(complete(&service, &body), async {
        let mut call = upstream.call().await;
        call.ok().await;
        call.data(r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":"a","vendor":{"x":[1]}},"logprobs":{"content":[]},"finish_reason":null}],"citations":["u"]}"#).await;
        call.finish("stop").await;
        call.done().await;
    });
    let text = answer.text().await;
    assert_eq!(
        data(&text)[0],
        r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":"a","vendor":{"x":[1]}},"logprobs":{"content":[]},"finish_reason":null}],"citations":["u"]}"#
    );
}

#[tokio::test]
async fn whole_completion_equals_the_merged_stream() {
    let service = Service::start().await;
    let mut body = chat("demo?tokens=12&reasoning=4&rate=max");
    body["n"] = json!(2);
    body["logprobs"] = json!(true);
    body["stream"] = json!(false);
    let answer = complete(&service, &body).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let path = format!("/v1/generations/{}", answer.header("tokenrill-generation"));
    let completion = answer.json().await;
    assert_eq!(completion["object"], "chat.completion");
    let snapshot = service.get(&path).await.json().await;
    for choice in [0, 1] {
        let (whole, part) = (&completion["choices"][choice], &snapshot["choices"][choice]);
        assert_eq!(whole["index"], choice);
        assert_eq!(whole["message"]["role"], "assistant");
        assert_eq!(whole["message"]["content"], part["text"]);
        assert_eq!(whole["message"]["reasoning_content"], part["reasoning"]);
        assert_eq!(whole["finish_reason"], "stop");
        assert_eq!(whole["logprobs"]["content"].as_array().map(Vec::len), Some(12));
    }
    assert_eq!(
        completion["usage"]["total_tokens"],
        completion["usage"]["prompt_tokens"].as_u64().expect("a count") + 2 * 16
    );
}

#[tokio::test]
async fn disconnect_cancels_streaming_and_whole_completions() {
    for streaming in [true, false] {
        let upstream = Upstream::start().await;
        let service = Service::before(&upstream.base_url()).await;
        let mut body = chat("m");
        body["stream"] = json!(streaming);
        let mut call = {
            let answer = complete(&service, &body);
            tokio::pin!(answer);
            let mut call = tokio::select! {
                call = upstream.call() => call,
                _ = &mut answer => panic!("answered before the upstream did"),
            };
            call.ok().await;
            call
        };
        call.closed().await;
        service.metric_becomes("tokenrill_generations_total{outcome=\"cancelled\"}", 1.0).await;
        service.metric_becomes("tokenrill_generations_live", 0.0).await;
    }
}

#[tokio::test]
async fn head_is_sent_after_head_wait_and_a_later_failure_is_in_the_stream() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.generation.head_wait = Duration::from_millis(50);
    settings.generation.heartbeat = Duration::from_millis(50);
    let service = Service::with(settings).await;
    let body = chat("m");
    let (answer, mut call) = tokio::join!(complete(&service, &body), upstream.call());
    assert_eq!(answer.status, 200, "before the upstream has answered");
    call.refuse(500, "", "secret").await;
    let text = answer.text().await;
    assert!(
        text.contains("\"code\":\"upstream_error\"") && !text.contains("[DONE]") && !text.contains("secret"),
        "{text}"
    );
}

#[tokio::test]
async fn unstored_generation_is_removed_with_its_last_viewer() {
    let service = Service::start().await;
    let mut body = chat("demo?tokens=2&rate=max");
    body["store"] = json!(false);
    let answer = complete(&service, &body).await;
    let path = format!("/v1/generations/{}", answer.header("tokenrill-generation"));
    answer.text().await;
    soon(async {
        while service.get(&path).await.status != 404 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn model_object_equals_its_list_entry() {
    let service = Service::start().await;
    let list = service.get("/v1/models").await.json().await;
    assert_eq!(service.get("/v1/models/demo").await.json().await, list["data"][0]);
    let unknown = service.get("/v1/models/nothing").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.json().await["error"]["code"], "model_not_found");
}
