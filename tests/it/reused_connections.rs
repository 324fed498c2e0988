//! A connection to an upstream carries another request only after a response that was accepted and read to its end.

use std::time::Duration;

use serde_json::json;
use tokenrill::settings::Settings;

use crate::support::{Answer, Service, Upstream, case, text};

/// A whole response that the server sends late. A reused connection would deliver it to the next caller.
const LATE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 73\r\n\r\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"late\"},\"finish_reason\":\"stop\"}]}\n\n";

fn settings(upstream: &Upstream) -> Settings {
    let mut settings = Service::settings(&upstream.base_url());
    // Idle connections do not expire during the test.
    settings.upstreams[0].keepalive = Duration::from_hours(1);
    settings
}

#[tokio::test]
async fn late_bytes_after_an_unusable_response_do_not_reach_the_next_request() {
    let event = "data: {\"error\":{\"message\":\"no\"}}\n\n";
    let request = json!({"input": "x"});
    for response in [
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n".to_owned(),
        "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n".to_owned(),
        "HTTP/1.1 302 Found\r\ncontent-length: 2\r\n\r\nno".to_owned(),
        "HTTP/1.1 999 Unknown\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 999 Unknown\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\ndata: [DONE]\n\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{event}", event.len()),
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
    ] {
        let upstream = Upstream::start().await;
        let service = Service::with(settings(&upstream)).await;
        case(&response, async {
            let (refused, mut first) = tokio::join!(service.generate(&request), async {
                let mut call = upstream.call().await;
                call.raw(&response).await;
                call
            });
            assert_eq!(refused.events().await.last().expect("an event").name, "failed");
            let (answer, ()) = tokio::join!(service.generate(&request), async {
                let mut call = tokio::select! {
                    biased;
                    reused = first.arrived() => panic!("the connection was reused: {reused}"),
                    call = upstream.call() => call,
                };
                first.blurt(LATE).await;
                call.answer(&["own"]).await;
            });
            assert_eq!(text(&answer.events().await), "own");
        })
        .await;
    }
}

#[tokio::test]
async fn connection_is_reused_after_an_answer_and_after_an_error_with_a_body() {
    let request = json!({"input": "x"});
    let upstream = Upstream::start().await;
    let service = Service::with(settings(&upstream)).await;
    let (answer, mut call) = tokio::join!(service.generate(&request), async {
        let mut call = upstream.call().await;
        call.answer(&["one"]).await;
        call
    });
    assert_eq!(text(&answer.events().await), "one");
    let (refused, again) = tokio::join!(service.generate(&request), async {
        let mut again = call.next().await.expect("the same connection");
        again.refuse(429, "", "{\"error\":{}}").await;
        again
    });
    assert_eq!(refused.events().await.last().expect("an event").name, "failed");
    call = again;
    let whole = service.request(reqwest::Method::POST, "/v1/chat/completions");
    let whole =
        whole.header("content-type", "application/json").body(r#"{"messages":[{"role":"user","content":"x"}]}"#);
    let (answer, call) = tokio::join!(Answer::to(whole), async {
        let mut call = call.next().await.expect("the same connection");
        call.json(r#"{"choices":[{"message":{"content":"two"},"finish_reason":"stop"}]}"#).await;
        call
    });
    assert_eq!(answer.json().await["choices"][0]["message"]["content"], "two");
    let (answer, ()) = tokio::join!(service.generate(&request), async {
        call.next().await.expect("the same connection").answer(&["three"]).await;
    });
    assert_eq!(text(&answer.events().await), "three");
}
