//! Anthropic's Messages API as clients see it, in front of upstreams of both dialects.

use std::future::pending;

use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::settings::Settings;

use crate::anthropic::script::{self, Message};
use crate::support::{Answer, Call, Service, Upstream, case};

const SIGNATURE: &str = "EqQBCgIYAhIM+/c2lnbmF0dXJl==";

fn message(stream: bool) -> Value {
    json!({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}], "stream": stream})
}

async fn send(service: &Service, body: &Value) -> Answer {
    Answer::to(service.request(Method::POST, "/v1/messages").json(body)).await
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

/// Returns the events of a stream. Each must have its type as its name.
fn events(stream: &str) -> Vec<Value> {
    let blocks = stream.split_terminator("\n\n").filter(|block| !block.starts_with(':'));
    let event = |block: &str| {
        let (name, data) = block.split_once('\n').unwrap_or_else(|| panic!("{block}"));
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect(block);
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str(), "{block}");
        data
    };
    blocks.map(event).collect()
}

/// Returns the content that the events of a stream make.
fn content(events: &[Value]) -> Vec<Value> {
    let mut content: Vec<Value> = Vec::new();
    for event in events {
        let delta = &event["delta"];
        match event["type"].as_str() {
            Some("content_block_start") => {
                assert_eq!(event["index"], content.len());
                content.push(event["content_block"].clone());
            }
            Some("content_block_delta") => {
                let block = content.last_mut().expect("a block");
                let (member, text) = match delta["type"].as_str() {
                    Some("text_delta") => ("text", &delta["text"]),
                    Some("thinking_delta") => ("thinking", &delta["thinking"]),
                    Some("signature_delta") => ("signature", &delta["signature"]),
                    _ => ("partial_json", &delta["partial_json"]),
                };
                block[member] =
                    (block[member].as_str().unwrap_or_default().to_owned() + text.as_str().expect("text")).into();
            }
            Some("content_block_stop") => {
                let block = content.last_mut().expect("a block").as_object_mut().expect("an object");
                if let Some(input) = block.remove("partial_json") {
                    block["input"] = serde_json::from_str(input.as_str().expect("text")).expect("JSON");
                }
            }
            _ => {}
        }
    }
    content
}

