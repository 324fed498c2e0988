//! An upstream with Anthropic's Messages API, behind the native wire and chat completions.

pub mod script;

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokenrill::app;
use tokenrill::settings::{Settings, UpstreamDialect};

use crate::support::{Answer, Call, Event, Service, Upstream, case, text};
use script::{KEY, Message, event, ping, start_message, stop_message};

const SIGNATURE: &str = "EqQBCgIYAhIM+/c2lnbmF0dXJl==";

/// A service in front of a scripted upstream of this dialect.
struct Scene {
    upstream: Upstream,
    service: Service,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let upstream = Upstream::start().await;
        let mut settings = script::settings(&upstream);
        change(&mut settings);
        let service = Service::in_environment(settings, script::environment()).await;
        Self { upstream, service }
    }

    async fn complete(&self, body: &Value) -> Answer {
        let request = self.service.request(Method::POST, "/v1/chat/completions");
        Answer::to(request.header(CONTENT_TYPE, "application/json").body(body.to_string())).await
    }

    /// Sends a request to `/v1/chat/completions`, which `script` answers.
    async fn completed(&self, body: &Value, script: impl AsyncFnOnce(&mut Call)) -> (Answer, Call) {
        tokio::join!(self.complete(body), async {
            let mut call = self.upstream.call().await;
            script(&mut call).await;
            call
        })
    }

    /// Sends a request to `/v1/generations`, which `script` answers, and returns all events.
    async fn generated(&self, body: &Value, script: impl AsyncFnOnce(&mut Call)) -> (Vec<Event>, Call) {
        let answer = self.service.generate(body).await;
        let mut call = self.upstream.call().await;
        script(&mut call).await;
        (answer.events().await, call)
    }
}

fn chat(stream: bool) -> Value {
    json!({"model": "claude", "messages": [{"role": "user", "content": "Hello"}], "stream": stream})
}

