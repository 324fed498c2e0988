//! The grace: how long a generation continues without a viewer, for a client that reconnects.

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokenrill::settings::{OnDisconnect, Settings};

use crate::support::{Answer, Service, Upstream, soon};

/// Longer than anything else that the tests wait for, and short enough to wait for.
const GRACE: Duration = Duration::from_millis(700);

fn with_grace(upstream: &Upstream, grace: Duration) -> Settings {
    let mut settings = Service::settings(&upstream.base_url());
    settings.generation.grace = grace;
    settings
}

fn chat(service: &Service, body: &Value) -> reqwest::RequestBuilder {
    let request = service.request(Method::POST, "/v1/chat/completions").header(CONTENT_TYPE, "application/json");
    request.body(body.to_string())
}

async fn snapshot(service: &Service, id: &str) -> Value {
    service.get(&format!("/v1/generations/{id}")).await.json().await
}

#[tokio::test]
async fn abandoned_generation_is_cancelled_when_the_grace_ends_and_not_before() {
    let upstream = Upstream::start().await;
    let service = Service::with(with_grace(&upstream, GRACE)).await;
    let mut answer = service.generate(&json!({"input": "Hello"})).await;
    let id = answer.expect("start").await.generation().to_owned();
    let mut call = upstream.call().await;
    call.ok().await;
    call.text("Hel").await;
    answer.expect("delta").await;

    let left = Instant::now();
    drop(answer);
    service.metric_becomes("tokenrill_viewers_live", 0.0).await;
    // The model continues, and its tokens are appended.
    call.text("lo").await;
    soon(async { while snapshot(&service, &id).await["text"] != "Hello" {} }).await;
    call.closed().await;
    assert!(left.elapsed() >= GRACE, "{:?}", left.elapsed());
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
    let ended = snapshot(&service, &id).await;
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("cancelled"), &json!("abandoned")));
    assert_eq!(ended["text"], "Hello");
}

#[tokio::test]
async fn reconnect_within_the_grace_resumes_without_loss() {
    let upstream = Upstream::start().await;
    let service = Service::with(with_grace(&upstream, Duration::from_mins(1))).await;
    let mut answer = service.generate(&json!({"input": "Hello"})).await;
    let start = answer.expect("start").await;
    let mut call = upstream.call().await;
    drop(answer);
    service.metric_becomes("tokenrill_viewers_live", 0.0).await;
    service.metric_becomes("tokenrill_generations_live", 1.0).await;
    call.ok().await;
    call.text("Hel").await;
    let back = service.generation(&json!({"input": "Hello"})).header("last-event-id", start.id.expect("an id"));
    let mut back = Answer::to(back).await;
    assert_eq!(back.expect("delta").await.data, json!({"text": "Hel"}));
    call.text("lo").await;
    assert_eq!(back.expect("delta").await.data, json!({"text": "lo"}));
    call.finish("stop").await;
    call.done().await;
    back.expect("done").await;
}

#[tokio::test]
async fn reconnect_after_the_grace_receives_cancelled() {
    let upstream = Upstream::start().await;
    let service = Service::with(with_grace(&upstream, Duration::ZERO)).await;
    let mut answer = service.generate(&json!({"input": "Hello"})).await;
    let start = answer.expect("start").await;
    let mut call = upstream.call().await;
    drop(answer);
    call.closed().await;
    let back = service.generation(&json!({"input": "Hello"})).header("last-event-id", start.id.expect("an id"));
    let mut back = Answer::to(back).await;
    let ended = back.expect("cancelled").await;
    assert_eq!(ended.data["reason"], "abandoned");
    assert_eq!(back.next().await, None);
    assert!(!upstream.was_called(), "no other generation is started");
}

/// The grace ends while viewers reconnect. Each is in time, and the generation continues to its end, or is too late and
/// receives `cancelled`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconnect_as_the_grace_ends_receives_done_or_cancelled() {
    let service = {
        let mut settings = Settings::default();
        settings.generation.grace = Duration::from_millis(2);
        Service::with(settings).await
    };
    let (mut in_time, mut told) = (0, 0);
    for round in 0..150 {
        let body = json!({"input": "Hello", "model": "demo?tokens=12&rate=1000"});
        let mut answer = service.generate(&body).await;
        let start = answer.expect("start").await;
        drop(answer);
        // The pause sweeps over the moment at which the grace ends; a barrier would fix the order.
        tokio::time::sleep(Duration::from_micros(1000 + 20 * (round % 75))).await;
        let back = service.generation(&body).header("last-event-id", start.id.as_deref().expect("an id"));
        let events = Answer::to(back).await.events().await;
        assert!(events.iter().zip(2..).all(|(event, sequence)| event.sequence() == sequence), "{events:?}");
        let last = events.last().expect("an ending");
        match last.name.as_str() {
            "done" => in_time += 1,
            "cancelled" => {
                assert_eq!(last.data["reason"], "abandoned");
                told += 1;
            }
            other => panic!("{other}: {last:?}"),
        }
    }
    assert_eq!(in_time + told, 150);
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
    service.metric_becomes("tokenrill_generations_total{outcome=\"done\"}", f64::from(in_time)).await;
    service.metric_becomes("tokenrill_generations_total{outcome=\"cancelled\"}", f64::from(told)).await;
}

