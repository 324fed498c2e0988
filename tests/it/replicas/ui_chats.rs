//! A chat of the AI SDK over two replicas: the page resumes, repeats and stops on the other one.

use reqwest::Method;
use serde_json::{Value, json};

use super::Deployment;
use crate::support::{Answer, Call, Service};

fn body(message: &str, text: &str) -> Value {
    json!({"id": "c1", "trigger": "submit-message", "messages": [
        {"id": message, "role": "user", "parts": [{"type": "text", "text": text}]},
    ]})
}

async fn send(service: &Service, body: &Value) -> Answer {
    Answer::to(service.request(Method::POST, "/v1/ui/chat").json(body)).await
}

/// Sends a turn to a replica, and lets the upstream send its first token.
async fn begun(deployment: &Deployment, service: &Service, body: Value) -> (Answer, Call) {
    tokio::join!(send(service, &body), async {
        let mut call = deployment.upstream.call().await;
        call.ok().await;
        call.text("Hel").await;
        call
    })
}

#[tokio::test]
async fn page_resumes_repeats_and_stops_on_another_replica() {
    let deployment = Deployment::new().await;
    let [one, other] = deployment.replicas().await;
    let (first, mut call) = begun(&deployment, &one, body("u1", "Hello")).await;
    let message = first.header("tokenrill-generation").replace("gen_", "msg_");
    let start = format!("data: {}\n\n", json!({"type": "start", "messageId": message}));
    let mut repeated = send(&other, &body("u1", "Hello")).await;
    assert_eq!(repeated.header("tokenrill-attached"), "existing");
    let mut resumed = other.get("/v1/ui/chat/c1/stream").await;
    for answer in [&mut repeated, &mut resumed] {
        answer.starts_with(&start).await;
    }
    let stopped = Answer::to(other.request(Method::POST, "/v1/ui/chat/c1/stop")).await.json().await;
    assert_eq!(stopped["stopped"], true);
    call.closed().await;
    for answer in [first, repeated, resumed] {
        assert!(answer.text().await.ends_with("data: {\"type\":\"abort\",\"reason\":\"stopped\"}\n\ndata: [DONE]\n\n"));
    }
    for service in [&one, &other] {
        assert_eq!(service.get("/v1/ui/chat/c1/stream").await.status, 204);
        service.metric_becomes("tokenrill_generations_live", 0.0).await;
    }
    assert!(!deployment.upstream.was_called());
}

#[tokio::test]
async fn new_turn_on_another_replica_stops_an_answer_without_a_viewer() {
    let deployment = Deployment::new().await;
    let [one, other] = deployment.replicas().await;
    let (first, mut first_call) = begun(&deployment, &one, body("u1", "Hello")).await;
    drop(first);
    one.metric_becomes("tokenrill_viewers_live", 0.0).await;
    let (second, mut call) = begun(&deployment, &other, body("u2", "Stop that")).await;
    first_call.closed().await;
    call.finish("stop").await;
    call.done().await;
    assert!(second.text().await.ends_with("data: [DONE]\n\n"));
    for service in [&one, &other] {
        service.metric_becomes("tokenrill_generations_live", 0.0).await;
    }
}