/// Answers with thinking, a text and two tool calls.
async fn answer_with_tools(call: &mut Call) {
    let mut message = Message::begin(call, &json!({"input_tokens": 3, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100, "output_tokens": 1})).await;
    message.thinking(&["Let me ", "th\u{ef}nk.\n"], SIGNATURE).await;
    message.redacted("cmVkYWN0ZWQ=").await;
    ping(message.call).await;
    message.text(&["I look ", "it up."]).await;
    message.tool("toolu_1", "weather", &["", "{\"city\": ", "\"Z\u{fc}rich\"}"]).await;
    message.tool("toolu_2", "time", &[""]).await;
    let usage = json!({"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 12}});
    message.end("tool_use", &usage).await;
}

fn usage() -> Value {
    json!({"input_tokens": 123, "cache_read_tokens": 100, "cache_write_tokens": 20, "output_tokens": 40, "reasoning_tokens": 12, "estimated": false})
}

fn thinking_blocks() -> Value {
    json!([
        {"type": "thinking", "thinking": "Let me th\u{ef}nk.\n", "signature": SIGNATURE},
        {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="},
    ])
}

fn tool_calls() -> Value {
    json!([
        {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Z\u{fc}rich\"}"}},
        {"id": "toolu_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ])
}

#[tokio::test]
async fn request_is_converted_with_the_key_and_the_version_in_headers() {
    for suffix in ["", "/v1", "/v1/"] {
        let scene = Scene::with(|settings| {
            let url = format!("{}{suffix}", settings.upstreams[0].base_url.as_str());
            settings.upstreams[0].base_url = url.parse().expect("a URL");
        })
        .await;
        let body =
            json!({"model": "claude", "input": "Hello", "max_tokens": 9, "temperature": 0.5, "seed": 7, "user": "u"});
        let (events, call) = scene.generated(&body, async |call| Message::answer(call, "Hi").await).await;
        assert_eq!(text(&events), "Hi");
        assert!(call.head.starts_with("post /v1/messages http/1.1\r\n"), "{}", call.head);
        for header in ["x-api-key: sk-ant-secret", "anthropic-version: 2023-06-01", "accept: text/event-stream"] {
            assert!(call.head.contains(&format!("\r\n{header}\r\n")), "{}", call.head);
        }
        assert!(!call.head.contains("authorization"), "{}", call.head);
        assert_eq!(
            call.body,
            json!({
                "model": "claude", "max_tokens": 9, "stream": true, "temperature": 0.5, "metadata": {"user_id": "u"},
                "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
            })
        );
    }
}

#[tokio::test]
async fn native_stream_has_reasoning_text_tool_calls_and_signed_thinking() {
    let scene = Scene::new().await;
    let (events, _) = scene.generated(&json!({"input": "Hello", "model": "claude"}), answer_with_tools).await;
    let of = |name: &str| -> Vec<Value> {
        events.iter().filter(|event| event.name == name).map(|event| event.data.clone()).collect()
    };
    assert_eq!(of("reasoning"), [json!({"text": "Let me "}), json!({"text": "th\u{ef}nk.\n"})]);
    assert_eq!(text(&events), "I look it up.");
    let blocks: Vec<_> = of("part").iter().map(|part| part["delta"]["thinking_blocks"][0].clone()).collect();
    assert_eq!(json!(blocks), thinking_blocks());
    assert_eq!(
        of("tool_call"),
        [
            json!({"index": 0, "id": "toolu_1", "name": "weather", "arguments": ""}),
            json!({"index": 0, "arguments": "{\"city\": "}),
            json!({"index": 0, "arguments": "\"Z\u{fc}rich\"}"}),
            json!({"index": 1, "id": "toolu_2", "name": "time", "arguments": ""}),
            json!({"index": 1, "arguments": "{}"}),
        ]
    );
    let done = of("done").remove(0);
    assert_eq!((&done["finish_reason"], &done["usage"]), (&json!("tool_calls"), &usage()));

    let generation = events[0].generation().to_owned();
    let replayed = scene.service.get(&format!("/v1/generations/{generation}/events")).await.events().await;
    assert_eq!(replayed, events);
}

#[tokio::test]
async fn chat_stream_and_whole_completion_have_the_same_answer() {
    let scene = Scene::new().await;
    let (answer, call) = scene.completed(&chat(false), answer_with_tools).await;
    assert_eq!(call.body["stream"], true, "the upstream is always asked for a stream");
    drop(call);
    let completion = answer.json().await;
    let choice = &completion["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let message = json!({
        "role": "assistant", "content": "I look it up.", "refusal": null,
        "reasoning_content": "Let me th\u{ef}nk.\n",
        "thinking_blocks": thinking_blocks(), "tool_calls": tool_calls(),
    });
    assert_eq!(choice["message"], message);
    let usage = &completion["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["completion_tokens"]), (&json!(123), &json!(40)));
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 100);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 12);

    let (answer, _) = scene.completed(&chat(true), answer_with_tools).await;
    let stream = answer.text().await;
    let chunks = stream.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let deltas: Vec<_> = chunks.map(|chunk| chunk["choices"][0]["delta"].clone()).collect();
    let joined = |name: &str| -> String { deltas.iter().filter_map(|delta| delta[name].as_str()).collect() };
    assert_eq!(
        (joined("content").as_str(), joined("reasoning_content").as_str()),
        ("I look it up.", "Let me th\u{ef}nk.\n")
    );
    let blocks: Vec<_> = deltas.iter().filter_map(|delta| delta["thinking_blocks"].as_array()).flatten().collect();
    assert_eq!(json!(blocks), thinking_blocks());
    assert_eq!(deltas.iter().filter(|delta| delta["role"] == "assistant").count(), 1);
    assert!(stream.ends_with("data: [DONE]\n\n"), "{stream}");
}

#[tokio::test]
async fn second_turn_sends_the_signed_thinking_back_byte_for_byte() {
    let scene = Scene::new().await;
    let (answer, _) = scene.completed(&chat(false), answer_with_tools).await;
    let message = answer.json().await["choices"][0]["message"].clone();
    let tool = |id: &str, result: &str| json!({"role": "tool", "tool_call_id": id, "content": result});
    let messages = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        message, tool("toolu_1", "20 degrees"), tool("toolu_2", "noon"),
    ]);
    let body = json!({"model": "claude", "messages": messages});
    let (answer, call) = scene.completed(&body, async |call| Message::answer(call, "It is warm.").await).await;
    assert_eq!(answer.json().await["choices"][0]["message"]["content"], "It is warm.");
    let block = format!(
        "{{\"type\":\"thinking\",\"thinking\":\"Let me th\u{ef}nk.\\n\",\"signature\":\"{SIGNATURE}\"}},{{\"type\":\"redacted_thinking\",\"data\":\"cmVkYWN0ZWQ=\"}}"
    );
    assert!(call.raw_body.contains(&block), "{}", call.raw_body);
    assert_eq!(call.body["system"], json!([{"type": "text", "text": "Be brief."}]));
    let [thinking, redacted] = [0, 1].map(|at| thinking_blocks()[at].clone());
    assert_eq!(
        call.body["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
            {"role": "assistant", "content": [
                thinking, redacted,
                {"type": "text", "text": "I look it up."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Z\u{fc}rich"}},
                {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "20 degrees"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "noon"},
            ]},
        ])
    );
}

#[tokio::test]
async fn error_event_fails_the_answer_before_and_after_the_first_token() {
    let scene = Scene::new().await;
    let overloaded =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"});
    let before = async |call: &mut Call| {
        call.ok().await;
        start_message(call, &json!({"input_tokens": 3, "output_tokens": 1})).await;
        ping(call).await;
        event(call, &overloaded).await;
    };
    let after = async |call: &mut Call| {
        let mut message = Message::begin(call, &json!({"input_tokens": 3, "output_tokens": 1})).await;
        message.text(&["Half"]).await;
        event(call, &overloaded).await;
    };
    let body = json!({"input": "Hello", "model": "claude"});
    let (events, _) = scene.generated(&body, before).await;
    let failed = events.last().expect("an event");
    assert_eq!((failed.name.as_str(), &failed.data["error"]["code"]), ("failed", &json!("upstream_error")));
    assert_eq!(text(&events), "");

    let (events, mut call) = scene.generated(&body, after).await;
    let failed = events.last().expect("an event");
    assert_eq!((failed.name.as_str(), &failed.data["error"]["code"]), ("failed", &json!("upstream_error")));
    assert_eq!((text(&events).as_str(), &failed.data["usage"]["input_tokens"]), ("Half", &json!(3)));
    call.closed().await;

    let (answer, _) = scene.completed(&chat(true), before).await;
    assert_eq!(answer.status, 502);
    let (answer, _) = scene.completed(&chat(true), after).await;
    let stream = answer.text().await;
    assert!(stream.contains("\"error\"") && !stream.contains("[DONE]"), "{stream}");
}

#[tokio::test]
async fn refusals_are_classified_and_show_no_key() {
    let scene = Scene::new().await;
    let error = |kind: &str, message: &str| {
        json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}).to_string()
    };
    for (status, headers, body, code, chat_status) in [
        (401, "", error("authentication_error", &format!("invalid {KEY}")), "upstream_auth", 502),
        (429, "retry-after: 7\r\n", error("rate_limit_error", "slow"), "upstream_rate_limited", 429),
        (529, "", error("overloaded_error", "Overloaded"), "upstream_overloaded", 503),
        (404, "", error("not_found_error", "model: claude"), "model_not_found", 404),
        (400, "", error("invalid_request_error", "max_tokens: 1 > 0"), "upstream_rejected", 400),
    ] {
        case(&format!("status {status}"), async {
            let refuse = async |call: &mut Call| call.refuse(status, headers, &body).await;
            let (events, _) = scene.generated(&json!({"input": "Hello", "model": "claude"}), refuse).await;
            let failed = events.last().expect("an event");
            assert_eq!((failed.name.as_str(), failed.data["error"]["code"].as_str()), ("failed", Some(code)));
            assert_eq!(failed.data["usage"], Value::Null, "nothing was billed");
            assert_eq!(failed.data["error"]["retry_after_ms"], if status == 429 { json!(7_000) } else { Value::Null });
            assert!(!failed.block.contains(KEY), "{}", failed.block);
            let (answer, _) = scene.completed(&chat(false), refuse).await;
            assert_eq!((answer.status, answer.header("retry-after") == "7"), (chat_status, status == 429));
            let body = answer.text().await;
            assert!(!body.contains(KEY), "{body}");
        })
        .await;
    }
}

