//! Answers that break after their first token: withdrawn for that of another target where the request permits that, and
//! the same text for every viewer.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use tokenrill::settings::{Settings, UpstreamSettings};

use crate::support::answering_upstream::WORDS_TEXT;
use crate::support::{Answer, AnsweringUpstream, Call, Event, Service, Upstream, text};

/// A service with the model `fast`, which has a target on each upstream.
async fn service(base_urls: &[String], models: [&str; 2]) -> Service {
    let mut settings = Settings::default();
    for (name, base_url) in ["a", "b"].iter().zip(base_urls) {
        let upstream = UpstreamSettings::new(name, base_url.parse().expect("a base URL"));
        let models = vec!["none".to_owned()];
        settings.upstreams.push(UpstreamSettings { max_retries: 0, models, ..upstream });
    }
    let [first, second] = models;
    let fast = toml::from_str(&format!("targets = [\"a/{first}\", \"b/{second}\"]")).expect("an alias");
    settings.models.aliases.insert("fast".to_owned(), fast);
    settings.generation.grace = Duration::from_mins(1);
    Service::with(settings).await
}

/// A service with two scripted upstreams.
struct Scene {
    a: Upstream,
    b: Upstream,
    service: Service,
}

impl Scene {
    async fn new() -> Self {
        let (a, b) = (Upstream::start().await, Upstream::start().await);
        let service = service(&[a.base_url(), b.base_url()], ["one", "two"]).await;
        Self { a, b, service }
    }

    /// Starts an answer of the first target; returns the viewer at its second token.
    async fn begin(&self, body: Value) -> (Answer, Call, Vec<Event>) {
        let mut viewer = self.service.generate(&body).await;
        let mut events = vec![viewer.expect("start").await];
        let mut call = self.a.call().await;
        call.ok().await;
        for said in ["Good ", "day"] {
            call.text(said).await;
            events.push(viewer.expect("delta").await);
        }
        (viewer, call, events)
    }

    async fn follow(&self, id: &str, query: &str) -> Answer {
        let path = format!("/v1/generations/{id}/events{query}");
        Answer::to(self.service.request(Method::GET, &path).header(ACCEPT, "text/event-stream")).await
    }

    async fn snapshot(&self, id: &str) -> Value {
        self.service.get(&format!("/v1/generations/{id}")).await.json().await
    }
}

fn body() -> Value {
    json!({"input": "Hello", "model": "fast", "on_upstream_failure": "restart"})
}

