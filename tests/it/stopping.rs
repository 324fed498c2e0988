//! A stop ends one generation exactly once, for all its viewers.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use tokenrill::settings::Settings;

use crate::support::{Answer, Event, Service, Upstream, soon, text};

async fn cancel(service: &Service, id: &str) -> Value {
    let answer = Answer::to(service.request(Method::POST, &format!("/v1/generations/{id}/cancel"))).await;
    assert_eq!(answer.status, 200);
    answer.json().await
}

/// The progress of the upstream when the stop arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    BeforeHeaders,
    BeforeFirstToken,
    MidStream,
}

#[tokio::test]
async fn stop_in_each_phase_closes_the_upstream_and_sends_cancelled_to_all_viewers() {
    for erase in [false, true] {
        for phase in [Phase::BeforeHeaders, Phase::BeforeFirstToken, Phase::MidStream] {
            let upstream = Upstream::start().await;
            let service = Service::before(&upstream.base_url()).await;
            let mut first = service.generate(&json!({"input": "Hello"})).await;
            let id = first.expect("start").await.generation().to_owned();
            let second = service.get(&format!("/v1/generations/{id}/events")).await;
            let chunks = service.get(&format!("/v1/generations/{id}/events?format=openai")).await;
            let mut call = upstream.call().await;
            if phase != Phase::BeforeHeaders {
                call.ok().await;
            }
            if phase == Phase::MidStream {
                call.text("Hel").await;
                first.expect("delta").await;
            }
            if erase {
                let answer = Answer::to(service.request(Method::DELETE, &format!("/v1/generations/{id}"))).await;
                assert_eq!(answer.status, 204);
            } else {
                cancel(&service, &id).await;
            }
            call.closed().await;
            let told = first.events().await;
            let [ending] = told.as_slice() else { panic!("{phase:?}: {told:?}") };
            assert_eq!((ending.name.as_str(), &ending.data["reason"]), ("cancelled", &json!("client_request")));
            assert_eq!(second.events().await.last(), Some(ending), "{phase:?}");
            let chunks = chunks.text().await;
            assert!(chunks.contains("\"code\":\"cancelled\"") && !chunks.contains("[DONE]"), "{chunks}");
            service.metric_becomes("tokenrill_generations_total{outcome=\"cancelled\"}", 1.0).await;
            service.metric_becomes("tokenrill_generations_live", 0.0).await;
            service.metric_becomes("tokenrill_viewers_live", 0.0).await;
            let found = service.get(&format!("/v1/generations/{id}")).await.status;
            assert_eq!(found, if erase { 404 } else { 200 });
        }
    }
}

/// Stop, completion, abandonment and the deadline race in all combinations. One of them wins, all responses agree on
/// it, and it is counted once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_endings_agree_on_one_outcome() {
    let mut settings = Settings::default();
    settings.generation.grace = Duration::ZERO;
    settings.generation.max_duration = Duration::from_millis(14);
    let service = Service::with(settings).await;
    let mut outcomes = std::collections::BTreeMap::<String, u32>::new();
    let rounds = 120;
    for round in 0..rounds {
        // The model finishes after about 12 ms and the deadline is at 14 ms. The stops are sent after a pause of 9 to
        // 15 ms.
        let body = json!({"input": "Hello", "model": "demo?tokens=12&rate=1000"});
        let mut viewer = service.generate(&body).await;
        let id = viewer.expect("start").await.generation().to_owned();
        let followed = service.get(&format!("/v1/generations/{id}/events")).await;
        // The pause sweeps over the moments at which the endings race; a barrier would fix their order.
        let pause = Duration::from_micros(9_000 + 50 * round);
        let stops = join_all((0..3).map(|_| async {
            tokio::time::sleep(pause).await;
            cancel(&service, &id).await
        }));
        let leaves = async {
            tokio::time::sleep(pause).await;
            drop(viewer);
        };
        let (snapshots, (), events) = tokio::join!(stops, leaves, followed.events());
        let terminal: Vec<&Event> =
            events.iter().filter(|event| ["done", "cancelled", "failed"].contains(&event.name.as_str())).collect();
        assert_eq!(terminal, [events.last().expect("an ending")], "one terminal event, last");
        for snapshot in snapshots {
            assert_eq!(snapshot["status"], terminal[0].name.as_str());
            assert_eq!(snapshot["usage"], terminal[0].data["usage"]);
            assert_eq!(snapshot["text"], text(&events).as_str());
        }
        *outcomes.entry(terminal[0].name.clone()).or_default() += 1;
    }
    soon(async { while service.metric("tokenrill_generations_live").await > 0.0 {} }).await;
    for (outcome, count) in &outcomes {
        let recorded = service.metric(&format!("tokenrill_generations_total{{outcome=\"{outcome}\"}}")).await;
        assert_eq!(recorded.to_bits(), f64::from(*count).to_bits(), "{outcome}: {outcomes:?}");
    }
    assert!(outcomes.len() > 1, "the endings raced: {outcomes:?}");
}

#[tokio::test]
async fn stop_after_the_end_changes_nothing() {
    let service = Service::start().await;
    let body = json!({"input": "Hello", "model": "demo?tokens=3&rate=max"});
    let events = service.generate(&body).await.events().await;
    let before = service.get(&format!("/v1/generations/{}", events[0].generation())).await.json().await;
    assert_eq!(cancel(&service, events[0].generation()).await, before);
    assert_eq!(before["status"], "done");
}

#[tokio::test]
async fn stop_ends_only_its_own_generation() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut old = service.generate(&json!({"input": "old"})).await;
    let id = old.expect("start").await.generation().to_owned();
    let mut old_call = upstream.call().await;
    let mut new = service.generate(&json!({"input": "new"})).await;
    new.expect("start").await;
    let mut call = upstream.call().await;
    cancel(&service, &id).await;
    old_call.closed().await;
    call.answer(&["still ", "here"]).await;
    assert_eq!(text(&new.events().await), "still here");
}