#[tokio::test]
async fn prompt_that_is_too_long_has_the_code_of_openai() {
    let scene = Scene::new().await;
    let message = "prompt is too long: 208310 tokens > 200000 maximum";
    let error = json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}}).to_string();
    let (answer, _) = scene.completed(&chat(false), async |call| call.refuse(400, "", &error).await).await;
    assert_eq!(answer.status, 400);
    let error = answer.json().await["error"].clone();
    assert_eq!((&error["code"], &error["message"]), (&json!("context_length_exceeded"), &json!(message)));
}

#[tokio::test]
async fn connection_that_ends_before_the_model_has_stopped_fails_the_answer() {
    for has_stopped in [false, true] {
        let scene = Scene::new().await;
        let cut = async |call: &mut Call| {
            let mut message = Message::begin(call, &json!({"input_tokens": 3})).await;
            message.text(&["Half"]).await;
            if has_stopped {
                event(call, &json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})).await;
            }
            call.raw("0\r\n\r\n").await;
        };
        let (events, _) = scene.generated(&json!({"input": "Hello", "model": "claude"}), cut).await;
        let end = events.last().expect("an event");
        let expected = if has_stopped { ("done", Value::Null) } else { ("failed", json!("upstream_disconnected")) };
        assert_eq!((end.name.as_str(), end.data["error"]["code"].clone()), expected);
        assert_eq!(text(&events), "Half");
    }
}

