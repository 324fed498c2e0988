//! When the last viewer disconnects, the upstream request is cancelled, so that no further tokens are billed.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::settings::Settings;

use crate::support::{Answer, Call, Leaver, Service, Upstream, Way};

const EVENTS: &str = "text/event-stream";
/// Accepted by a client that waits for the whole answer.
const SNAPSHOT: &str = "application/json";

const BODY: &str = r#"{"input":"Hello","grace_ms":0}"#;
const CONTINUE: &str = r#"{"input":"Hello","on_disconnect":"continue"}"#;

/// The progress of the upstream when the client disconnects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    BeforeHeaders,
    BeforeFirstToken,
    MidStream,
}

const PHASES: [Phase; 3] = [Phase::BeforeHeaders, Phase::BeforeFirstToken, Phase::MidStream];

impl Phase {
    /// Brings the upstream's answer, the service and the client to this phase.
    async fn reach(self, call: &mut Call, service: &Service, client: &mut Leaver, accept: &str) {
        if accept == EVENTS {
            client.read_until("event: start\n").await;
        }
        if self == Self::BeforeHeaders {
            return;
        }
        call.ok().await;
        if self == Self::BeforeFirstToken {
            call.delta(json!({"role": "assistant", "content": ""})).await;
            // The service and the test share one thread, which reads in the order of arrival: the service reads the
            // upstream's bytes before it responds to this request.
            assert_eq!(service.get("/healthz").await.status, 200);
            return;
        }
        call.text("Hel").await;
        service.metric_becomes("gen_ai_server_time_to_first_token_seconds_count", 1.0).await;
        if accept == EVENTS {
            client.read_until("Hel").await;
        }
    }

    fn text(self) -> &'static str {
        if self == Self::MidStream { "Hel" } else { "" }
    }
}

/// Waits until no generation and no viewer is live, and the only generation has ended with `outcome`.
async fn only_generation_ended(service: &Service, outcome: &str) {
    service.metric_becomes("tokenrill_generations_live", 0.0).await;
    service.metric_becomes("tokenrill_viewers_live", 0.0).await;
    for possible in ["done", "cancelled", "failed"] {
        let count = if possible == outcome { 1.0 } else { 0.0 };
        service.metric_becomes(&format!("tokenrill_generations_total{{outcome=\"{possible}\"}}"), count).await;
    }
}

async fn snapshot(service: &Service, id: &str) -> Value {
    service.get(&format!("/v1/generations/{id}")).await.json().await
}

async fn is_abandoned(service: &Service, id: &str, text: &str) {
    let snapshot = snapshot(service, id).await;
    let ending = (&snapshot["status"], &snapshot["reason"], &snapshot["text"]);
    assert_eq!(ending, (&json!("cancelled"), &json!("abandoned"), &json!(text)));
}

/// Disconnects in each phase, as an event stream and as a JSON request.
async fn leaving_stops_the_model(way: Way) {
    leaving_behind_bytes_stops_the_model(way, "").await;
}

/// Like [`leaving_stops_the_model`], with `unread` sent after the request's body. No heartbeat is due before [`soon`]
/// times out.
async fn leaving_behind_bytes_stops_the_model(way: Way, unread: &str) {
    for accept in [EVENTS, SNAPSHOT] {
        for phase in PHASES {
            let upstream = Upstream::start().await;
            let service = Service::before(&upstream.base_url()).await;
            let mut client = match unread {
                "" => Leaver::ask(way, service.address, accept, BODY).await,
                _ => Leaver::http1(service.address, accept, BODY, unread).await,
            };
            let mut call = upstream.call().await;
            phase.reach(&mut call, &service, &mut client, accept).await;
            service.metric_becomes("tokenrill_generations_live", 1.0).await;
            service.metric_becomes("tokenrill_viewers_live", 1.0).await;

            client.leave(way).await;
            call.closed().await;
            only_generation_ended(&service, "cancelled").await;
            if accept == EVENTS {
                is_abandoned(&service, &client.generation(), phase.text()).await;
            }
            if way == Way::HalfClose {
                client.closed().await;
            }
        }
    }
}

