//! Snapshots of a generation: as the first event of a stream, and by polling.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Call, Service, Upstream, text};

async fn running() -> (Upstream, Service, Answer, String, Call) {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut viewer = service.generate(&json!({"input": "Hello", "metadata": {"a": "b"}})).await;
    let id = viewer.expect("start").await.generation().to_owned();
    let call = upstream.call().await;
    (upstream, service, viewer, id, call)
}

#[tokio::test]
async fn snapshot_replaces_the_events_before_it() {
    let (_upstream, service, mut viewer, id, mut call) = running().await;
    call.ok().await;
    for piece in ["Zür", "ich \u{2028}", "東京"] {
        call.text(piece).await;
        viewer.expect("delta").await;
    }
    let path = format!("/v1/generations/{id}/events?replay=snapshot");
    let mut late = service.get(&path).await;
    let snapshot = late.expect("snapshot").await;
    assert_eq!((snapshot.sequence(), snapshot.retry), (4, Some(1000)));
    assert_eq!(snapshot.data, service.get(&format!("/v1/generations/{id}")).await.json().await);
    assert_eq!((&snapshot.data["status"], &snapshot.data["text"]), (&json!("running"), &json!("Zürich \u{2028}東京")));
    assert_eq!((&snapshot.data["last_sequence"], &snapshot.data["metadata"]), (&json!(4), &json!({"a": "b"})));

    call.text("!").await;
    let next = late.expect("delta").await;
    assert_eq!((next.sequence(), next.retry), (5, None));
    // A browser's `EventSource` reconnects with the same URL. A request with a position receives events, no snapshot.
    let again = service.request(Method::GET, &path).header("last-event-id", snapshot.id.expect("an id"));
    let mut again = Answer::to(again).await;
    assert_eq!(again.expect("delta").await.data, next.data);
    let mut by_query = service.get(&format!("{path}&after=4")).await;
    assert_eq!(by_query.expect("delta").await.data, next.data);

    call.finish("stop").await;
    call.done().await;
    let done = late.expect("done").await;
    assert_eq!(late.next().await, None);
    let [state, ending] = service.get(&path).await.events().await.try_into().expect("two events");
    assert_eq!(
        (state.name.as_str(), state.sequence(), state.data["text"].as_str()),
        ("snapshot", 5, Some("Zürich \u{2028}東京!"))
    );
    assert_eq!(
        (ending.block, state.data["status"].as_str()),
        (done.block, Some("running")),
        "the terminal event follows"
    );
}

#[tokio::test]
async fn snapshot_before_the_first_token_is_empty() {
    let (_upstream, service, _viewer, id, mut call) = running().await;
    let mut late = service.get(&format!("/v1/generations/{id}/events?replay=snapshot")).await;
    let snapshot = late.expect("snapshot").await;
    assert_eq!((snapshot.sequence(), &snapshot.data["text"]), (1, &json!("")));
    call.answer(&["Hel", "lo"]).await;
    assert_eq!(text(&late.events().await), "Hello");
}

#[tokio::test]
async fn poll_returns_when_new_events_arrive() {
    let (_upstream, service, viewer, id, mut call) = running().await;
    let poll = async |after: u64, wait: &str| {
        service.get(&format!("/v1/generations/{id}?after={after}&wait={wait}")).await.json().await
    };
    assert_eq!(poll(0, "60s").await["last_sequence"], 1, "there are later events already");
    let (snapshot, ()) = tokio::join!(poll(1, "60s"), async {
        call.ok().await;
        call.text("Hel").await;
    });
    assert_eq!((&snapshot["last_sequence"], &snapshot["text"]), (&json!(2), &json!("Hel")));

    let asked = Instant::now();
    let snapshot = poll(2, "300ms").await;
    assert!(asked.elapsed() >= Duration::from_millis(300));
    assert_eq!((&snapshot["status"], &snapshot["last_sequence"]), (&json!("running"), &json!(2)), "nothing new");

    let (snapshot, ()) = tokio::join!(poll(2, "60s"), async {
        call.finish("stop").await;
        call.done().await;
    });
    assert_eq!((&snapshot["status"], &snapshot["last_sequence"]), (&json!("done"), &json!(3)));
    assert_eq!(poll(3, "60s").await, snapshot, "a poll of an ended generation does not wait");
    assert_eq!(
        service.get(&format!("/v1/generations/{id}?after=4&wait=60s")).await.status,
        410,
        "a position after the end is refused at once"
    );
    drop(viewer);
}

#[tokio::test]
async fn polling_prevents_abandonment_until_the_grace_after_the_last_poll() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.generation.grace = Duration::from_secs(2);
    let service = Service::with(settings).await;
    let mut viewer = service.generate(&json!({"input": "Hello"})).await;
    let id = viewer.expect("start").await.generation().to_owned();
    let mut call = upstream.call().await;
    let poll = async |after: u64, wait: &str| -> Value {
        service.get(&format!("/v1/generations/{id}?after={after}&wait={wait}")).await.json().await
    };
    let (_, ()) = tokio::join!(poll(1, "1s"), async { drop(viewer) });
    let still = poll(1, "3s").await;
    assert_eq!(still["status"], "running", "a poll keeps it running for longer than the grace");
    let still = poll(1, "3s").await;
    assert_eq!(still["status"], "running", "the grace begins between two polls");
    let left = Instant::now();
    call.closed().await;
    assert!(left.elapsed() >= Duration::from_secs(1), "{:?}", left.elapsed());
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
    let ended = poll(0, "1s").await;
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("cancelled"), &json!("abandoned")));
}

#[tokio::test]
async fn polled_text_only_grows_until_the_answer_is_complete() {
    let service = Service::start().await;
    let started = service.generation(&json!({"input": "Hello", "model": "demo?tokens=40&rate=400"}));
    let started = Answer::to(started.header("prefer", "respond-async")).await.json().await;
    let path = format!("/v1/generations/{}", started["id"].as_str().expect("an id"));
    let (mut after, mut text, mut polls) = (0, String::new(), 0);
    let whole = loop {
        let snapshot = service.get(&format!("{path}?after={after}&wait=10s")).await.json().await;
        let (sequence, said) =
            (snapshot["last_sequence"].as_u64().expect("a number"), snapshot["text"].as_str().expect("text"));
        assert!(sequence > after && said.starts_with(&text), "{snapshot}");
        (after, text, polls) = (sequence, said.to_owned(), polls + 1);
        if snapshot["status"] != "running" {
            break snapshot;
        }
    };
    assert_eq!((whole["status"].as_str(), polls > 2), (Some("done"), true));
    assert_eq!(service.get(&path).await.json().await, whole);
}