#[tokio::test]
async fn cancel_closes_the_upstream_connection_and_counts_the_reported_input() {
    let scene = Scene::new().await;
    let mut answer = scene.service.generate(&json!({"input": "Hello", "model": "claude"})).await;
    let generation = answer.expect("start").await.generation().to_owned();
    let mut call = scene.upstream.call().await;
    let mut message = Message::begin(&mut call, &json!({"input_tokens": 3, "cache_read_input_tokens": 40})).await;
    message.text(&["Half"]).await;
    answer.expect("delta").await;
    Answer::to(scene.service.request(Method::POST, &format!("/v1/generations/{generation}/cancel"))).await;
    let cancelled = answer.expect("cancelled").await;
    call.closed().await;
    let usage = &cancelled.data["usage"];
    assert_eq!((&usage["input_tokens"], &usage["cache_read_tokens"]), (&json!(43), &json!(40)));
    assert_eq!((&usage["estimated"], usage["output_tokens"].as_u64() > Some(0)), (&json!(true), true));
}

#[tokio::test]
async fn connection_is_reused_after_message_stop() {
    let scene = Scene::new().await;
    let body = json!({"input": "Hello", "model": "claude"});
    let (events, call) = scene.generated(&body, async |call| Message::answer(call, "one").await).await;
    assert_eq!(text(&events), "one");
    let (answer, call) = tokio::join!(scene.service.generate(&body), call.next());
    let mut call = call.expect("a request on the same connection");
    Message::answer(&mut call, "two").await;
    assert_eq!(text(&answer.events().await), "two");
}

#[tokio::test]
async fn sampling_parameters_are_left_out_for_a_version_that_refuses_them() {
    let scene = Scene::with(|settings| settings.upstreams[0].anthropic_version = Some("2026-10-21".to_owned())).await;
    let body = json!({"input": "Hello", "model": "claude", "temperature": 1, "top_p": 1});
    let (_, call) = scene.generated(&body, async |call| Message::answer(call, "Hi").await).await;
    assert!(call.head.contains("\r\nanthropic-version: 2026-10-21\r\n"), "{}", call.head);
    assert!(call.body.get("temperature").is_none() && call.body.get("top_p").is_none(), "{}", call.body);
}

#[tokio::test]
async fn field_that_anthropic_lacks_is_refused_by_name_before_anything_is_sent() {
    let scene = Scene::new().await;
    for (field, value) in [("n", json!(2)), ("logprobs", json!(true)), ("audio", json!({"voice": "alloy"}))] {
        let mut body = chat(false);
        body[field] = value.clone();
        let answer = scene.complete(&body).await;
        assert_eq!(answer.status, 400, "{field}");
        let error = answer.json().await["error"].clone();
        assert_eq!((&error["param"], &error["code"]), (&json!(field), &json!("unsupported_parameter")));
        assert!(error["message"].as_str().is_some_and(|text| text.starts_with(&format!("`{field}` "))), "{error}");

        let mut body = json!({"input": "Hello", "model": "claude"});
        body[field] = value;
        let events = scene.service.generate(&body).await.events().await;
        let failed = events.last().expect("an event");
        assert_eq!((failed.name.as_str(), &failed.data["error"]["code"]), ("failed", &json!("upstream_rejected")));
        assert_eq!((&failed.data["error"]["upstream"]["param"], &failed.data["usage"]), (&json!(field), &Value::Null));
    }
    assert!(!scene.upstream.was_called());
}