#[tokio::test]
async fn closing_the_connection_stops_the_model() {
    leaving_stops_the_model(Way::Fin).await;
}

#[tokio::test]
async fn resetting_the_connection_stops_the_model() {
    leaving_stops_the_model(Way::Rst).await;
}

#[tokio::test]
async fn closing_the_sending_half_stops_the_model() {
    leaving_stops_the_model(Way::HalfClose).await;
}

#[tokio::test]
async fn resetting_an_http2_stream_stops_the_model() {
    leaving_stops_the_model(Way::StreamReset).await;
}

#[tokio::test]
async fn closing_an_http2_connection_stops_the_model() {
    leaving_stops_the_model(Way::ConnectionClose).await;
}

#[tokio::test]
async fn unread_bytes_hide_no_disconnect() {
    let next = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for unread in ["\n", next] {
        for way in [Way::Fin, Way::Rst, Way::HalfClose] {
            leaving_behind_bytes_stops_the_model(way, unread).await;
        }
    }
}

#[tokio::test]
async fn disconnect_with_continue_lets_the_generation_finish() {
    for accept in [EVENTS, SNAPSHOT] {
        for phase in PHASES {
            let upstream = Upstream::start().await;
            let service = Service::before(&upstream.base_url()).await;
            let mut client = Leaver::ask(Way::Fin, service.address, accept, CONTINUE).await;
            let mut call = upstream.call().await;
            phase.reach(&mut call, &service, &mut client, accept).await;
            client.leave(Way::Fin).await;
            service.metric_becomes("tokenrill_viewers_live", 0.0).await;
            service.metric_becomes("tokenrill_generations_live", 1.0).await;

            if phase == Phase::BeforeHeaders {
                call.ok().await;
            }
            call.text("lo").await;
            call.finish("stop").await;
            call.done().await;
            only_generation_ended(&service, "done").await;
            if accept == EVENTS {
                let snapshot = snapshot(&service, &client.generation()).await;
                let ending = (&snapshot["status"], &snapshot["text"]);
                assert_eq!(ending, (&json!("done"), &json!(format!("{}lo", phase.text()))));
            }
        }
    }
}

#[tokio::test]
async fn only_the_last_disconnect_cancels_the_generation() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut first = service.generate(&json!({"input": "Hello", "grace_ms": 0})).await;
    let id = first.expect("start").await.generation().to_owned();
    let mut second = service.get(&format!("/v1/generations/{id}/events")).await;
    second.expect("start").await;
    let mut call = upstream.call().await;
    call.ok().await;

    drop(first);
    service.metric_becomes("tokenrill_viewers_live", 1.0).await;
    call.text("Hel").await;
    second.expect("delta").await;

    drop(second);
    call.closed().await;
    only_generation_ended(&service, "cancelled").await;
    is_abandoned(&service, &id, "Hel").await;
}

#[tokio::test]
async fn reconnected_client_counts_as_a_viewer_again() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let mut first = service.generate(&json!({"input": "Hello", "grace_ms": 0})).await;
    let start = first.expect("start").await;
    let path = format!("/v1/generations/{}/events", start.generation());
    let mut second = service.get(&path).await;
    second.expect("start").await;
    let mut call = upstream.call().await;
    call.ok().await;

    drop(first);
    service.metric_becomes("tokenrill_viewers_live", 1.0).await;
    let again = service.request(Method::GET, &path).header("last-event-id", start.id.as_deref().expect("an id"));
    let mut first = Answer::to(again).await;
    drop(second);
    service.metric_becomes("tokenrill_viewers_live", 1.0).await;
    call.text("Hel").await;
    first.expect("delta").await;

    drop(first);
    call.closed().await;
    only_generation_ended(&service, "cancelled").await;
    is_abandoned(&service, start.generation(), "Hel").await;
}