/// Returns the text as a client has it that withdraws what a `restart` says.
fn standing_text(events: &[Event]) -> String {
    let mut pieces: Vec<(u64, &str)> = Vec::new();
    for event in events {
        match event.name.as_str() {
            "delta" => pieces.push((event.sequence(), event.data["text"].as_str().expect("a text"))),
            "snapshot" => pieces.push((event.sequence(), event.data["text"].as_str().unwrap_or_default())),
            "restart" => {
                let from = event.data["from"].as_u64().expect("a number");
                pieces.retain(|(sequence, _)| *sequence <= from);
            }
            _ => {}
        }
    }
    pieces.into_iter().map(|(_, text)| text).collect()
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

#[tokio::test]
async fn every_viewer_of_an_answer_that_began_anew_has_the_text_of_the_new_one_alone() {
    let scene = Scene::new().await;
    let request = json!({"channel": "room-1", "input": "Hello", "model": "fast", "on_upstream_failure": "restart"});
    let (mut live, call, mut seen) = scene.begin(request).await;
    let id = seen[0].generation().to_owned();
    let withdrawn = &seen[2].id.clone().expect("an id")[id.len() + 1..];
    let snapshot_before = scene.follow(&id, "?replay=snapshot").await;
    let mut chat_live = scene.follow(&id, "?format=openai").await;
    chat_live.expect("message").await;
    chat_live.expect("message").await;

    call.reset();
    let mut call = scene.b.call().await;
    assert_eq!(scene.snapshot(&id).await["text"], "Good day", "the text stands until another target answers");
    call.ok().await;
    call.delta(json!({"role": "assistant", "content": ""})).await;
    call.text("Hel").await;
    let restart = live.expect("restart").await;
    assert_eq!(restart.data, json!({"from": 1, "reason": "upstream_disconnected"}));
    seen.push(restart);
    seen.push(live.expect("delta").await);
    assert_eq!(scene.snapshot(&id).await["text"], "Hel");
    let snapshot_after = scene.follow(&id, "?replay=snapshot").await;
    call.text("lo").await;
    call.finish("stop").await;
    call.done().await;

    seen.extend(live.events().await);
    let names_of_live = names(&seen);
    let end = names_of_live.len() - 3;
    assert_eq!(names_of_live[..end], ["start", "delta", "delta", "restart"]);
    assert_eq!(names_of_live[end..], ["delta", "delta", "done"]);
    assert_eq!(standing_text(&seen), "Hello");
    let replayed = scene.follow(&id, "").await.events().await;
    let parts = |events: &[Event]| -> Vec<_> {
        events.iter().map(|event| (event.name.clone(), event.data.clone(), event.id.clone())).collect()
    };
    assert_eq!(parts(&replayed), parts(&seen), "a replay equals the live stream");
    let resumed = scene.follow(&id, &format!("?after={withdrawn}")).await.events().await;
    assert_eq!(parts(&resumed), parts(&seen[3..]), "resumed after a withdrawn event");
    for snapshot in [snapshot_before, snapshot_after] {
        assert_eq!(standing_text(&snapshot.events().await), "Hello");
    }
    let state = scene.snapshot(&id).await;
    assert_eq!((&state["text"], &state["status"]), (&json!("Hello"), &json!("done")));
    let polled = scene.service.get(&format!("/v1/generations/{id}?after={withdrawn}&wait=5s")).await.json().await;
    assert_eq!(polled["text"], "Hello");

    let chat_live = chat_live.events().await;
    let [error] = chat_live.as_slice() else { panic!("one error, and the end: {chat_live:?}") };
    assert_eq!(error.data["error"]["code"], "upstream_restarted");
    let chat = scene.follow(&id, "?format=openai").await.events().await;
    assert_eq!(chat.last().map(|event| &event.data), Some(&error.data), "the same when it is replayed");
    let rest = scene.follow(&id, &format!("?format=openai&after={}", error.sequence())).await.text().await;
    assert!(rest.contains("Hel") && !rest.contains("Good") && rest.contains("data: [DONE]"), "the new answer: {rest}");

    let subscribed = scene.service.request(Method::GET, "/v1/channels/room-1/events?history=100");
    let mut subscriber = Answer::to(subscribed.header(ACCEPT, "text/event-stream")).await;
    let mut published = Vec::new();
    while published.last().is_none_or(|event: &Event| event.name != "done") {
        published.push(subscriber.next().await.expect("an event"));
    }
    let restart = published.iter().find(|event| event.name == "restart").expect("a restart");
    assert_eq!(restart.data, json!({"generation": id, "from": 1, "reason": "upstream_disconnected"}));
    let after = published.iter().position(|event| event.name == "restart").expect("a restart");
    assert_eq!((text(&published[..after]), text(&published[after..])), ("Good day".to_owned(), "Hello".to_owned()));
}

#[tokio::test]
async fn whole_answer_of_a_generation_that_began_anew_has_the_new_text() {
    let scene = Scene::new().await;
    let answering = async {
        let mut call = scene.a.call().await;
        call.ok().await;
        call.text("Good day").await;
        call.reset();
        scene.b.call().await.answer(&["Hel", "lo"]).await;
    };
    let request = scene.service.generation(&body()).header(ACCEPT, "application/json");
    let (answer, ()) = tokio::join!(Answer::to(request), answering);
    let state = answer.json().await;
    assert_eq!((&state["text"], &state["status"]), (&json!("Hello"), &json!("done")));
    assert_eq!(state["usage"]["output_tokens"], 1, "of the answer that stands: {state}");
    // What both targets did is in the sums: the first one's text was read, too.
    let rows = scene.service.get("/v1/usage?by=upstream").await.json().await;
    let row = |name: &str| {
        let rows = rows["data"].as_array().expect("rows");
        rows.iter().find(|row| row["upstream"] == name).cloned().unwrap_or_else(|| panic!("no {name}: {rows:?}"))
    };
    assert_eq!((&row("a")["failed"], &row("a")["output_tokens"]), (&json!(1), &json!(2)), "{rows}");
    assert_eq!((&row("b")["done"], &row("b")["output_tokens"]), (&json!(1), &json!(1)), "{rows}");
}

#[tokio::test]
async fn text_stands_and_the_generation_fails_where_no_restart_follows() {
    let tool = json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]});
    for (what, request, delta, asked_again) in [
        ("by default", json!({"input": "Hello", "model": "fast"}), json!({"content": "!"}), false),
        ("after a tool call", body(), tool, false),
        ("no other target answers", body(), json!({"content": "!"}), true),
    ] {
        let scene = Scene::new().await;
        let (viewer, mut call, seen) = scene.begin(request).await;
        call.delta(delta).await;
        // The end of the body without the end of the answer.
        call.raw("0\r\n\r\n").await;
        if asked_again {
            scene.b.call().await.refuse(502, "", "{}").await;
        }
        let rest = viewer.events().await;
        let end = rest.last().expect("an end");
        assert_eq!(
            (end.name.as_str(), &end.data["error"]["code"]),
            ("failed", &json!("upstream_disconnected")),
            "{what}"
        );
        assert!(!names(&rest).contains(&"restart"), "{what}: {rest:?}");
        let state = scene.snapshot(seen[0].generation()).await;
        assert!(state["text"].as_str().is_some_and(|text| text.starts_with("Good day")), "{what}: {state}");
        assert!(!scene.b.was_called(), "{what}");
    }
}

