//! The AI SDK's chats as `useChat` sends and reads them: one answer per turn, resumed, continued and stopped.

use std::num::NonZero;

use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::settings::{AuthMode, Settings, UpstreamSettings};

use crate::support::{Answer, Call, Service, Upstream, case, soon};

/// Returns the message of a user.
fn user(id: &str, text: &str) -> Value {
    json!({"id": id, "role": "user", "parts": [{"type": "text", "text": text}]})
}

fn turn(chat: &str, trigger: &str, messages: &[Value]) -> Value {
    json!({"id": chat, "messages": messages, "trigger": trigger})
}

fn submitted(chat: &str, messages: &[Value]) -> Value {
    turn(chat, "submit-message", messages)
}

async fn send(service: &Service, body: &Value) -> Answer {
    Answer::to(service.request(Method::POST, "/v1/ui/chat").json(body)).await
}

async fn resume(service: &Service, chat: &str) -> Answer {
    service.get(&format!("/v1/ui/chat/{chat}/stream")).await
}

async fn stop(service: &Service, chat: &str) -> Value {
    let answer = Answer::to(service.request(Method::POST, &format!("/v1/ui/chat/{chat}/stop"))).await;
    assert_eq!(answer.status, 200);
    answer.json().await
}

/// Returns the chunks of a stream, which must end with `[DONE]`.
fn chunks(stream: &str) -> Vec<Value> {
    let blocks = stream.split_terminator("\n\n").filter(|block| !block.starts_with(':'));
    let mut data: Vec<_> = blocks.map(|block| block.strip_prefix("data: ").expect("data only")).collect();
    assert_eq!(data.pop(), Some("[DONE]"), "{stream}");
    data.into_iter().map(|data| serde_json::from_str(data).expect("JSON")).collect()
}

fn kinds(chunks: &[Value]) -> Vec<&str> {
    chunks.iter().map(|chunk| chunk["type"].as_str().expect("a type")).collect()
}

fn start_of(id: &str) -> String {
    format!("data: {}\n\n", json!({"type": "start", "messageId": id}))
}

fn message_id(answer: &Answer) -> String {
    answer.header("tokenrill-generation").replace("gen_", "msg_")
}

/// Starts an answer and lets the upstream send its first token.
async fn begun(service: &Service, upstream: &Upstream, body: &Value) -> (Answer, Call) {
    tokio::join!(send(service, body), async {
        let mut call = upstream.call().await;
        call.ok().await;
        call.text("Hel").await;
        call
    })
}

async fn end(call: &mut Call) {
    call.text("lo").await;
    call.finish("stop").await;
    call.done().await;
}

fn call_of_a_tool(arguments: &str) -> Value {
    json!({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}}]})
}