#[tokio::test]
async fn disconnect_after_the_terminal_event_changes_nothing() {
    for way in [Way::Fin, Way::Rst, Way::StreamReset, Way::ConnectionClose] {
        let upstream = Upstream::start().await;
        let service = Service::before(&upstream.base_url()).await;
        let mut client = Leaver::ask(way, service.address, EVENTS, BODY).await;
        let mut call = upstream.call().await;
        call.ok().await;
        call.text("Hello").await;
        call.finish("stop").await;
        // The answer has ended, but the upstream's response has not.
        call.data("[DONE]").await;
        client.read_until("event: done\n").await;
        let before = snapshot(&service, &client.generation()).await;
        assert_eq!((&before["status"], &before["text"]), (&json!("done"), &json!("Hello")));

        client.leave(way).await;
        service.metric_becomes("tokenrill_viewers_live", 0.0).await;
        call.raw("0\r\n\r\n").await;
        only_generation_ended(&service, "done").await;
        assert_eq!(snapshot(&service, &client.generation()).await, before);
    }
}

#[tokio::test]
async fn silent_stream_gets_heartbeats_that_are_no_events() {
    /// A chunk of the response with one line. A blank line would end a block.
    const PING: &str = "7\r\n: ping\n\r\n";
    let upstream = Upstream::start().await;
    let service = Service::with(beating_every(HEARTBEAT, &upstream)).await;
    let asked = Instant::now();
    let mut client = Leaver::http1(service.address, EVENTS, BODY, "").await;
    let mut call = upstream.call().await;
    client.read_until("event: start\n").await;
    let id = client.generation();
    let heartbeats_after = |sequence: u32, count| format!("\nid: {id}.{sequence}\n\n\r\n{}", PING.repeat(count));

    for count in 1..=3 {
        client.read_until(&heartbeats_after(1, count)).await;
        assert!(
            asked.elapsed() >= HEARTBEAT * u32::try_from(count).expect("few"),
            "one heartbeat for each silent interval"
        );
    }
    call.ok().await;
    client.read_until(&heartbeats_after(1, 5)).await;
    call.text("Hello").await;
    client.read_until(&heartbeats_after(2, 2)).await;
    call.finish("stop").await;
    call.done().await;
    client.read_until(&format!("\nid: {id}.3\n\n\r\n0\r\n\r\n")).await;
    assert_eq!(client.received.matches("ping").count(), client.received.matches(PING).count());
}

#[tokio::test]
async fn flowing_tokens_suppress_heartbeats() {
    let upstream = Upstream::start().await;
    let service = Service::with(beating_every(HEARTBEAT, &upstream)).await;
    let mut client = service.generate(&json!({"input": "Hello", "grace_ms": 0})).await;
    let mut call = upstream.call().await;
    call.ok().await;
    client.expect("start").await;

    let flowing = Instant::now();
    let mut spoken = Instant::now();
    while flowing.elapsed() < HEARTBEAT * 5 {
        // A real wait: the pace of the tokens, against the service's real heartbeat.
        tokio::time::sleep(HEARTBEAT / 5).await;
        let silent_since = spoken;
        spoken = Instant::now();
        call.text("x").await;
        let token = client.expect("delta").await;
        // If the machine stalls, the silence may be long enough for a heartbeat.
        if silent_since.elapsed() < HEARTBEAT {
            assert!(token.block.starts_with("event: delta\n"), "{}", token.block);
        }
    }
}

/// Short enough to wait for, and long enough that a token arrives before a heartbeat is due.
const HEARTBEAT: Duration = Duration::from_millis(100);

fn beating_every(heartbeat: Duration, upstream: &Upstream) -> Settings {
    let mut settings = Service::settings(&upstream.base_url());
    settings.generation.heartbeat = heartbeat;
    settings
}
