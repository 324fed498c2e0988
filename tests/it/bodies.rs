//! The memory of request bodies: counted per caller, shared fairly, and freed.

use std::num::NonZeroU32;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokenrill::settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::{Answer, Service, Upstream, soon};

const MIB: usize = 1 << 20;
const BODY_BYTES: &str = "tokenrill_body_bytes";

/// Identifies a caller by the address that a trusted proxy states.
fn by_address(mut settings: Settings) -> Settings {
    settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    settings
}

/// Converts a byte count to a metric's value.
fn amount(bytes: usize) -> f64 {
    u32::try_from(bytes).expect("a few MiB").into()
}

/// The address of a caller.
fn caller(number: u8) -> String {
    format!("203.0.113.{number}")
}

/// Returns a valid request body of exactly `bytes` bytes.
fn padded(bytes: usize) -> String {
    let head = r#"{"input":"Hello","padding":""#;
    format!("{head}{}\"}}", "x".repeat(bytes - head.len() - 2))
}

fn client(is_http2: bool) -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy();
    let client = if is_http2 { client.http2_prior_knowledge() } else { client };
    client.build().expect("a client")
}

/// Sends a request whose last byte is withheld until the returned sender is used or dropped.
#[expect(clippy::disallowed_methods, reason = "the test waits for it or drops it")]
fn withheld(
    client: &reqwest::Client,
    service: &Service,
    number: u8,
    body: String,
) -> (oneshot::Sender<()>, JoinHandle<Result<Response, reqwest::Error>>) {
    let (release, released) = oneshot::channel::<()>();
    let length = body.len();
    let mut body = Bytes::from(body);
    let last = body.split_off(length - 1);
    let rest = stream::once(async move {
        _ = released.await;
        Ok::<_, std::io::Error>(last)
    });
    let body = reqwest::Body::wrap_stream(stream::iter([Ok(body)]).chain(rest));
    let request = client
        .post(format!("http://{}/v1/generations", service.address))
        .header(CONTENT_TYPE, "application/json")
        .header("content-length", length)
        .header("x-forwarded-for", caller(number))
        .body(body);
    (release, tokio::spawn(request.send()))
}

async fn code(response: Response) -> (StatusCode, Value) {
    let (status, retry_after) = (response.status(), response.headers().contains_key("retry-after"));
    let problem: Value = response.json().await.expect("a problem");
    assert!(retry_after, "{problem}");
    (status, problem["code"].clone())
}

#[tokio::test]
async fn unfinished_bodies_of_one_caller_give_way_to_a_body_of_another() {
    for is_http2 in [false, true] {
        let upstream = Upstream::start().await;
        let mut settings = by_address(Service::settings(&upstream.base_url()));
        settings.server.max_body = "1MiB".parse().expect("a size");
        settings.server.max_body_memory = "4MiB".parse().expect("a size");
        let service = Service::with(settings).await;
        let (attacker, other) = (client(is_http2), client(is_http2));

        let bodies: Vec<_> = (0..4).map(|_| withheld(&attacker, &service, 1, padded(MIB))).collect();
        service.metric_becomes(BODY_BYTES, amount(4 * MIB)).await;
        let (_release, fifth) = withheld(&attacker, &service, 1, padded(MIB));
        let refused = soon(fifth).await.expect("no panic").expect("a response");
        assert_eq!(code(refused).await, (StatusCode::SERVICE_UNAVAILABLE, json!("overloaded")), "HTTP/2: {is_http2}");

        let (release, admitted) = withheld(&other, &service, 2, padded(MIB));
        let (gave_way, others): (Vec<_>, Vec<_>) = {
            let mut responses = Vec::new();
            let mut kept = Vec::new();
            for (release, response) in bodies {
                kept.push(release);
                responses.push(response);
            }
            let (first, index, others) = soon(futures_util::future::select_all(responses)).await;
            kept.remove(index);
            (vec![first], others.into_iter().zip(kept).collect())
        };
        for response in gave_way {
            let response = response.expect("no panic").expect("a response");
            assert_eq!(code(response).await, (StatusCode::REQUEST_TIMEOUT, json!("request_timeout")));
        }
        release.send(()).expect("it waits");
        let mut call = upstream.call().await;
        assert_eq!(soon(admitted).await.expect("no panic").expect("a response").status(), 200);
        call.ok().await;
        for (response, release) in others {
            assert!(!response.is_finished(), "only one body is refused for a new one");
            drop(release);
            response.abort();
        }
        call.text("Hi").await;
        call.finish("stop").await;
        call.done().await;
        service.metric_becomes(BODY_BYTES, 0.0).await;
        service.metric_becomes("tokenrill_requests_in_flight", 0.0).await;
    }
}