#[tokio::test]
async fn cache_control_and_fields_of_anthropic_reach_the_upstream() {
    let scene = Scene::new().await;
    let cache = json!({"type": "ephemeral", "ttl": "1h"});
    let part = |text: &str| json!([{"type": "text", "text": text, "cache_control": cache}]);
    let tool = json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}, "cache_control": cache});
    let body = json!({
        "model": "claude", "tools": [tool], "thinking": {"type": "enabled", "budget_tokens": 1024}, "top_k": 3,
        "messages": [{"role": "system", "content": part("s")}, {"role": "user", "content": part("u")}],
    });
    let (_, call) = scene.completed(&body, async |call| Message::answer(call, "Hi").await).await;
    assert_eq!(call.body["system"], part("s"));
    assert_eq!(call.body["messages"][0]["content"], part("u"));
    assert_eq!(call.body["tools"][0]["cache_control"], cache);
    assert_eq!((&call.body["thinking"]["budget_tokens"], &call.body["top_k"]), (&json!(1024), &json!(3)));
}

#[tokio::test]
async fn models_of_all_pages_are_listed() {
    let scene = Scene::with(|settings| settings.upstreams[0].models = vec!["claude-*".to_owned()]).await;
    let model = |id: &str| json!({"type": "model", "id": id, "display_name": id, "created_at": "2025-02-19T00:00:00Z"});
    let (answer, ()) = tokio::join!(scene.service.get("/v1/models"), async {
        let mut call = scene.upstream.call().await;
        assert!(call.head.starts_with("get /v1/models?limit=1000 http/1.1\r\n"), "{}", call.head);
        assert!(
            call.head.contains("\r\nx-api-key: ") && call.head.contains("\r\nanthropic-version: "),
            "{}",
            call.head
        );
        call.json(&json!({"data": [model("claude-a")], "has_more": true, "last_id": "claude-a"}).to_string()).await;
        let mut call = call.next().await.expect("the next page");
        assert!(call.head.starts_with("get /v1/models?limit=1000&after_id=claude-a http/1.1\r\n"), "{}", call.head);
        call.json(&json!({"data": [model("claude-b"), model("other")], "has_more": false}).to_string()).await;
    });
    let models = answer.json().await["data"].clone();
    let found = |id: &str| models.as_array().and_then(|models| models.iter().find(|model| model["id"] == id)).cloned();
    assert_eq!(found("claude-a").expect("listed")["created"], 1_739_923_200);
    assert!(found("claude-b").is_some() && found("other").is_none(), "{models}");
}

#[tokio::test]
async fn check_of_upstreams_lists_the_models() {
    let upstream = Upstream::start().await;
    let (settings, environment) = (script::settings(&upstream), script::environment());
    let list = json!({"data": [{"id": "claude-a"}], "has_more": false}).to_string();
    let (checks, ()) = tokio::join!(app::check_upstreams(&settings, &environment), async {
        upstream.call().await.json(&list).await;
    });
    let checks = checks.expect("settings");
    let url = format!("http://{}/v1/models", upstream.address);
    assert_eq!(checks[0].to_string(), format!("upstream scripted {url}: ok, 1 models"));
}

#[tokio::test]
async fn key_of_an_openai_upstream_is_sent_in_the_configured_header() {
    let scene = Scene::with(|settings| {
        settings.upstreams[0].dialect = UpstreamDialect::OpenAi;
        settings.upstreams[0].auth_header = Some("api-key".to_owned());
    })
    .await;
    let (answer, call) = scene.completed(&chat(true), async |call| call.answer(&["Hi"]).await).await;
    assert_eq!(answer.status, 200);
    assert!(call.head.contains("\r\napi-key: sk-ant-secret\r\n") && !call.head.contains("bearer"), "{}", call.head);
}

#[tokio::test]
async fn missing_key_is_an_error_of_the_start() {
    let upstream = Upstream::start().await;
    let checked = app::check_upstreams(&script::settings(&upstream), &BTreeMap::new()).await;
    assert!(checked.is_err_and(|error| error.to_string().contains("ANTHROPIC_API_KEY")));
}

#[tokio::test]
async fn events_after_message_stop_are_ignored() {
    let scene = Scene::new().await;
    let late = async |call: &mut Call| {
        let mut message = Message::begin(call, &json!({"input_tokens": 3})).await;
        message.text(&["Hi"]).await;
        let delta =
            json!({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 1}});
        event(call, &delta).await;
        stop_message(call).await;
        event(call, &json!({"type": "error", "error": {"type": "api_error", "message": "late"}})).await;
        call.raw("0\r\n\r\n").await;
    };
    let (events, _) = scene.generated(&json!({"input": "Hello", "model": "claude"}), late).await;
    let done = events.last().expect("an event");
    assert_eq!((done.name.as_str(), &done.data["finish_reason"]), ("done", &json!("length")));
}