#[tokio::test]
async fn answer_is_a_stream_of_parts_that_begin_and_end() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let body = submitted("chat/1 \u{fc}", &[user("u1", "Hello")]);
    let (answer, call) = tokio::join!(send(&service, &body), async {
        let mut call = upstream.call().await;
        call.ok().await;
        call.delta(json!({"role": "assistant", "reasoning_content": "hm"})).await;
        call.text("Hel").await;
        call.text("lo").await;
        let citation = json!({"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}});
        call.delta(json!({"annotations": [citation]})).await;
        call.delta(call_of_a_tool("{\"city\":")).await;
        call.delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"Bern\"}"}}]})).await;
        call.finish("tool_calls").await;
        call.done().await;
        call
    });
    assert_eq!(call.body["messages"], json!([{"role": "user", "content": "Hello"}]));
    for own in ["id", "trigger", "messageId"] {
        assert_eq!(call.body[own], Value::Null, "{own}");
    }
    assert_eq!((answer.status, answer.header("x-vercel-ai-ui-message-stream")), (200, "v1"));
    let message = message_id(&answer);
    let call = |kind: &str, more: Value| {
        let mut chunk = json!({"type": kind, "toolCallId": "call_1"});
        chunk.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        chunk
    };
    assert_eq!(
        chunks(&answer.text().await),
        [
            json!({"type": "start", "messageId": message}),
            json!({"type": "start-step"}),
            json!({"type": "reasoning-start", "id": "r2"}),
            json!({"type": "reasoning-delta", "id": "r2", "delta": "hm"}),
            json!({"type": "reasoning-end", "id": "r2"}),
            json!({"type": "text-start", "id": "t3"}),
            json!({"type": "text-delta", "id": "t3", "delta": "Hel"}),
            json!({"type": "text-delta", "id": "t3", "delta": "lo"}),
            json!({"type": "source-url", "sourceId": "s5-0", "url": "https://a.example", "title": "A"}),
            json!({"type": "text-end", "id": "t3"}),
            call("tool-input-start", json!({"toolName": "weather"})),
            call("tool-input-delta", json!({"inputTextDelta": "{\"city\":"})),
            call("tool-input-delta", json!({"inputTextDelta": "\"Bern\"}"})),
            call("tool-input-available", json!({"toolName": "weather", "input": {"city": "Bern"}})),
            json!({"type": "finish-step"}),
            json!({"type": "finish", "finishReason": "tool-calls"}),
        ]
    );
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn page_that_returns_reads_the_same_message_from_its_beginning_with_one_upstream_call() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    assert_eq!(resume(&service, "c1").await.status, 204, "an unknown chat");
    let (answer, mut call) = begun(&service, &upstream, &submitted("c1", &[user("u1", "Hello")])).await;
    let message = message_id(&answer);
    // The page is closed.
    drop(answer);
    let mut again = resume(&service, "c1").await;
    assert_eq!((again.status, again.header("x-vercel-ai-ui-message-stream")), (200, "v1"));
    again.starts_with(&start_of(&message)).await;
    end(&mut call).await;
    let read = chunks(&again.text().await);
    let text: String = read.iter().filter_map(|chunk| chunk["delta"].as_str()).collect();
    assert_eq!(text, "Hello");
    assert_eq!(resume(&service, "c1").await.status, 204, "its end was read");
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn answer_whose_end_no_client_was_sent_is_replayed_once() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (answer, mut call) = begun(&service, &upstream, &submitted("c1", &[user("u1", "Hello")])).await;
    drop(answer);
    end(&mut call).await;
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
    let replayed = chunks(&resume(&service, "c1").await.text().await);
    assert_eq!(replayed.last().expect("an end")["finishReason"], "stop");
    // The end of the replay is noted beside the response.
    soon(async {
        while resume(&service, "c1").await.status != 204 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn failure_that_was_sent_as_a_status_is_not_replayed() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    for (chat, streams) in [("c1", true), ("c2", false)] {
        let mut body = submitted(chat, &[user("u1", "Hello")]);
        body["stream"] = streams.into();
        let (answer, ()) = tokio::join!(send(&service, &body), async {
            upstream.call().await.refuse(401, "", r#"{"error":{"message":"no"}}"#).await;
        });
        assert_eq!(answer.status, 502);
        // It is noted beside the response.
        soon(async {
            while resume(&service, chat).await.status != 204 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn chat_that_is_read_has_the_parts_that_its_stream_had() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (answer, mut call) = begun(&service, &upstream, &submitted("c1", &[user("u1", "Hello")])).await;
    let citation = json!({"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}});
    call.delta(json!({"annotations": [citation], "images": null})).await;
    call.text("lo").await;
    let fragment =
        json!({"index": 0, "id": "call_0", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    call.delta(json!({"tool_calls": [fragment]})).await;
    stop(&service, "c1").await;
    call.closed().await;
    answer.text().await;
    let messages = service.get("/v1/ui/chat/c1").await.json().await["messages"].clone();
    let parts = &messages[1]["parts"];
    assert_eq!(parts[1], json!({"type": "text", "text": "Hello", "state": "done"}));
    assert_eq!((&parts[2]["type"], &parts[2]["url"]), (&json!("source-url"), &json!("https://a.example")));
    // The answer was cut, so the arguments may lack a part.
    assert_eq!((&parts[3]["type"], &parts[3]["state"]), (&json!("tool-f"), &json!("input-streaming")));
}

#[tokio::test]
async fn id_of_a_continued_message_has_a_limit() {
    let service = Service::start().await;
    let mut message = user(&"a".repeat(513), "Hello");
    message["role"] = "assistant".into();
    let refused = send(&service, &submitted("c1", &[message])).await;
    assert_eq!(refused.status, 400);
    let sentence = refused.text().await;
    assert!(sentence.contains("512 bytes"), "{sentence}");
}

#[tokio::test]
async fn stop_ends_the_model_at_once_and_leaves_nothing_to_resume() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    assert_eq!(stop(&service, "c1").await, json!({"id": "c1", "stopped": false}));
    let (answer, mut call) = begun(&service, &upstream, &submitted("c1", &[user("u1", "Hello")])).await;
    assert_eq!(stop(&service, "c1").await, json!({"id": "c1", "stopped": true}));
    call.closed().await;
    assert_eq!(resume(&service, "c1").await.status, 204);
    let read = chunks(&answer.text().await);
    assert_eq!(kinds(&read), ["start", "start-step", "text-start", "text-delta", "text-end", "abort"]);
    assert_eq!(stop(&service, "c1").await, json!({"id": "c1", "stopped": false}));
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn repeated_submission_attaches_and_any_other_request_starts() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let messages = [user("u1", "Hello")];
    let (mut first, mut call) = begun(&service, &upstream, &submitted("c1", &messages)).await;
    let mut second = send(&service, &submitted("c1", &messages)).await;
    assert_eq!(second.header("tokenrill-attached"), "existing");
    let message = message_id(&first);
    for answer in [&mut first, &mut second] {
        answer.starts_with(&start_of(&message)).await;
    }
    assert!(!upstream.was_called());

    // The first answer has readers, so it goes on.
    let regenerated = turn("c1", "regenerate-message", &messages);
    let (third, third_call) = begun(&service, &upstream, &regenerated).await;
    assert_ne!(message_id(&third), message);
    end(&mut call).await;
    // So that its connection is not used again.
    drop(call);
    for answer in [first, second] {
        assert_eq!(chunks(&answer.text().await).last().expect("an end")["finishReason"], "stop");
    }
    // The chat has the later one, although the earlier one has ended meanwhile.
    let mut resumed = resume(&service, "c1").await;
    resumed.starts_with(&start_of(&message_id(&third))).await;
    let (fourth, fourth_call) = begun(&service, &upstream, &regenerated).await;
    assert_ne!(message_id(&fourth), message_id(&third), "a regeneration is never a repeat");
    for mut call in [third_call, fourth_call] {
        end(&mut call).await;
    }
    for answer in [third, resumed, fourth] {
        chunks(&answer.text().await);
    }
    // After its end, the same submission is another turn.
    let (again, mut call) = begun(&service, &upstream, &submitted("c1", &messages)).await;
    end(&mut call).await;
    chunks(&again.text().await);
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn repeated_submission_needs_no_free_slot() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.limits.each.concurrent_generations = Some(NonZero::new(1).expect("not zero"));
    settings.limits.queue.max_waiting = 0;
    let service = Service::with(settings).await;
    let messages = [user("u1", "Hello")];
    let (first, mut call) = begun(&service, &upstream, &submitted("c1", &messages)).await;
    let second = send(&service, &submitted("c1", &messages)).await;
    assert_eq!((second.status, second.header("tokenrill-attached")), (200, "existing"));
    assert_eq!(send(&service, &submitted("c2", &messages)).await.status, 429, "another chat needs one");
    end(&mut call).await;
    for answer in [first, second] {
        chunks(&answer.text().await);
    }
}

#[tokio::test]
async fn new_turn_stops_an_older_answer_without_a_reader() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (first, mut first_call) = begun(&service, &upstream, &submitted("c1", &[user("u1", "Hello")])).await;
    drop(first);
    service.metric_becomes("tokenrill_viewers_live", 0.0).await;
    let (second, mut second_call) = begun(&service, &upstream, &submitted("c1", &[user("u2", "Stop that")])).await;
    first_call.closed().await;
    end(&mut second_call).await;
    chunks(&second.text().await);
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn output_of_a_tool_continues_its_message_and_a_replay_runs_no_tool_again() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let held = json!({"id": "msg_held", "role": "assistant", "parts": [
        {"type": "step-start"},
        {"type": "text", "text": "Let me see.", "state": "done"},
        {"type": "tool-weather", "toolCallId": "call_1", "state": "output-available", "input": {"city": "Bern"}, "output": {"degrees": 20}},
    ]});
    let body = submitted("c1", &[user("u1", "How is the weather?"), held.clone()]);
    let (mut answer, mut call) = begun(&service, &upstream, &body).await;
    assert_eq!(
        call.body["messages"],
        json!([
            {"role": "user", "content": "How is the weather?"},
            {"role": "assistant", "content": "Let me see.", "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Bern\"}"}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "{\"degrees\":20}"},
        ])
    );
    // The page has the first step.
    answer
        .starts_with(&(start_of("msg_held") + "data: {\"type\":\"start-step\"}\n\ndata: {\"type\":\"text-start\""))
        .await;
    let resumed = resume(&service, "c1").await;
    let chat = service.get("/v1/ui/chat/c1").await.json().await;
    assert_eq!(chat["active"], true);
    end(&mut call).await;
    assert_eq!(chunks(&answer.text().await).first().expect("a start")["messageId"], "msg_held");
    let replayed = chunks(&resumed.text().await);
    assert_eq!(
        kinds(&replayed),
        [
            "start",
            "start-step",
            "text-start",
            "text-delta",
            "text-end",
            "tool-input-start",
            "tool-input-delta",
            "tool-output-available",
            "start-step",
            "text-start",
            "text-delta",
            "text-delta",
            "text-end",
            "finish-step",
            "finish",
        ]
    );
    let chat = service.get("/v1/ui/chat/c1").await.json().await;
    let mut parts = held["parts"].as_array().expect("a list").clone();
    parts.extend([json!({"type": "step-start"}), json!({"type": "text", "text": "Hello", "state": "done"})]);
    let expected = [user("u1", "How is the weather?"), json!({"id": "msg_held", "role": "assistant", "parts": parts})];
    assert_eq!(chat, json!({"id": "c1", "messages": expected, "active": false}));
}

#[tokio::test]
async fn failure_before_the_first_token_is_a_sentence_and_a_later_one_a_chunk() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let body = submitted("c1", &[user("u1", "Hello")]);
    let (answer, ()) = tokio::join!(send(&service, &body), async {
        let mut call = upstream.call().await;
        call.raw("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
    });
    assert_eq!((answer.status, answer.header("content-type")), (503, "text/plain"));
    let sentence = answer.text().await;
    assert!(sentence.ends_with('.') && !sentence.contains('{'), "{sentence}");

    let (answer, call) = begun(&service, &upstream, &body).await;
    call.reset();
    let read = chunks(&answer.text().await);
    assert_eq!(kinds(&read), ["start", "start-step", "text-start", "text-delta", "text-end", "error"]);
    assert!(read.last().expect("an error")["errorText"].as_str().expect("a text").ends_with('.'));
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn arguments_that_are_no_json_are_an_error_of_the_call() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let body = submitted("c1", &[user("u1", "Hello")]);
    let (answer, ()) = tokio::join!(send(&service, &body), async {
        let mut call = upstream.call().await;
        call.ok().await;
        call.delta(call_of_a_tool("{\"city\": \"Be")).await;
        call.finish("length").await;
        call.done().await;
    });
    let read = chunks(&answer.text().await);
    let error = read.iter().find(|chunk| chunk["type"] == "tool-input-error").expect("an error");
    assert_eq!((&error["toolName"], &error["input"]), (&json!("weather"), &json!("{\"city\": \"Be")));
    assert_eq!(read.last().expect("an end")["finishReason"], "length");
}

#[tokio::test]
async fn invalid_requests_are_refused_with_a_sentence_and_call_no_model() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let messages = json!([user("u1", "Hello")]);
    for (body, named) in [
        (json!({"messages": messages}), "id"),
        (json!({"id": "", "messages": messages}), "id"),
        (json!({"id": "c", "messages": []}), "messages"),
        (json!({"id": "c", "messages": messages, "trigger": "later"}), "trigger"),
        (json!({"id": "c", "messages": messages, "messageId": 5}), "messageId"),
        (json!({"id": "c", "messages": [{"role": "tool", "parts": []}]}), "messages/0/role"),
        (json!({"id": "c", "messages": messages, "temperature": "hot"}), "temperature"),
    ] {
        let answer = send(&service, &body).await;
        assert_eq!((answer.status, answer.header("content-type")), (400, "text/plain"), "{body}");
        let sentence = answer.text().await;
        assert!(sentence.contains(named), "{sentence}");
    }
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn chat_belongs_to_its_caller() {
    let upstream = Upstream::start().await;
    let (service, keys) = Service::guarded(
        Service::settings(&upstream.base_url()),
        &[("a", &["generate", "follow", "stop"]), ("b", &["generate", "follow", "stop"])],
    )
    .await;
    let body = submitted("c1", &[user("u1", "Hello")]);
    let (mut answer, mut call) = tokio::join!(
        async { Answer::to(service.request(Method::POST, "/v1/ui/chat").bearer_auth(&keys["a"]).json(&body)).await },
        async {
            let mut call = upstream.call().await;
            call.ok().await;
            call.text("Hel").await;
            call
        }
    );
    let message = message_id(&answer);
    answer.starts_with(&start_of(&message)).await;
    for (path, method) in [("/v1/ui/chat/c1/stream", Method::GET), ("/v1/ui/chat/c1/stop", Method::POST)] {
        case(path, async {
            let refused = Answer::to(service.request(method.clone(), path)).await;
            assert_eq!((refused.status, refused.header("content-type")), (401, "text/plain"));
            let of_another = Answer::to(service.request(method.clone(), path).bearer_auth(&keys["b"])).await;
            assert_eq!(of_another.status, if method == Method::GET { 204 } else { 200 });
        })
        .await;
    }
    let chat = Answer::to(service.request(Method::GET, "/v1/ui/chat/c1").bearer_auth(&keys["b"])).await;
    assert_eq!(chat.json().await, json!({"id": "c1", "messages": [], "active": false}));
    end(&mut call).await;
    chunks(&answer.text().await);
}

#[tokio::test]
async fn without_authentication_a_chat_that_others_could_guess_is_refused() {
    let mut settings = Settings::default();
    settings.auth.mode = Some(AuthMode::None);
    let service = Service::with(settings).await;
    let body = |id: &str| {
        let mut body = submitted(id, &[user("u1", "Hello")]);
        body["model"] = "demo?tokens=2&rate=max".into();
        body
    };
    for (answer, status) in [
        (send(&service, &body("fifteen-letters")).await, 400),
        (send(&service, &body("sixteen-letters!")).await, 200),
        (resume(&service, "short").await, 400),
        (service.get("/v1/ui/chat/sixteen-letters!").await, 403),
    ] {
        assert_eq!(answer.status, status);
        answer.text().await;
    }
}

#[tokio::test]
async fn answer_that_begins_anew_resets_the_step() {
    let (first, second) = (Upstream::start().await, Upstream::start().await);
    let mut settings = Settings::default();
    for (name, upstream) in [("a", &first), ("b", &second)] {
        let upstream = UpstreamSettings::new(name, upstream.base_url().parse().expect("a base URL"));
        settings.upstreams.push(UpstreamSettings { max_retries: 0, models: vec!["none".to_owned()], ..upstream });
    }
    let fast = toml::from_str("targets = [\"a/one\", \"b/two\"]").expect("an alias");
    settings.models.aliases.insert("fast".to_owned(), fast);
    let service = Service::with(settings).await;
    let mut body = submitted("c1", &[user("u1", "Hello")]);
    body["model"] = "fast".into();
    body["on_upstream_failure"] = "restart".into();
    let (answer, call) = begun(&service, &first, &body).await;
    call.reset();
    let mut call = second.call().await;
    call.ok().await;
    end(&mut call).await;
    let read = chunks(&answer.text().await);
    assert_eq!(
        kinds(&read),
        [
            "start",
            "start-step",
            "text-start",
            "text-delta",
            "reset-step",
            "text-start",
            "text-delta",
            "text-end",
            "finish-step",
            "finish",
        ]
    );
}

#[tokio::test]
async fn any_generation_is_followed_in_this_format() {
    let service = Service::start().await;
    let events = service.generate(&json!({"input": "Hello", "model": "demo?tokens=5&rate=max"})).await.events().await;
    let path = format!("/v1/generations/{}/events?format=ui", events[0].generation());
    let followed = service.get(&path).await.text().await;
    assert!(followed.starts_with("data: {\"type\":\"start\"") && followed.contains("data: [DONE]\n"), "{followed}");
}

#[tokio::test]
async fn whole_message_is_sent_at_the_end_if_no_stream_is_wanted() {
    let service = Service::start().await;
    let mut body = submitted("c1", &[user("u1", "Hello")]);
    body["model"] = "demo?tokens=2&rate=max".into();
    body["stream"] = false.into();
    let answer = send(&service, &body).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let message = answer.json().await;
    assert_eq!((&message["role"], &message["parts"][1]["text"]), (&json!("assistant"), &json!("# Hello")));
}
