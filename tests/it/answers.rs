//! Starting, following, resuming, cancelling and deleting generations.

use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};

use crate::support::{Answer, Service, Upstream, text};

#[tokio::test]
async fn embedded_model_answers_with_default_settings() {
    let service = Service::start().await;
    let answer = service.generate(&json!({"input": "Hello"})).await;

    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("cache-control"), "no-cache, no-transform");
    assert_eq!(answer.header("x-accel-buffering"), "no");
    assert!(answer.header("x-request-id").starts_with("req_"));
    assert!(answer.headers.get("connection").is_none());
    let generation = answer.header("tokenrill-generation").to_owned();

    let events = answer.events().await;
    let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!((names[0], names[names.len() - 1]), ("start", "done"));
    assert!(names[1..names.len() - 1].iter().all(|name| *name == "delta"));
    assert!(text(&events).contains("Hello"));
    assert_eq!(events[0].data["generation"], generation.as_str());
    for (event, sequence) in events.iter().zip(1..) {
        assert_eq!((event.generation(), event.sequence()), (generation.as_str(), sequence), "ids rise by one");
    }
    assert_eq!(events.first().and_then(|event| event.retry), Some(1000));
    assert_eq!(events.last().and_then(|event| event.retry), Some(86_400_000));
    assert!(events[1..events.len() - 1].iter().all(|event| event.retry.is_none()));
    let done = &events[events.len() - 1].data;
    assert_eq!(done["finish_reason"], "stop");
    assert_eq!(done["usage"]["estimated"], false);
    assert!(done["usage"]["output_tokens"].as_u64() >= Some(names.len() as u64 - 2));
}

#[tokio::test]
async fn the_id_is_the_last_line_of_each_block() {
    let service = Service::start().await;
    for event in service.generate(&json!({"input": "Hello", "model": "demo?tokens=5&rate=max"})).await.events().await {
        let fields: Vec<_> =
            event.block.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
        let expected =
            if event.retry.is_some() { &["event", "data", "retry", "id"][..] } else { &["event", "data", "id"] };
        assert_eq!(fields, expected, "{}", event.block);
    }
}

#[tokio::test]
async fn tokens_arrive_one_by_one_while_the_model_still_generates() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut answer = service.generate(&json!({"input": "Hello"})).await;
    answer.expect("start").await;

    let mut call = upstream.call().await;
    call.ok().await;
    for word in ["Zür", "ich", " 東京", "👩‍👩‍👧", "\u{2028}\u{85}\n\"\\"] {
        call.text(word).await;
        assert_eq!(answer.expect("delta").await.data, json!({"text": word}));
    }
    call.finish("length").await;
    call.done().await;
    let done = answer.expect("done").await;
    assert_eq!(done.data["finish_reason"], "length");
    assert_eq!(done.data["usage"]["estimated"], true, "the upstream gave no figures");
    assert_eq!(answer.next().await, None);
}

#[tokio::test]
async fn every_kind_of_upstream_delta_becomes_an_event() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut answer = service.generate(&json!({"input": "Hello"})).await;
    answer.expect("start").await;

    let mut call = upstream.call().await;
    call.ok().await;
    call.delta(json!({"role": "assistant", "content": ""})).await;
    call.delta(json!({"reasoning_content": "hm"})).await;
    assert_eq!(answer.expect("reasoning").await.data, json!({"text": "hm"}));
    call.delta(json!({"refusal": "no"})).await;
    assert_eq!(answer.expect("refusal").await.data, json!({"text": "no"}));
    call.delta(json!({"tool_calls": [{"index": 1, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"ci"}}]})).await;
    assert_eq!(
        answer.expect("tool_call").await.data,
        json!({"index": 0, "id": "call_1", "name": "weather", "arguments": "{\"ci"}),
        "numbered by us, whatever the upstream's index"
    );
    call.delta(json!({"audio": {"data": "AAAA"}})).await;
    assert_eq!(answer.expect("part").await.data, json!({"delta": {"audio": {"data": "AAAA"}}}));
    call.data(json!({"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": []}}, {"index": 1, "delta": {"content": "b"}, "finish_reason": "stop"}]})).await;
    assert_eq!(answer.expect("delta").await.data, json!({"text": "a", "logprobs": {"content": []}}));
    assert_eq!(answer.expect("delta").await.data, json!({"text": "b", "choice": 1}));
    call.finish("stop").await;
    call.data(json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 4}}})).await;
    call.done().await;
    let done = answer.expect("done").await;
    assert_eq!(
        done.data["choices"],
        json!([{"choice": 0, "finish_reason": "stop"}, {"choice": 1, "finish_reason": "stop"}])
    );
    assert_eq!(
        done.data["usage"],
        json!({"input_tokens": 7, "output_tokens": 9, "reasoning_tokens": 4, "estimated": false})
    );
}

