//! The metrics that `/metrics` reports.

use std::num::NonZeroU32;

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::json;

use crate::support::{Answer, Service, Upstream, soon};

/// Asserts the exact value of a metric.
async fn is(service: &Service, metric: &str, value: f64) {
    assert_eq!(service.metric(metric).await.to_bits(), value.to_bits(), "{metric}");
}

#[tokio::test]
async fn requests_are_counted_by_method_route_and_status() {
    let service = Service::start().await;
    for path in ["/v1/models", "/v1/models", "/v1/nothing", "/v1/nothing-else"] {
        service.get(path).await.text().await;
    }
    Answer::to(service.request(Method::PUT, "/v1/models")).await;
    let count = |method: &str, route: &str, status: u16| {
        format!(
            "tokenrill_http_requests_total{{http_request_method=\"{method}\",http_route=\"{route}\",http_response_status_code=\"{status}\"}}"
        )
    };
    is(&service, &count("GET", "/v1/models", 200), 2.0).await;
    is(&service, &count("PUT", "/v1/models", 405), 1.0).await;
    is(&service, &count("GET", "unmatched", 404), 2.0).await;
}

#[tokio::test]
async fn resumes_are_counted_by_mechanism() {
    let service = Service::start().await;
    let body = json!({"input": "Hello", "model": "demo?tokens=3&rate=max"});
    let start = || service.generation(&body).header(ACCEPT, "text/event-stream").header("idempotency-key", "key-1");
    let events = Answer::to(start()).await.events().await;
    let (id, first) = (events[0].generation().to_owned(), events[0].id.clone().expect("an id"));
    let by = |by: &str| format!("tokenrill_resumes_total{{by=\"{by}\"}}");
    for each in ["last_event_id", "after", "idempotency_key", "snapshot"] {
        is(&service, &by(each), 0.0).await;
    }

    let path = format!("/v1/generations/{id}/events");
    service.get(&path).await.events().await;
    for each in ["last_event_id", "after", "idempotency_key", "snapshot"] {
        is(&service, &by(each), 0.0).await;
    }

    Answer::to(service.request(Method::GET, &path).header("last-event-id", &first)).await.events().await;
    let again = service.request(Method::POST, "/v1/generations").header(CONTENT_TYPE, "application/json");
    Answer::to(again.header("last-event-id", &first).header(ACCEPT, "text/event-stream")).await.events().await;
    is(&service, &by("last_event_id"), 2.0).await;

    service.get(&format!("{path}?after=1")).await.events().await;
    is(&service, &by("after"), 1.0).await;
    service.get(&format!("{path}?replay=snapshot")).await.events().await;
    is(&service, &by("snapshot"), 1.0).await;
    Answer::to(start()).await.events().await;
    is(&service, &by("idempotency_key"), 1.0).await;

    is(&service, "tokenrill_history_lost_total", 0.0).await;
    assert_eq!(service.get(&format!("{path}?after=999")).await.status, 410);
    is(&service, "tokenrill_history_lost_total", 1.0).await;
}

#[tokio::test]
async fn a_channel_gap_is_counted() {
    let service = Service::start().await;
    let path = "/v1/channels/room-1/events";
    let publish = service.request(Method::POST, path).header(CONTENT_TYPE, "application/json").body(r#"{"data":1}"#);
    assert!(Answer::to(publish).await.status < 300);
    is(&service, "tokenrill_channel_gaps_total", 0.0).await;
    let subscribe = service.request(Method::GET, path).header(ACCEPT, "text/event-stream");
    let mut subscriber = Answer::to(subscribe.header("last-event-id", "room-1.1")).await;
    soon(async { while subscriber.next().await.expect("an event").name != "gap" {} }).await;
    is(&service, "tokenrill_channel_gaps_total", 1.0).await;
}

#[tokio::test]
async fn memory_and_connections_are_reported_with_their_limits() {
    let mut settings = Service::settings("http://127.0.0.1:1/v1");
    settings.server.max_connections = NonZeroU32::new(7).expect("not 0");
    let service = Service::with(settings).await;
    is(&service, "tokenrill_event_log_bytes", 0.0).await;
    is(&service, "tokenrill_event_log_limit_bytes", 256.0 * 1024.0 * 1024.0).await;
    is(&service, "tokenrill_connections_limit", 7.0).await;
    service.generate(&json!({"input": "Hello", "model": "demo?tokens=3&rate=max"})).await.events().await;
    assert!(service.metric("tokenrill_event_log_bytes").await > 0.0);

    let idle = tokio::net::TcpStream::connect(service.address).await.expect("a connection");
    let open = service.metric("tokenrill_connections").await;
    assert!(open >= 2.0, "the idle one and this one: {open}");
    drop(idle);
    soon(async { while service.metric("tokenrill_connections").await >= open {} }).await;
}

#[tokio::test]
async fn generations_are_counted_by_upstream_and_model_and_a_client_cannot_add_labels() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.upstreams[0].models = vec!["*".to_owned(), "named".to_owned()];
    let service = Service::with(settings).await;
    let count = |outcome: &str, model: &str, error: &str| {
        format!(
            "tokenrill_generations_total{{outcome=\"{outcome}\",upstream=\"scripted\",model=\"{model}\",error_type=\"{error}\"}}"
        )
    };
    // The model is named in the settings. Its series therefore exists before the first answer.
    is(&service, &count("failed", "named", ""), 0.0).await;

    let body = json!({"input": "Hello", "model": "answers"});
    let asked = service.generate(&body);
    let (answer, ()) = tokio::join!(asked, async { upstream.call().await.answer(&["a", "b"]).await });
    assert_eq!(answer.events().await.last().expect("an event").name, "done");
    is(&service, &count("done", "answers", ""), 1.0).await;
    let labels = "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"scripted\",gen_ai_request_model=\"answers\"";
    is(&service, &format!("gen_ai_server_time_to_first_token_seconds_count{{{labels}}}"), 1.0).await;
    is(&service, &format!("gen_ai_server_request_duration_seconds_count{{{labels}}}"), 1.0).await;

    for number in 0..3 {
        let body = json!({"input": "Hello", "model": format!("typo-{number}")});
        let asked = service.generate(&body);
        let refused = async { upstream.call().await.refuse(503, "", "").await };
        let (answer, ()) = tokio::join!(asked, refused);
        answer.events().await;
    }
    is(&service, &count("failed", "other", "upstream_overloaded"), 3.0).await;
    let text = service.get("/metrics").await.text().await;
    assert!(!text.contains("typo"), "{text}");
}
