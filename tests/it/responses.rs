//! OpenAI's Responses API as clients see it, in front of a scripted upstream.

use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::settings::Size;

use crate::support::{Answer, Call, Service, Upstream, case, soon};

async fn send(service: &Service, body: &Value) -> Answer {
    Answer::to(service.request(Method::POST, "/v1/responses").json(body)).await
}

fn asking(stream: bool) -> Value {
    json!({"model": "m", "input": "Hello", "stream": stream})
}

/// Sends a request, which `script` answers for the upstream. Its connection is not used again.
async fn sent(
    service: &Service,
    upstream: &Upstream,
    body: &Value,
    script: impl AsyncFnOnce(&mut Call),
) -> (Answer, Value) {
    tokio::join!(send(service, body), async {
        let mut call = upstream.call().await;
        script(&mut call).await;
        call.body.clone()
    })
}

/// Returns the events of a stream. Each must have its type as its name, and the number after that of the one before.
fn events(stream: &str, first: u64) -> Vec<Value> {
    let blocks = stream.split_terminator("\n\n").filter(|block| !block.starts_with(':'));
    let event = |(number, block): (u64, &str)| {
        let (name, data) = block.split_once('\n').unwrap_or_else(|| panic!("{block}"));
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect(block);
        assert_eq!(name.strip_prefix("event: "), data["type"].as_str(), "{block}");
        assert_eq!(data["sequence_number"], number, "{block}");
        data
    };
    (first..).zip(blocks).map(event).collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("a type").trim_start_matches("response.")).collect()
}

fn fragment(index: u32, id: Option<&str>, arguments: &str) -> Value {
    let mut fragment = json!({"index": index, "function": {"arguments": arguments}});
    if let Some(id) = id {
        fragment["id"] = id.into();
        fragment["type"] = "function".into();
        fragment["function"]["name"] = "weather".into();
    }
    json!({"tool_calls": [fragment]})
}