#[tokio::test]
async fn unknown_fields_reach_the_upstream_and_own_fields_do_not() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let body = json!({
        "input": "Hello", "top_k": 7, "vendor": {"x": [1, null]}, "temperature": 0.25, "stream_options": {"vendor": 1},
        "metadata": {"a": "b"}, "on_disconnect": "continue", "grace_ms": 0, "stream": false,
    });
    let _answer = service.generate(&body).await;
    let call = upstream.call().await;
    let expected = json!({
        "model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": true,
        "stream_options": {"vendor": 1, "include_usage": true}, "top_k": 7, "vendor": {"x": [1, null]}, "temperature": 0.25,
    });
    assert_eq!(call.body, expected);
    assert!(call.head.starts_with("post /v1/chat/completions http/1.1\r\n"));
    assert!(!call.head.contains("req_") && !call.head.contains("cookie"), "{}", call.head);
}

#[tokio::test]
async fn head_and_start_event_are_sent_in_one_write_before_the_upstream_answers() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut socket = tokio::net::TcpStream::connect(service.address).await.expect("a connection");
    let body = r#"{"input":"Hello"}"#;
    let request = format!(
        "POST /v1/generations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut first = vec![0; 4096];
    let length = crate::support::soon(socket.read(&mut first)).await.expect("an answer");
    let first = String::from_utf8_lossy(&first[..length]).into_owned();
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && first.contains("event: start\n"), "{first}");
}

#[tokio::test]
async fn accept_json_returns_a_snapshot() {
    let service = Service::start().await;
    let request = json!({"input": "Hello", "model": "demo?tokens=3&reasoning=2&rate=max", "metadata": {"a": "b"}});
    let answer = Answer::to(service.generation(&request).header(ACCEPT, "application/json")).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let generation = answer.header("tokenrill-generation").to_owned();
    let snapshot = answer.json().await;
    assert_eq!(snapshot["id"], generation.as_str());
    assert_eq!(snapshot["status"], "done");
    assert_eq!(snapshot["finish_reason"], "stop");
    assert_eq!(snapshot["metadata"], json!({"a": "b"}));
    assert!(
        !snapshot["text"].as_str().expect("text").is_empty()
            && !snapshot["reasoning"].as_str().expect("reasoning").is_empty()
    );
    assert_eq!(snapshot["usage"]["reasoning_tokens"], 2);
    assert_eq!(service.get(&format!("/v1/generations/{generation}")).await.json().await, snapshot);
}

#[tokio::test]
async fn respond_async_returns_202_and_the_generation_continues() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let answer =
        Answer::to(service.generation(&json!({"input": "Hello"})).header("prefer", "respond-async, wait=5")).await;
    assert_eq!((answer.status, answer.header("preference-applied")), (202, "respond-async"));
    let location = answer.header("location").to_owned();
    assert_eq!(answer.json().await["status"], "running");
    let mut call = upstream.call().await;
    call.answer(&["Hel", "lo"]).await;
    let events = service.get(&format!("{location}/events")).await.events().await;
    assert_eq!(text(&events), "Hello");
    assert_eq!(service.get(&location).await.json().await["text"], "Hello");
}

#[tokio::test]
async fn a_replay_is_the_live_stream_byte_for_byte() {
    let service = Service::start().await;
    let answer = service.generate(&json!({"input": "Hello", "model": "demo?tokens=40&rate=max"})).await;
    let path = format!("/v1/generations/{}/events", answer.header("tokenrill-generation"));
    let live = answer.text().await;
    assert_eq!(service.get(&path).await.text().await, live);

    let events = service.get(&path).await.events().await;
    let middle = &events[20];
    let request = service.request(Method::GET, &path).header("last-event-id", middle.id.as_deref().expect("an id"));
    let rest = Answer::to(request).await.events().await;
    let without_retry = |events: &[crate::support::Event]| {
        events.iter().map(|event| (event.id.clone(), event.data.clone())).collect::<Vec<_>>()
    };
    assert_eq!(without_retry(&rest), without_retry(&events[21..]));
    assert_eq!(rest[0].retry, Some(1000), "the first block of each response has the reconnection delay");
    let by_query = service.get(&format!("{path}?after={}", middle.sequence())).await.events().await;
    assert_eq!(by_query, rest);
}

