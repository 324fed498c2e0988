//! The state of a generation, read in pages.

use bytes::BytesMut;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Event, Service, Upstream, soon};

/// Generates an answer of about three million bytes. Returns the id of its generation and the text.
async fn large_answer(service: &Service, upstream: &Upstream) -> (String, String) {
    let mut viewer = service.generate(&json!({"input": "Hello", "store": true})).await;
    let id = viewer.expect("start").await.generation().to_owned();
    let mut call = upstream.call().await;
    call.ok().await;
    let mut text = String::new();
    for number in 0..300 {
        let piece = format!("{number} \"quoted\" \u{1f600}\n{}", "ä".repeat(5_000));
        call.text(&piece).await;
        text.push_str(&piece);
    }
    call.finish("stop").await;
    call.done().await;
    soon(async { while viewer.next().await.expect("an event").name != "done" {} }).await;
    (id, text)
}

#[tokio::test]
async fn large_state_is_complete_in_every_form() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (id, text) = large_answer(&service, &upstream).await;
    let path = format!("/v1/generations/{id}");

    for query in ["", "?after=1&wait=10s"] {
        let answer = service.get(&format!("{path}{query}")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        assert!(answer.headers.get("content-length").is_none(), "the state is sent in pieces");
        let state = answer.json().await;
        assert_eq!((state["text"].as_str(), &state["status"]), (Some(text.as_str()), &json!("done")));
        assert_eq!(state["finish_reason"], "stop");
    }
    let stop = Answer::to(service.request(Method::POST, &format!("{path}/cancel"))).await;
    assert_eq!(stop.json().await["text"].as_str(), Some(text.as_str()));

    let stream = service.request(Method::GET, &format!("{path}/events?replay=snapshot"));
    let stream = Answer::to(stream.header("accept", "text/event-stream")).await.text().await;
    let events = Event::all(&stream);
    let [snapshot, done] = events.as_slice() else { panic!("{} events", events.len()) };
    assert_eq!((snapshot.name.as_str(), done.name.as_str()), ("snapshot", "done"));
    assert_eq!((snapshot.data["text"].as_str(), snapshot.retry), (Some(text.as_str()), Some(1000)));
    assert_eq!(snapshot.data["last_sequence"], snapshot.sequence());
    service.metric_becomes("tokenrill_requests_in_flight", 0.0).await;
}

#[tokio::test]
async fn small_state_has_a_content_length() {
    let service = Service::start().await;
    let mut viewer = service.generate(&json!({"input": "Hi", "model": "demo?tokens=3&rate=max"})).await;
    let id = viewer.expect("start").await.generation().to_owned();
    viewer.events().await;
    let answer = service.get(&format!("/v1/generations/{id}")).await;
    let length: usize = answer.header("content-length").parse().expect("a length");
    assert_eq!(answer.text().await.len(), length);
}

#[tokio::test]
async fn unread_large_state_is_listed_as_a_connection_and_aborted_when_closed() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (id, _) = large_answer(&service, &upstream).await;
    let mut response = Answer::to(service.request(Method::GET, &format!("/v1/generations/{id}"))).await.into_body();
    let mut begun = BytesMut::new();
    begun.extend_from_slice(&soon(response.chunk()).await.expect("a piece").expect("a piece"));
    service.metric_becomes("tokenrill_requests_in_flight", 1.0).await;
    let list: Value = service.get("/v1/connections").await.json().await;
    assert_eq!(list["data"][0]["kind"], "wait");
    let connection = list["data"][0]["id"].as_str().expect("an id");
    let closed = Answer::to(service.request(Method::DELETE, &format!("/v1/connections/{connection}"))).await;
    assert_eq!(closed.status, 204);
    let end = soon(async {
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) => begun.extend_from_slice(&bytes),
                end => break end,
            }
        }
    });
    assert!(end.await.is_err(), "{} bytes, and no clean end", begun.len());
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the test awaits it")]
async fn closed_long_poll_returns_the_current_state_of_any_size() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut viewer = service.generate(&json!({"input": "Hello"})).await;
    let id = viewer.expect("start").await.generation().to_owned();
    let mut call = upstream.call().await;
    call.ok().await;
    let text = "x".repeat(100_000);
    call.text(&text).await;
    let at = viewer.expect("delta").await.sequence();
    let poll = service.request(Method::GET, &format!("/v1/generations/{id}?after={at}&wait=60s"));
    let waiting = tokio::spawn(poll.send());
    service.metric_becomes("tokenrill_requests_in_flight", 2.0).await;
    let list: Value = service.get("/v1/connections").await.json().await;
    let wait = list["data"].as_array().expect("a list").iter().find(|one| one["kind"] == "wait").expect("the wait");
    let close = format!("/v1/connections/{}", wait["id"].as_str().expect("an id"));
    assert_eq!(Answer::to(service.request(Method::DELETE, &close)).await.status, 204);
    let state: Value = soon(waiting).await.expect("no panic").expect("a response").json().await.expect("whole JSON");
    assert_eq!((state["text"].as_str(), &state["status"]), (Some(text.as_str()), &json!("running")));
}

#[tokio::test]
async fn stop_returns_a_large_state_at_the_connection_limit() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.limits.each.connections = std::num::NonZeroU32::new(1);
    let service = Service::with(settings).await;
    let mut viewer = service.generate(&json!({"input": "Hello"})).await;
    let id = viewer.expect("start").await.generation().to_owned();
    let mut call = upstream.call().await;
    call.ok().await;
    call.text(&"x".repeat(100_000)).await;
    viewer.expect("delta").await;
    let stop = Answer::to(service.request(Method::POST, &format!("/v1/generations/{id}/cancel"))).await;
    assert_eq!(stop.status, 200);
    assert_eq!(stop.json().await["status"], "cancelled");
    viewer.expect("cancelled").await;
}

#[tokio::test]
async fn state_separates_tool_calls_and_choices() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut viewer = service.generate(&json!({"input": "Hello", "n": 2})).await;
    let id = viewer.expect("start").await.generation().to_owned();
    let mut call = upstream.call().await;
    call.ok().await;
    let chunk = |choice: u32, delta: Value| json!({"choices": [{"index": choice, "delta": delta}]});
    let part = |index: u32, id: Value, arguments: &str| json!({"tool_calls": [{"index": index, "id": id, "function": {"name": id, "arguments": arguments}}]});
    for said in [
        chunk(1, json!({"content": "one"})),
        chunk(0, part(0, json!("a"), "{\"x\":")),
        chunk(0, part(1, json!("b"), "{")),
        chunk(0, part(0, Value::Null, "1}")),
        chunk(0, part(1, Value::Null, "}")),
        chunk(0, json!({"reasoning_content": "so"})),
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}, {"index": 1, "delta": {}, "finish_reason": "stop"}]}),
    ] {
        call.data(said).await;
    }
    call.done().await;
    viewer.events().await;
    let state = service.get(&format!("/v1/generations/{id}")).await.json().await;
    let calls = json!([
        {"id": "a", "name": "a", "arguments": "{\"x\":1}"},
        {"id": "b", "name": "b", "arguments": "{}"},
    ]);
    assert_eq!((&state["tool_calls"], &state["reasoning"], &state["text"]), (&calls, &json!("so"), &json!("")));
    assert_eq!(state["choices"][1]["text"], "one");
    assert_eq!(state["choices"][0]["tool_calls"], calls);
    assert_eq!(
        (&state["choices"][0]["finish_reason"], &state["choices"][1]["finish_reason"]),
        (&json!("tool_calls"), &json!("stop"))
    );
}
