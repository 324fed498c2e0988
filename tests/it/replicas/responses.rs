//! Responses over two replicas: begun on one, retrieved, followed, continued, cancelled and deleted on the other.

use reqwest::Method;
use serde_json::{Value, json};

use super::Deployment;
use crate::support::{Answer, Call, Service};

async fn create(service: &Service, body: &Value) -> Value {
    let answer = Answer::to(service.request(Method::POST, "/v1/responses").json(body)).await;
    assert_eq!(answer.status, 200, "{body}");
    answer.json().await
}

/// Begins a response in the background, and lets the upstream send its first token.
async fn begun(deployment: &Deployment, service: &Service) -> (String, Call) {
    let body = json!({"model": "m", "input": "Hello", "background": true});
    let (response, call) = tokio::join!(create(service, &body), async {
        let mut call = deployment.upstream.call().await;
        call.ok().await;
        call.text("Hel").await;
        call
    });
    (format!("/v1/responses/{}", response["id"].as_str().expect("an id")), call)
}

#[tokio::test]
async fn response_is_followed_continued_and_deleted_on_another_replica() {
    let deployment = Deployment::new().await;
    let [one, other] = deployment.replicas().await;
    let (path, mut call) = begun(&deployment, &one).await;
    let mut live = other.get(&format!("{path}?stream=true")).await;
    live.starts_with("event: response.created\n").await;
    call.text("lo").await;
    call.finish("stop").await;
    call.done().await;
    // So that its connection is not used again.
    drop(call);
    let stream = live.text().await;
    assert!(stream.contains("event: response.completed\n"), "{stream}");
    let rest = other.get(&format!("{path}?stream=true&starting_after=4")).await.text().await;
    assert!(rest.contains("\"sequence_number\":5,") && !rest.contains("\"sequence_number\":4,"), "{rest}");
    let response = other.get(&path).await.json().await;
    assert_eq!(response["output"][0]["content"][0]["text"], "Hello");
    let items = other.get(&format!("{path}/input_items")).await.json().await;
    assert_eq!(items["data"][0]["content"][0]["text"], "Hello");

    let item = json!({"type": "item_reference", "id": response["output"][0]["id"]});
    let user = json!({"role": "user", "content": "Hello"});
    for body in [
        json!({"model": "m", "previous_response_id": response["id"], "input": "Go on"}),
        json!({"model": "m", "input": [user, item, {"role": "user", "content": "Go on"}]}),
    ] {
        let (_, messages) = tokio::join!(create(&other, &body), async {
            let mut call = deployment.upstream.call().await;
            call.ok().await;
            call.text("Yes").await;
            call.finish("stop").await;
            call.done().await;
            call.body["messages"].clone()
        });
        let said = json!([user, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Go on"}]);
        assert_eq!(messages, said);
    }

    let deleted = Answer::to(other.request(Method::DELETE, &path)).await;
    assert_eq!(deleted.json().await["deleted"], true);
    assert_eq!(one.get(&path).await.status, 404);
}

#[tokio::test]
async fn response_in_the_background_is_cancelled_on_another_replica() {
    let deployment = Deployment::new().await;
    let [one, other] = deployment.replicas().await;
    let (path, mut call) = begun(&deployment, &one).await;
    let cancelled = Answer::to(other.request(Method::POST, &format!("{path}/cancel"))).await.json().await;
    assert_eq!((&cancelled["status"], &cancelled["output"][0]["status"]), (&json!("cancelled"), &json!("incomplete")));
    call.closed().await;
    for service in [&one, &other] {
        assert_eq!(service.get(&path).await.json().await["status"], "cancelled");
        service.metric_becomes("tokenrill_generations_live", 0.0).await;
    }
}