/// Reasoning, a text with a citation, and two calls whose fragments take turns.
async fn answer_with_everything(call: &mut Call) {
    call.ok().await;
    call.delta(json!({"role": "assistant", "reasoning_content": "hm"})).await;
    call.text("I look ").await;
    call.text("it up.").await;
    call.delta(
        json!({"annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}]}),
    )
    .await;
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

async fn answer(call: &mut Call) {
    call.ok().await;
    call.text("Hel").await;
    call.text("lo").await;
    call.finish("stop").await;
    call.done().await;
}

fn output_text(response: &Value) -> &Value {
    &response["output"][0]["content"][0]["text"]
}

#[tokio::test]
async fn stream_has_each_item_with_its_parts_and_ends_with_the_whole_response() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (answer, body) = sent(&service, &upstream, &asking(true), answer_with_everything).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
    assert_eq!(body["messages"], json!([{"role": "user", "content": "Hello"}]));
    let bare = answer.header("tokenrill-generation").trim_start_matches("gen_").to_owned();
    let events = events(&answer.text().await, 0);
    assert_eq!(
        kinds(&events),
        [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.annotation.added",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
    );
    let response = &events.last().expect("an end")["response"];
    let citation = json!({"type": "url_citation", "url": "https://a.example", "title": "A"});
    let call = |index: usize, city: &str| {
        json!({
            "id": format!("fc_{bare}_{}", index + 2), "type": "function_call", "status": "completed",
            "call_id": format!("call_{index}"), "name": "weather", "arguments": format!("{{\"city\":\"{city}\"}}"),
        })
    };
    assert_eq!(
        response["output"],
        json!([
            {"id": format!("rs_{bare}_0"), "type": "reasoning", "status": "completed", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"id": format!("msg_{bare}_1"), "type": "message", "status": "completed", "role": "assistant", "content": [
                {"type": "output_text", "text": "I look it up.", "annotations": [citation], "logprobs": []},
            ]},
            call(0, "Z\u{fc}rich"),
            call(1, "Bern"),
        ])
    );
    assert_eq!((&response["id"], &response["status"]), (&json!(format!("resp_{bare}")), &json!("completed")));
    let usage = &response["usage"];
    let tokens = [&usage["input_tokens"], &usage["input_tokens_details"]["cached_tokens"], &usage["output_tokens"]];
    assert_eq!(tokens, [30, 20, 7]);
    assert_eq!(usage["estimated"], Value::Null);
    for event in &events {
        let item = event["output_index"].as_u64().filter(|_| event["item_id"].is_string());
        if let Some(index) = item {
            let id = &response["output"][usize::try_from(index).expect("an index")]["id"];
            assert_eq!(&event["item_id"], id);
        }
    }
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn whole_response_is_the_last_one_of_the_stream_and_is_retrieved_until_it_is_deleted() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut body = asking(false);
    body["metadata"] = json!({"conversation": "42"});
    body["instructions"] = "Be brief.".into();
    let (answered, sent_body) = sent(&service, &upstream, &body, answer).await;
    assert_eq!(sent_body["messages"][0], json!({"role": "system", "content": "Be brief."}));
    assert_eq!(sent_body["metadata"], Value::Null);
    let whole = answered.json().await;
    assert_eq!((output_text(&whole), &whole["metadata"]), (&json!("Hello"), &body["metadata"]));
    let path = format!("/v1/responses/{}", whole["id"].as_str().expect("an id"));
    assert_eq!(service.get(&path).await.json().await, whole);
    let streamed = events(&service.get(&format!("{path}?stream=true")).await.text().await, 0);
    assert_eq!(streamed.last().expect("an end")["response"], whole);

    let items = service.get(&format!("{path}/input_items")).await.json().await;
    assert_eq!((&items["data"][0]["content"][0]["text"], &items["has_more"]), (&json!("Hello"), &json!(false)));
    let again = Answer::to(service.request(Method::POST, &format!("{path}/cancel"))).await.json().await;
    assert_eq!(again["status"], "completed", "a finished response does not change");
    let deleted = Answer::to(service.request(Method::DELETE, &path)).await;
    assert_eq!(deleted.json().await, json!({"id": whole["id"], "object": "response", "deleted": true}));
    for (method, path) in
        [(Method::GET, path.clone()), (Method::DELETE, path.clone()), (Method::GET, format!("{path}/input_items"))]
    {
        let gone = Answer::to(service.request(method, &path)).await;
        assert_eq!((gone.status, gone.json().await["error"]["type"].clone()), (404, json!("invalid_request_error")));
    }
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn stream_cut_after_any_number_is_resumed_with_the_same_bytes() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (answered, _) = sent(&service, &upstream, &asking(true), answer_with_everything).await;
    let id = answered.header("tokenrill-generation").replace("gen_", "resp_");
    let live = answered.text().await;
    let blocks: Vec<_> = live.split_inclusive("\n\n").collect();
    for number in 0..blocks.len() {
        let path = format!("/v1/responses/{id}?stream=true&starting_after={number}");
        let resumed = service.get(&path).await;
        assert_eq!(resumed.status, 200);
        assert_eq!(resumed.text().await, blocks[number + 1..].concat(), "after {number}");
    }
}

#[tokio::test]
async fn response_is_followed_live_after_a_number() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut body = asking(true);
    body["background"] = true.into();
    let (answered, mut call) = tokio::join!(send(&service, &body), async {
        let mut call = upstream.call().await;
        call.ok().await;
        call.text("Hel").await;
        call
    });
    let id = answered.header("tokenrill-generation").replace("gen_", "resp_");
    // A response in the background needs no reader.
    drop(answered);
    let state = service.get(&format!("/v1/responses/{id}")).await.json().await;
    assert_eq!((&state["status"], output_text(&state)), (&json!("in_progress"), &json!("Hel")));
    let resumed = service.get(&format!("/v1/responses/{id}?stream=true&starting_after=4")).await;
    call.text("lo").await;
    call.finish("stop").await;
    call.done().await;
    let rest = events(&resumed.text().await, 5);
    assert_eq!(
        kinds(&rest),
        ["output_text.delta", "output_text.done", "content_part.done", "output_item.done", "completed"]
    );
}

#[tokio::test]
async fn response_in_the_background_comes_at_once_and_is_cancelled() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut body = asking(false);
    body["background"] = true.into();
    let answered = send(&service, &body).await;
    assert_eq!(answered.status, 200);
    let response = answered.json().await;
    assert_eq!((&response["status"], &response["background"]), (&json!("in_progress"), &json!(true)));
    let mut call = upstream.call().await;
    call.ok().await;
    call.text("Hel").await;
    let path = format!("/v1/responses/{}/cancel", response["id"].as_str().expect("an id"));
    let cancelled = Answer::to(service.request(Method::POST, &path)).await.json().await;
    call.closed().await;
    assert_eq!(
        (&cancelled["status"], &cancelled["incomplete_details"]["reason"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    body["store"] = false.into();
    assert_eq!(send(&service, &body).await.status, 400, "nobody could read it");
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn each_end_of_an_answer_has_its_event_and_its_items_are_closed() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    for (end, event, status, detail) in [
        ("length", "response.incomplete", "incomplete", "/incomplete_details/reason=max_output_tokens"),
        ("content_filter", "response.incomplete", "incomplete", "/incomplete_details/reason=content_filter"),
        ("reset", "response.failed", "failed", "/error/code=server_error"),
        ("cancel", "response.incomplete", "cancelled", "/incomplete_details/reason=cancelled"),
    ] {
        let ended = async {
            let body = asking(true);
            let (answered, mut call) = tokio::join!(send(&service, &body), async {
                let mut call = upstream.call().await;
                call.ok().await;
                call.text("Hel").await;
                call
            });
            let id = answered.header("tokenrill-generation").replace("gen_", "resp_");
            match end {
                "reset" => call.reset(),
                "cancel" => {
                    Answer::to(service.request(Method::POST, &format!("/v1/responses/{id}/cancel"))).await;
                }
                reason => {
                    call.finish(reason).await;
                    call.done().await;
                }
            }
            let events = events(&answered.text().await, 0);
            let last = events.last().expect("an end");
            assert_eq!((&last["type"], &last["response"]["status"]), (&json!(event), &json!(status)));
            let (pointer, expected) = detail.split_once('=').expect("a pair");
            assert_eq!(last["response"].pointer(pointer), Some(&json!(expected)));
            assert_eq!(last["response"]["output"][0]["status"], "incomplete");
            assert_eq!(kinds(&events)[events.len() - 2], "output_item.done");
        };
        case(end, ended).await;
    }
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn refusal_is_a_part_of_its_own() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (answered, _) = sent(&service, &upstream, &asking(true), async |call: &mut Call| {
        call.ok().await;
        call.delta(json!({"refusal": "I cannot."})).await;
        call.finish("stop").await;
        call.done().await;
    })
    .await;
    let events = events(&answered.text().await, 0);
    assert!(kinds(&events).contains(&"refusal.delta") && !kinds(&events).contains(&"output_text.done"));
    let response = &events.last().expect("an end")["response"];
    assert_eq!(response["output"][0]["content"], json!([{"type": "refusal", "refusal": "I cannot."}]));
}

#[tokio::test]
async fn second_turn_continues_the_first_by_its_id_and_by_its_items() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let first = json!({"model": "m", "input": "Weather?", "instructions": "Be brief."});
    let (answered, _) = sent(&service, &upstream, &first, answer_with_everything).await;
    let response = answered.json().await;
    let results = json!([
        {"type": "function_call_output", "call_id": "call_0", "output": "20"},
        {"type": "function_call_output", "call_id": "call_1", "output": "15"},
    ]);
    let call = |index: usize, city: &str| json!({"id": format!("call_{index}"), "type": "function", "function": {"name": "weather", "arguments": format!("{{\"city\":\"{city}\"}}")}});
    let conversation = json!([
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "I look it up.", "tool_calls": [call(0, "Z\u{fc}rich"), call(1, "Bern")]},
        {"role": "tool", "tool_call_id": "call_0", "content": "20"},
        {"role": "tool", "tool_call_id": "call_1", "content": "15"},
    ]);
    let second = json!({"model": "m", "previous_response_id": response["id"], "input": results});
    let (answered, body) = sent(&service, &upstream, &second, answer).await;
    assert_eq!(body["messages"], conversation, "without the earlier instructions");
    let second_id = answered.json().await["id"].clone();
    let third = json!({"model": "m", "previous_response_id": second_id, "input": "Thanks"});
    let (answered, body) = sent(&service, &upstream, &third, answer).await;
    let mut longer = conversation.as_array().expect("a list").clone();
    longer.extend([json!({"role": "assistant", "content": "Hello"}), json!({"role": "user", "content": "Thanks"})]);
    assert_eq!(body["messages"], json!(longer));
    answered.text().await;

    // As the AI SDK names what it does not send again.
    let mut input = vec![json!({"role": "user", "content": "Weather?"})];
    for item in response["output"].as_array().expect("a list") {
        input.push(json!({"type": "item_reference", "id": item["id"]}));
    }
    input.extend(results.as_array().expect("a list").clone());
    let (answered, body) = sent(&service, &upstream, &json!({"model": "m", "input": input}), answer).await;
    assert_eq!(body["messages"], conversation);
    let continued = answered.json().await["id"].as_str().expect("an id").to_owned();

    // The input is listed with what its references name, page by page.
    let mut listed = Vec::new();
    let mut path = format!("/v1/responses/{continued}/input_items?order=asc&limit=2");
    loop {
        let page = service.get(&path).await.json().await;
        listed.extend(page["data"].as_array().expect("a list").clone());
        if page["has_more"] != true {
            break;
        }
        let last = page["last_id"].as_str().expect("an id");
        path = format!("/v1/responses/{continued}/input_items?order=asc&limit=2&after={last}");
    }
    let kinds: Vec<_> = listed.iter().map(|item| item["type"].as_str().expect("a type")).collect();
    assert_eq!(
        kinds,
        ["message", "message", "function_call", "function_call", "function_call_output", "function_call_output"]
    );
    assert_eq!(listed[2]["arguments"], response["output"][2]["arguments"]);
}

#[tokio::test]
async fn request_that_refers_to_more_than_a_request_may_hold_is_refused() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.server.max_body = Size::kib(16);
    let service = Service::with(settings).await;
    let (answered, _) = sent(&service, &upstream, &json!({"model": "m", "input": "x"}), async |call| {
        call.ok().await;
        call.text(&"a".repeat(6 << 10)).await;
        call.finish("stop").await;
        call.done().await;
    })
    .await;
    let response = answered.json().await;
    let reference = json!({"type": "item_reference", "id": response["output"][0]["id"]});
    let three = json!({"model": "m", "input": [reference, reference, reference]});
    let both = json!({"model": "m", "previous_response_id": response["id"], "input": [reference]});
    for body in [three, both] {
        let refused = send(&service, &body).await;
        assert_eq!(refused.status, 400, "{body}");
        let error = refused.json().await["error"].clone();
        assert_eq!((&error["param"], &error["code"]), (&json!("input"), &json!("invalid_request")), "{error}");
    }
    assert!(!upstream.was_called());
    let once = json!({"model": "m", "previous_response_id": response["id"], "input": "y"});
    let (answered, _) = sent(&service, &upstream, &once, answer).await;
    assert_eq!(answered.status, 200);
}

#[tokio::test]
async fn reference_to_what_is_not_kept_is_refused_by_name() {
    let upstream = Upstream::start().await;
    let (service, keys) = Service::guarded(
        Service::settings(&upstream.base_url()),
        &[("a", &["generate", "follow", "stop"]), ("b", &["generate", "follow", "stop"])],
    )
    .await;
    let ask = async |key: &str, body: &Value| {
        Answer::to(service.request(Method::POST, "/v1/responses").bearer_auth(&keys[key]).json(body)).await
    };
    let begin = json!({"model": "m", "input": "Hello", "background": true});
    let response = ask("a", &begin).await.json().await;
    let mut call = upstream.call().await;
    let item = response["id"].as_str().expect("an id").replace("resp_", "msg_") + "_0";
    let unknown = "msg_AAAAAAAAAAAAAAAAAAAAAA_0";
    for (key, body, param, code) in [
        ("a", json!({"previous_response_id": response["id"]}), "previous_response_id", "previous_response_not_found"),
        ("b", json!({"previous_response_id": response["id"]}), "previous_response_id", "previous_response_not_found"),
        ("a", json!({"previous_response_id": "resp_x"}), "previous_response_id", "previous_response_not_found"),
        ("b", json!({"input": [{"type": "item_reference", "id": item}]}), "input[0]", "invalid_request"),
        ("a", json!({"input": [{"type": "item_reference", "id": unknown}]}), "input[0]", "invalid_request"),
        // Its response is not complete.
        ("a", json!({"input": [{"type": "item_reference", "id": item}]}), "input[0]", "invalid_request"),
    ] {
        let refused = ask(key, &body).await;
        assert_eq!(refused.status, 400, "{body}");
        let error = refused.json().await["error"].clone();
        assert_eq!((&error["param"], &error["code"]), (&json!(param), &json!(code)), "{body}");
    }
    for (method, path) in [(Method::GET, ""), (Method::POST, "/cancel"), (Method::DELETE, "")] {
        let path = format!("/v1/responses/{}{path}", response["id"].as_str().expect("an id"));
        let refused = Answer::to(service.request(method, &path).bearer_auth(&keys["b"])).await;
        assert_eq!(refused.status, 404, "{path}");
    }
    answer(&mut call).await;
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn what_is_not_carried_is_refused_before_the_model_is_asked() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    for (field, value, param, code) in [
        ("conversation", json!("c"), "conversation", "unsupported_parameter"),
        ("tools", json!([{"type": "web_search"}]), "tools[0].type", "unsupported_value"),
        ("truncation", json!("auto"), "truncation", "unsupported_value"),
        ("input", json!([{"type": "computer_call"}]), "input[0].type", "unsupported_value"),
        ("input", json!(5), "input", "invalid_request"),
        ("input", Value::Null, "input", "missing_required_parameter"),
        ("input", json!([{"type": "reasoning", "summary": []}]), "input", "invalid_request"),
        ("previous_response_id", json!(5), "previous_response_id", "invalid_request"),
        ("metadata", json!({"a": 5}), "metadata", "invalid_request"),
        ("stream", json!("yes"), "stream", "invalid_request"),
        ("temperature", json!("hot"), "temperature", "invalid_request"),
    ] {
        let mut body = asking(false);
        body[field] = value;
        let refused = send(&service, &body).await;
        assert_eq!(refused.status, 400, "{body}");
        let error = refused.json().await["error"].clone();
        assert_eq!((&error["param"], &error["code"]), (&json!(param), &json!(code)), "{error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn closing_the_connection_stops_the_model_unless_it_runs_in_the_background() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    for stream in [true, false] {
        let request = service.request(Method::POST, "/v1/responses").json(&asking(stream));
        let mut call = tokio::select! {
            answered = request.send() => panic!("{answered:?}"),
            call = upstream.call() => call,
        };
        call.closed().await;
    }
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}

#[tokio::test]
async fn response_that_is_not_stored_is_gone_when_it_was_read() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut body = asking(false);
    body["store"] = false.into();
    // Longer than what is sent at once: the rest is read from the log while the client reads.
    let text = "Hello ".repeat(200_000);
    let (answered, _) = sent(&service, &upstream, &body, async |call| {
        call.ok().await;
        call.text(&text).await;
        call.finish("stop").await;
        call.done().await;
    })
    .await;
    let response = answered.json().await;
    assert_eq!((output_text(&response).as_str(), &response["store"]), (Some(text.as_str()), &json!(false)));
    let path = format!("/v1/responses/{}", response["id"].as_str().expect("an id"));
    // It is erased beside the response.
    soon(async {
        while service.get(&path).await.status != 404 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn any_generation_is_followed_as_a_response() {
    let service = Service::start().await;
    let events = service.generate(&json!({"input": "Hello", "model": "demo?tokens=5&rate=max"})).await.events().await;
    let path = format!("/v1/generations/{}/events?format=responses", events[0].generation());
    let followed = service.get(&path).await.text().await;
    assert!(
        followed.starts_with("event: response.created\n") && followed.contains("event: response.completed\n"),
        "{followed}"
    );
    let count =
        service.request(Method::POST, "/v1/responses/input_tokens").json(&json!({"model": "demo", "input": "Hello"}));
    let count = Answer::to(count).await.json().await;
    assert!(count["input_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{count}");
}

#[tokio::test]
async fn failure_before_the_head_is_a_status_that_says_whether_to_retry() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    for stream in [true, false] {
        let (answered, _) = sent(&service, &upstream, &asking(stream), async |call: &mut Call| {
            call.raw("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        })
        .await;
        assert_eq!((answered.status, answered.header("x-should-retry")), (502, "false"));
        assert_eq!(answered.json().await["error"]["type"], "server_error");
    }
}