#[tokio::test]
async fn body_in_one_byte_chunks_counts_at_most_twice_its_bytes() {
    const SENT: usize = 256 << 10;
    let service = Service::start().await;
    let mut socket = soon(TcpStream::connect(service.address)).await.expect("a connection");
    let head = "POST /v1/generations HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                transfer-encoding: chunked\r\n\r\n";
    soon(socket.write_all(head.as_bytes())).await.expect("sent");
    soon(socket.write_all("1\r\nx\r\n".repeat(SENT).as_bytes())).await.expect("sent");
    soon(async { while service.metric(BODY_BYTES).await < amount(SENT) {} }).await;
    let held = service.metric(BODY_BYTES).await;
    assert!(held <= amount(2 * SENT), "{held}");
    assert_eq!(service.metric("tokenrill_requests_in_flight").await.to_bits(), 1.0_f64.to_bits());
    drop(socket);
    service.metric_becomes(BODY_BYTES, 0.0).await;
}

#[tokio::test]
async fn a_request_that_waits_for_a_slot_holds_its_bytes_until_the_upstream_has_answered() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.limits.each.concurrent_generations = NonZeroU32::new(1);
    let service = Service::with(settings).await;
    // Parsed into a tree, this body would be thirty times as large.
    let body = format!(r#"{{"input":"Hello","vendor":[{}0]}}"#, "0,".repeat(MIB / 2));
    let request = || {
        let request = service.request(Method::POST, "/v1/generations").header(CONTENT_TYPE, "application/json");
        Answer::to(request.header(ACCEPT, "text/event-stream").body(body.clone()))
    };
    let running = request().await;
    let mut call = upstream.call().await;
    let waiting = [request().await, request().await];
    assert_eq!(service.metric(BODY_BYTES).await.to_bits(), amount(3 * body.len()).to_bits());
    call.ok().await;
    call.text("Hi").await;
    service.metric_becomes(BODY_BYTES, amount(2 * body.len())).await;
    drop((running, waiting));
}

#[tokio::test]
async fn above_the_rate_no_body_is_read() {
    let upstream = Upstream::start().await;
    let mut settings = by_address(Service::settings(&upstream.base_url()));
    settings.limits.each.requests_per_minute = NonZeroU32::new(2);
    let service = Service::with(settings).await;
    let request = async |number: u8, body: Option<&str>| {
        let mut socket = soon(TcpStream::connect(service.address)).await.expect("a connection");
        let length = body.map_or(MIB, str::len);
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\nexpect: 100-continue\r\n\r\n",
            caller(number)
        );
        soon(socket.write_all(head.as_bytes())).await.expect("sent");
        let mut said = Vec::new();
        if let Some(body) = body {
            soon(socket.write_all(body.as_bytes())).await.expect("sent");
            soon(async {
                while !String::from_utf8_lossy(&said).contains("\r\n\r\nHTTP/1.1 4") {
                    let read = socket.read_buf(&mut said).await.expect("an answer");
                    assert!(read > 0, "{}", String::from_utf8_lossy(&said));
                }
            })
            .await;
        } else {
            soon(async {
                while !said.ends_with(b"}") {
                    assert!(socket.read_buf(&mut said).await.expect("an answer") > 0);
                }
            })
            .await;
        }
        String::from_utf8(said).expect("UTF-8")
    };
    // A request that is refused for its body was read, and counts against the rate.
    for body in ["{", r#"{"messages":[]}"#] {
        let said = request(1, Some(body)).await;
        assert!(said.starts_with("HTTP/1.1 100 ") && said.contains("HTTP/1.1 400 "), "{said}");
    }
    let refused = request(1, None).await;
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("retry-after: "), "{refused}");
    let other = request(2, Some("{")).await;
    assert!(other.contains("HTTP/1.1 400 "), "another caller has its own rate: {other}");
}