/// Each case: the settings, the fields of the request, and whether the generation continues without its viewer.
#[tokio::test]
async fn request_can_shorten_the_grace_and_not_extend_it() {
    let minute = Duration::from_mins(1);
    for (what, setting, on_disconnect, fields, stays) in [
        ("the setting", minute, None, json!({}), true),
        ("no grace in the settings", Duration::ZERO, None, json!({}), false),
        ("less than the setting", minute, None, json!({"grace_ms": 0}), false),
        ("more than the setting", Duration::ZERO, None, json!({"grace_ms": 60_000}), false),
        ("continue", Duration::ZERO, None, json!({"on_disconnect": "continue"}), true),
        ("continue by the settings", Duration::ZERO, Some(OnDisconnect::Continue), json!({}), true),
        (
            "cancel against the settings",
            Duration::ZERO,
            Some(OnDisconnect::Continue),
            json!({"on_disconnect": "cancel"}),
            false,
        ),
    ] {
        let upstream = Upstream::start().await;
        let mut settings = with_grace(&upstream, setting);
        settings.generation.on_disconnect = on_disconnect.unwrap_or_default();
        let service = Service::with(settings).await;
        let mut body = fields;
        body["input"] = json!("Hello");
        let mut answer = service.generate(&body).await;
        answer.expect("start").await;
        let mut call = upstream.call().await;
        drop(answer);
        outcome(&service, &mut call, stays, what).await;
    }
}

#[tokio::test]
async fn closing_a_chat_completion_stops_the_model_unless_it_requests_a_grace() {
    let messages = json!([{"role": "user", "content": "Hello"}]);
    for stream in [true, false] {
        for (what, field, header, stays) in [
            ("by default", None, None, false),
            ("by the field", Some(60_000), None, true),
            ("by the header", None, Some("60000"), true),
            ("the field wins", Some(0), Some("60000"), false),
        ] {
            let upstream = Upstream::start().await;
            let service = Service::with(with_grace(&upstream, Duration::from_mins(1))).await;
            let mut body = json!({"messages": messages, "stream": stream});
            if let Some(grace) = field {
                body["grace_ms"] = json!(grace);
            }
            let mut request = chat(&service, &body);
            if let Some(grace) = header {
                request = request.header("tokenrill-grace-ms", grace);
            }
            let asked = tokio::select! {
                _ = Answer::to(request) => panic!("{what}: it is answered before the model speaks"),
                call = upstream.call() => call,
            };
            let mut call = asked;
            outcome(&service, &mut call, stays, what).await;
        }
    }
}

/// Asserts after the client's disconnect that the generation continues, or that the upstream request is cancelled.
async fn outcome(service: &Service, call: &mut crate::support::Call, stays: bool, what: &str) {
    if stays {
        service.metric_becomes("tokenrill_viewers_live", 0.0).await;
        call.ok().await;
        call.text("still here").await;
        service.metric_becomes("gen_ai_server_time_to_first_token_seconds_count", 1.0).await;
        service.metric_becomes("tokenrill_generations_live", 1.0).await;
    } else {
        call.closed().await;
        service.metric_becomes("tokenrill_generations_live", 0.0).await;
        assert_eq!(
            service.metric("tokenrill_generations_total{outcome=\"cancelled\"}").await.to_bits(),
            1f64.to_bits(),
            "{what}"
        );
    }
}

#[tokio::test]
async fn waiting_json_request_counts_as_a_viewer() {
    let upstream = Upstream::start().await;
    let service = Service::with(with_grace(&upstream, GRACE)).await;
    let body = json!({"input": "Hello"});
    let waiting = service.generation(&body).header("accept", "application/json");
    let mut call = tokio::select! {
        _ = Answer::to(waiting) => panic!("it is answered before the model speaks"),
        call = upstream.call() => call,
    };
    let left = Instant::now();
    call.closed().await;
    assert!(left.elapsed() >= GRACE / 2, "the grace applies to it too");
    service.metric_becomes("tokenrill_generations_total{outcome=\"cancelled\"}", 1.0).await;
}