async fn answer_with_tools(call: &mut Call) {
    call.ok().await;
    call.delta(json!({"role": "assistant", "reasoning_content": "hm"})).await;
    call.text("I look ").await;
    call.text("it up.").await;
    let fragment = |index: u32, id: Option<&str>, arguments: &str| {
        let mut fragment = json!({"index": index, "function": {"arguments": arguments}});
        if let Some(id) = id {
            fragment["id"] = id.into();
            fragment["type"] = "function".into();
            fragment["function"]["name"] = "weather".into();
        }
        json!({"tool_calls": [fragment]})
    };
    // In turn, as some servers send them.
    for (index, id, arguments) in [
        (0, Some("call_0"), ""),
        (1, Some("call_1"), "{\"city\":"),
        (0, None, "{\"city\":\"Z\u{fc}rich\"}"),
        (1, None, "\"Bern\"}"),
    ] {
        call.delta(fragment(index, id, arguments)).await;
    }
    call.finish("tool_calls").await;
    call.data(json!({"id": "c1", "choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 20}}})).await;
    call.done().await;
}

fn tool(id: &str, city: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "weather", "input": {"city": city}, "caller": {"type": "direct"}})
}

#[tokio::test]
async fn answer_of_a_chat_server_is_a_message_as_a_stream_and_as_a_whole() {
    let upstream = Upstream::start().await;
    let service = Service::with(Service::settings(&upstream.base_url())).await;
    let expected = [
        json!({"type": "thinking", "thinking": "hm", "signature": ""}),
        json!({"type": "text", "text": "I look it up.", "citations": null}),
        tool("call_0", "Z\u{fc}rich"),
        tool("call_1", "Bern"),
    ];
    let (answer, call) = sent(&service, &upstream, &message(true), answer_with_tools).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
    assert!(answer.header("request-id").starts_with("req_"));
    assert_eq!((&call.body["stream"], &call.body["max_completion_tokens"]), (&json!(true), &json!(100)));
    let events = events(&answer.text().await);
    assert_eq!(content(&events), expected);
    let [.., delta, stop] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((&delta["delta"]["stop_reason"], &stop["type"]), (&json!("tool_use"), &json!("message_stop")));
    let usage = &delta["usage"];
    assert_eq!([&usage["input_tokens"], &usage["cache_read_input_tokens"], &usage["output_tokens"]], [10, 20, 7]);

    // So that its connection is not used again.
    drop(call);
    let (answer, _) = sent(&service, &upstream, &message(false), answer_with_tools).await;
    assert_eq!(answer.status, 200);
    let whole = answer.json().await;
    assert_eq!(whole["content"], json!(expected));
    assert_eq!(
        (&whole["type"], &whole["stop_reason"], &whole["model"]),
        (&json!("message"), &json!("tool_use"), &json!("m"))
    );
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn request_reaches_a_server_of_anthropics_dialect_as_it_came_and_its_answer_comes_back_unharmed() {
    let upstream = Upstream::start().await;
    let service = Service::in_environment(script::settings(&upstream), script::environment()).await;
    let cached = json!({"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}});
    let thinking = json!({"type": "thinking", "thinking": "before", "signature": SIGNATURE});
    let mut body = message(true);
    body["model"] = "claude".into();
    body["system"] = json!([cached]);
    body["messages"] = json!([
        {"role": "user", "content": [cached]},
        {"role": "assistant", "content": [thinking, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1.5}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "is_error": true, "content": "no"}]},
    ]);
    body["tools"] = json!([{"type": "web_search_20250305", "name": "web_search"}]);
    body["thinking"] = json!({"type": "adaptive"});
    body["grace_ms"] = 0.into();
    let (answer, call) = sent(&service, &upstream, &body, async |call: &mut Call| {
        let mut message = Message::begin(call, &json!({"input_tokens": 3, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100, "output_tokens": 1})).await;
        message.thinking(&["Let me ", "think."], SIGNATURE).await;
        message.redacted("cmVk").await;
        message.text(&["No."]).await;
        message.end("stop_sequence", &json!({"output_tokens": 40})).await;
    })
    .await;
    let members = body.as_object_mut().expect("an object");
    members.remove("grace_ms");
    assert_eq!(call.body, body);
    let events = events(&answer.text().await);
    let expected = [
        json!({"type": "thinking", "thinking": "Let me think.", "signature": SIGNATURE}),
        json!({"type": "redacted_thinking", "data": "cmVk"}),
        json!({"type": "text", "text": "No.", "citations": null}),
    ];
    assert_eq!(content(&events), expected);
    let end = &events[events.len() - 2];
    assert_eq!(
        (&end["delta"]["stop_reason"], &end["delta"]["stop_sequence"]),
        (&json!("stop_sequence"), &json!("END"))
    );
    let usage = &end["usage"];
    assert_eq!(
        [&usage["input_tokens"], &usage["cache_creation_input_tokens"], &usage["cache_read_input_tokens"]],
        [3, 20, 100]
    );
}

#[tokio::test]
async fn field_that_no_target_can_carry_is_refused_by_name_before_the_model_is_asked() {
    let upstream = Upstream::start().await;
    let service = Service::with(Service::settings(&upstream.base_url())).await;
    for (field, value, named) in [
        ("tools", json!([{"type": "bash_20250124", "name": "bash"}]), "tools[0]"),
        ("mcp_servers", json!([{"name": "x"}]), "mcp_servers"),
        ("max_tokens", Value::Null, "/max_tokens"),
        ("api_base", json!("http://x"), "/api_base"),
        ("messages", json!([{"role": "user", "content": [{"type": "container_upload"}]}]), "messages[0].content[0]"),
    ] {
        for stream in [true, false] {
            let refused = async {
                let mut body = message(stream);
                body[field] = value.clone();
                let answer = send(&service, &body).await;
                let id = answer.header("request-id").to_owned();
                assert_eq!((answer.status, answer.header("x-should-retry")), (400, "false"));
                let error = answer.json().await;
                assert_eq!(
                    (&error["type"], &error["error"]["type"]),
                    (&json!("error"), &json!("invalid_request_error"))
                );
                assert_eq!(error["request_id"], id);
                assert!(error["error"]["message"].as_str().expect("a text").contains(named), "{error}");
            };
            case(named, refused).await;
        }
    }
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn failure_before_the_first_token_is_a_status_and_a_later_one_an_error_event() {
    let upstream = Upstream::start().await;
    let service = Service::with(Service::settings(&upstream.base_url())).await;
    for (status, expected, kind) in [
        (400, 400, "invalid_request_error"),
        (401, 502, "api_error"),
        (404, 404, "not_found_error"),
        (413, 413, "request_too_large"),
        (429, 429, "rate_limit_error"),
        (503, 503, "overloaded_error"),
        (504, 504, "timeout_error"),
    ] {
        let failed = async {
            let refuse = async |call: &mut Call| {
                let error = json!({"error": {"message": "words", "code": "model_not_found"}});
                call.refuse(status, "retry-after: 120\r\n", &error.to_string()).await;
            };
            let whole = message(false);
            let (answer, ()) = tokio::join!(send(&service, &whole), async {
                refuse(&mut upstream.call().await).await;
            });
            assert_eq!(answer.status, expected);
            assert_eq!(answer.json().await["error"]["type"], kind);
        };
        case(&status.to_string(), failed).await;
    }
    let service = Service::with(Service::settings(&upstream.base_url())).await;
    let (answer, _) = sent(&service, &upstream, &message(true), async |call: &mut Call| {
        call.ok().await;
        call.text("Hel").await;
        call.data(json!({"error": {"message": "words"}})).await;
    })
    .await;
    assert_eq!(answer.status, 200);
    let events = events(&answer.text().await);
    let last = events.last().expect("an end");
    assert_eq!((&last["type"], &last["error"]["type"]), (&json!("error"), &json!("api_error")));
    assert_eq!(content(&events)[0]["text"], "Hel");
}

#[tokio::test]
async fn closed_connection_stops_the_model_in_each_phase() {
    let upstream = Upstream::start().await;
    let service = Service::with(Service::settings(&upstream.base_url())).await;
    for stream in [true, false] {
        for has_token in [false, true] {
            let closed = async {
                let request = service.request(Method::POST, "/v1/messages").json(&message(stream));
                let reading = async {
                    let _response = request.send().await;
                    pending::<Call>().await
                };
                let answering = async {
                    let mut call = upstream.call().await;
                    call.ok().await;
                    if has_token {
                        call.text("Hel").await;
                    }
                    call
                };
                let mut call = tokio::select! {
                    call = reading => call,
                    call = answering => call,
                };
                call.closed().await;
            };
            case(&format!("stream {stream}, token {has_token}"), closed).await;
        }
    }
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn message_is_followed_in_its_own_format_with_ids_and_resumed_after_each() {
    let upstream = Upstream::start().await;
    let service = Service::with(Service::settings(&upstream.base_url())).await;
    let (answer, _) = sent(&service, &upstream, &message(true), answer_with_tools).await;
    let id = answer.header("tokenrill-generation").to_owned();
    let live = answer.text().await;
    let path = format!("/v1/generations/{id}/events?format=messages");
    let followed = service.get(&path).await.text().await;
    let is_data = |line: &&str| line.starts_with("event: ") || line.starts_with("data: ");
    assert!(followed.lines().filter(is_data).eq(live.lines().filter(is_data)));
    let mut rest = followed.as_str();
    while let Some((_, after)) = rest.split_once("\nid: ") {
        let (event, after) = after.split_once('\n').expect("a line");
        let resumed = Answer::to(service.request(Method::GET, &path).header("last-event-id", event)).await;
        if resumed.status == 204 {
            break;
        }
        // The first block of each stream has the delay for a reconnection.
        let resumed = resumed.text().await.replacen("retry: 1000\n", "", 1);
        assert_eq!(resumed, after.trim_start_matches('\n'), "after {event}");
        rest = after;
    }
}

#[tokio::test]
async fn generation_of_another_wire_is_followed_as_a_message() {
    let service = Service::start().await;
    let events = service.generate(&json!({"input": "Hello", "model": "demo?tokens=5&rate=max"})).await.events().await;
    let path = format!("/v1/generations/{}/events?format=messages", events[0].generation());
    let followed = service.get(&path).await.text().await;
    assert!(followed.starts_with("event: message_start\n") && followed.contains("event: message_stop\n"), "{followed}");
}

#[tokio::test]
async fn tokens_are_counted_without_a_call_of_the_upstream() {
    let upstream = Upstream::start().await;
    let service = Service::with(Service::settings(&upstream.base_url())).await;
    let mut body = message(false);
    body.as_object_mut().expect("an object").remove("max_tokens");
    let count = async |body: &Value| {
        let answer = Answer::to(service.request(Method::POST, "/v1/messages/count_tokens").json(body)).await;
        assert_eq!(answer.status, 200);
        answer.json().await["input_tokens"].as_u64().expect("a number")
    };
    let short = count(&body).await;
    body["system"] = "You answer in one sentence, whatever the question is.".into();
    let long = count(&body).await;
    assert!(short > 0 && long > short + 5, "{short}, {long}");
    assert!(!upstream.was_called());
    let refused = service.request(Method::POST, "/v1/messages/count_tokens").json(&json!({"model": "m"}));
    let refused = Answer::to(refused).await;
    assert_eq!((refused.status, &refused.json().await["type"]), (400, &json!("error")));
}

#[tokio::test]
async fn limit_of_the_settings_caps_the_tokens_that_are_asked_for() {
    let upstream = Upstream::start().await;
    let mut settings: Settings = Service::settings(&upstream.base_url());
    settings.limits.each.max_output_tokens = std::num::NonZeroU32::new(50);
    let service = Service::with(settings).await;
    let mut body = message(false);
    // Not a field of this API: it must not stand for the limit.
    body["max_completion_tokens"] = 10.into();
    let (_, call) = sent(&service, &upstream, &body, async |call: &mut Call| call.answer(&["Hello"]).await).await;
    assert_eq!(call.body["max_completion_tokens"], 50);
}