#[tokio::test]
async fn repeat_of_a_known_key_is_admitted_above_the_rate() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.limits.each.requests_per_minute = NonZeroU32::new(1);
    let service = Service::with(settings).await;
    let request = || service.generation(&json!({"input": "Hello"})).header("idempotency-key", "one");
    let mut first = Answer::to(request()).await;
    first.expect("start").await;
    let again = Answer::to(request()).await;
    assert_eq!((again.status, again.header("tokenrill-attached")), (200, "existing"));
    let conflict = Answer::to(service.generation(&json!({"input": "Bye"})).header("idempotency-key", "one")).await;
    assert_eq!(conflict.status, 422);
    let new = Answer::to(service.generation(&json!({"input": "Hello"})).header("idempotency-key", "two")).await;
    assert_eq!(new.status, 429);
}

#[tokio::test]
async fn repeat_whose_key_is_released_meanwhile_counts_against_the_rate() {
    let upstream = Upstream::start().await;
    let mut settings = by_address(Service::settings(&upstream.base_url()));
    settings.limits.each.requests_per_minute = NonZeroU32::new(1);
    let service = Service::with(settings).await;
    let body = json!({"input": "Hello"}).to_string();
    let mut first = Answer::to(
        service
            .request(Method::POST, "/v1/generations")
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream")
            .header("x-forwarded-for", caller(1))
            .header("idempotency-key", "k")
            .body(body.clone()),
    )
    .await;
    let id = first.expect("start").await.generation().to_owned();
    let _call = upstream.call().await;
    let mut socket = soon(TcpStream::connect(service.address)).await.expect("a connection");
    let (begun, last) = body.split_at(body.len() - 1);
    let head = format!(
        "POST /v1/generations HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {}\r\nidempotency-key: k\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{begun}",
        caller(1),
        body.len()
    );
    soon(socket.write_all(head.as_bytes())).await.expect("sent");
    service.metric_becomes("tokenrill_requests_in_flight", 2.0).await;
    let erase = service.request(Method::DELETE, &format!("/v1/generations/{id}")).header("x-forwarded-for", caller(1));
    assert_eq!(Answer::to(erase).await.status, 204);
    soon(socket.write_all(last.as_bytes())).await.expect("sent");
    let mut said = vec![0; 12];
    soon(socket.read_exact(&mut said)).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&said), "HTTP/1.1 429");
    assert!(!upstream.was_called());
}

#[tokio::test]
async fn large_body_counts_against_the_request_rate_when_it_is_refused() {
    let upstream = Upstream::start().await;
    let mut settings = by_address(Service::settings(&upstream.base_url()));
    settings.limits.each.requests_per_minute = NonZeroU32::new(2);
    settings.limits.each.tokens_per_minute = NonZeroU32::new(1);
    let service = Service::with(settings).await;
    let ask = |body: String| {
        let request = service.request(Method::POST, "/v1/generations").header(CONTENT_TYPE, "application/json");
        Answer::to(request.header("x-forwarded-for", caller(1)).body(body))
    };
    // The first request takes all tokens of the rate. The others are refused for tokens, after their bodies were read.
    assert_eq!(ask(padded(1000)).await.status, 200);
    let refused = ask(padded(MIB)).await.json().await;
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("token")), "{refused}");
    let refused = ask(padded(MIB)).await.json().await;
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("generations per minute")), "{refused}");
}

#[tokio::test]
async fn large_ticket_and_publish_bodies_return_413() {
    let service = Service::start().await;
    let ticket = service.request(Method::POST, "/v1/tickets").header(CONTENT_TYPE, "application/json");
    assert_eq!(Answer::to(ticket.body(padded(MIB))).await.status, 413);
    let publish = service.request(Method::POST, "/v1/channels/a/events").header(CONTENT_TYPE, "application/json");
    let refused = Answer::to(publish.body(padded(MIB))).await;
    assert_eq!(refused.status, 413);
    let problem = refused.json().await;
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("channels.max_event")), "{problem}");
}