#[tokio::test]
async fn resume_after_terminal_event_delivers_nothing() {
    let service = Service::start().await;
    let events = service.generate(&json!({"input": "Hello", "model": "demo?tokens=2&rate=max"})).await.events().await;
    let last = events.last().and_then(|event| event.id.clone()).expect("an id");
    let path = format!("/v1/generations/{}/events", events[0].generation());
    let get = Answer::to(service.request(Method::GET, &path).header("last-event-id", &last)).await;
    assert_eq!(get.status, 204);
    let post = Answer::to(service.generation(&json!("not even read")).header("last-event-id", &last)).await;
    assert_eq!((post.status, post.header("content-type")), (200, "text/event-stream"));
    assert_eq!(post.text().await, ": end\nretry: 86400000\n");
}

#[tokio::test]
async fn post_with_last_event_id_resumes_and_starts_nothing() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut answer = service.generate(&json!({"input": "Hello", "on_disconnect": "continue"})).await;
    let start = answer.expect("start").await;
    drop(answer);
    let again = service.generation(&json!({"input": "Hello"})).header("last-event-id", start.id.expect("an id"));
    let again = Answer::to(again).await;
    upstream.call().await.answer(&["Hello"]).await;
    let events = again.events().await;
    assert_eq!(events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["delta", "done"]);
    assert!(!upstream.was_called(), "one upstream call");
}

#[tokio::test]
async fn unknown_generation_or_position_is_refused() {
    let service = Service::start().await;
    let running = service.generate(&json!({"input": "x", "model": "demo?stall_at=1"})).await;
    let id = running.header("tokenrill-generation").to_owned();
    for path in ["/v1/generations/gen_AAAAAAAAAAAAAAAAAAAAAA", "/v1/generations/nonsense", "/v1/generations/..%2f"] {
        for suffix in ["", "/events"] {
            let answer = service.get(&format!("{path}{suffix}")).await;
            assert_eq!(answer.status, 404);
            assert_eq!(answer.json().await["code"], "generation_not_found");
        }
    }
    let foreign = service.request(Method::GET, &format!("/v1/generations/{id}/events")).header("last-event-id", "7");
    assert_eq!(Answer::to(foreign).await.json().await["code"], "generation_not_found");
    let beyond = service
        .request(Method::GET, &format!("/v1/generations/{id}/events"))
        .header("last-event-id", format!("{id}.999"));
    assert_eq!(Answer::to(beyond).await.json().await["code"], "history_lost");
}

#[tokio::test]
async fn cancel_ends_the_generation_for_every_viewer_and_the_upstream() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut first = service.generate(&json!({"input": "Hello"})).await;
    let id = first.expect("start").await.generation().to_owned();
    let mut second = service.get(&format!("/v1/generations/{id}/events")).await;
    second.expect("start").await;
    let mut call = upstream.call().await;
    call.ok().await;
    call.text("Hel").await;
    first.expect("delta").await;

    let stop = || async { Answer::to(service.request(Method::POST, &format!("/v1/generations/{id}/cancel"))).await };
    let stopped = stop().await;
    assert_eq!(stopped.status, 200);
    let stopped = stopped.json().await;
    assert_eq!(
        (&stopped["status"], &stopped["reason"], &stopped["text"]),
        (&json!("cancelled"), &json!("client_request"), &json!("Hel"))
    );
    call.closed().await;
    second.expect("delta").await;
    let endings = (first.expect("cancelled").await, second.expect("cancelled").await);
    assert_eq!(endings.0, endings.1);
    assert_eq!((first.next().await, second.next().await), (None, None));
    assert_eq!(stop().await.json().await, stopped, "a second stop changes nothing");
}

#[tokio::test]
async fn delete_cancels_and_removes_the_generation() {
    let service = Service::start().await;
    let mut answer = service.generate(&json!({"input": "Hello", "model": "demo?stall_at=1"})).await;
    let id = answer.expect("start").await.generation().to_owned();
    answer.expect("delta").await;
    let path = format!("/v1/generations/{id}");
    assert_eq!(Answer::to(service.request(Method::DELETE, &path)).await.status, 204);
    answer.expect("cancelled").await;
    assert_eq!(answer.next().await, None);
    assert_eq!(service.get(&path).await.status, 404);
    assert_eq!(Answer::to(service.request(Method::DELETE, &path)).await.status, 404);
}

#[tokio::test]
async fn model_list_contains_the_models_of_every_upstream() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (list, ()) = tokio::join!(service.get("/v1/models"), async {
        let mut call = upstream.call().await;
        assert!(call.head.starts_with("get /v1/models "));
        call.refuse(
            200,
            "content-type: application/json\r\n",
            r#"{"object":"list","data":[{"id":"m1","object":"model","created":5,"owned_by":"x"}]}"#,
        )
        .await;
    });
    let list = list.json().await;
    let ids: Vec<&Value> = list["data"].as_array().expect("data").iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["demo", "m1"]);
}