#[tokio::test]
async fn stop_while_the_next_target_is_asked_keeps_the_text_and_closes_the_connection() {
    let scene = Scene::new().await;
    let (viewer, call, seen) = scene.begin(body()).await;
    call.reset();
    let mut next = scene.b.call().await;
    next.ok().await;
    let id = seen[0].generation();
    let stop = scene.service.request(Method::POST, &format!("/v1/generations/{id}/cancel"));
    assert_eq!(Answer::to(stop).await.status, 200);
    next.closed().await;
    assert_eq!(names(&viewer.events().await), ["cancelled"]);
    assert_eq!(scene.snapshot(id).await["text"], "Good day");
}

#[tokio::test]
async fn clients_of_chat_completions_cannot_ask_for_a_restart() {
    let scene = Scene::new().await;
    let ask = async |value: &str| {
        let body =
            json!({"model": "fast", "messages": [{"role": "user", "content": "Hello"}], "on_upstream_failure": value});
        Answer::to(scene.service.request(Method::POST, "/v1/chat/completions").json(&body)).await
    };
    let refused = ask("restart").await;
    assert_eq!(refused.status, 400);
    let error = refused.json().await;
    assert_eq!(error["error"]["param"], "on_upstream_failure");
    assert!(
        error["error"]["message"].as_str().is_some_and(|message| message.contains("POST /v1/generations")),
        "{error}"
    );
    let answering = async {
        let mut call = scene.a.call().await;
        assert_eq!(call.body.get("on_upstream_failure"), None, "it is this service's own field");
        let choice = json!({"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"});
        call.json(&json!({"id": "c", "choices": [choice]}).to_string()).await;
    };
    let (answer, ()) = tokio::join!(ask("fail"), answering);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn live_answers_of_a_killed_target_begin_anew_on_the_other() {
    const STREAMS: usize = 100;
    let (a, b) = (AnsweringUpstream::start().await, AnsweringUpstream::start().await);
    let service = service(&[a.base_url(), b.base_url()], ["held", "words"]).await;
    let start = async |number: usize| {
        let body = json!({"input": format!("Hello {number}"), "model": "fast", "on_upstream_failure": "restart"});
        let mut answer = service.generate(&body).await;
        answer.expect("start").await;
        let first = answer.expect("delta").await;
        (answer, first)
    };
    let live = join_all((0..STREAMS).map(start)).await;
    drop(a);
    let ended = join_all(live.into_iter().map(async |(answer, first)| {
        let mut events = vec![first];
        events.extend(answer.events().await);
        events
    }));
    for events in ended.await {
        assert_eq!(events.last().map(|event| event.name.as_str()), Some("done"));
        assert_eq!(standing_text(&events), WORDS_TEXT);
    }
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
}
