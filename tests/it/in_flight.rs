//! Every request in flight counts as a connection of its caller.

use std::num::NonZeroU32;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::{Answer, Event, Service, Upstream, soon};

fn by_address(mut settings: Settings) -> Settings {
    settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    settings
}

/// A caller, known by its address; each request opens a connection of its own.
struct Client<'a> {
    service: &'a Service,
    address: String,
}

impl Client<'_> {
    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        client
            .request(method, format!("http://{}{path}", self.service.address))
            .header("x-forwarded-for", &self.address)
            .header("content-type", "application/json")
    }

    /// Follows a new generation.
    async fn stream(&self) -> Answer {
        let request = self.request(Method::POST, "/v1/generations").header("accept", "text/event-stream");
        Answer::to(request.body(json!({"input": "Hello"}).to_string())).await
    }

    async fn poll(&self, id: &str, wait: &str) -> Answer {
        Answer::to(self.request(Method::GET, &format!("/v1/generations/{id}?wait={wait}"))).await
    }

    async fn unfinished_body(&self) -> TcpStream {
        let mut socket = soon(TcpStream::connect(self.service.address)).await.expect("a connection");
        let head = format!(
            "POST /v1/generations HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {}\r\n\
             content-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
            self.address
        );
        soon(socket.write_all(head.as_bytes())).await.expect("sent");
        socket
    }
}

fn client<'a>(service: &'a Service, address: &str) -> Client<'a> {
    Client { service, address: address.to_owned() }
}

async fn in_flight(service: &Service, count: u32) {
    service.metric_becomes("tokenrill_requests_in_flight", count.into()).await;
}

/// Polls the state for a minute, in a task of its own.
#[expect(clippy::disallowed_methods, reason = "the test waits for it or aborts it")]
fn poll_beside(client: &Client<'_>, id: &str) -> JoinHandle<reqwest::Result<reqwest::Response>> {
    tokio::spawn(client.request(Method::GET, &format!("/v1/generations/{id}?after=1&wait=60s")).send())
}

async fn kinds(service: &Service) -> Vec<String> {
    let list = service.get("/v1/connections").await.json().await;
    let kinds = list["data"].as_array().expect("a list").iter().rev();
    kinds.map(|one| one["kind"].as_str().expect("a kind").to_owned()).collect()
}

#[tokio::test]
async fn streams_waits_and_unfinished_bodies_count_against_one_limit() {
    let upstream = Upstream::start().await;
    let mut settings = by_address(Service::settings(&upstream.base_url()));
    settings.limits.each.connections = NonZeroU32::new(3);
    let service = Service::with(settings).await;
    let (one, other) = (client(&service, "203.0.113.1"), client(&service, "203.0.113.2"));

    let mut viewer = one.stream().await;
    let id = viewer.expect("start").await.generation().to_owned();
    let _call = upstream.call().await;
    let _body = one.unfinished_body().await;
    in_flight(&service, 2).await;
    let waiting = poll_beside(&one, &id);
    in_flight(&service, 3).await;
    assert_eq!(kinds(&service).await, ["event_stream", "request_body", "wait"]);

    let refused = one.poll(&id, "1s").await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.json().await["code"], "too_many_connections");
    let mut body = one.unfinished_body().await;
    let mut said = vec![0; 12];
    soon(body.read_exact(&mut said)).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&said), "HTTP/1.1 429");
    assert_eq!(one.stream().await.status, 429);
    // A request with an immediate response does not count.
    assert_eq!(one.poll(&id, "0s").await.status, 200);

    assert_eq!(other.stream().await.status, 200, "another caller has its own limit");
    waiting.abort();
}

#[tokio::test]
async fn a_caller_below_its_share_is_admitted_and_the_one_with_most_gives_way_in_order() {
    let upstream = Upstream::start().await;
    let mut settings = by_address(Service::settings(&upstream.base_url()));
    settings.limits.connections_total = NonZeroU32::new(5);
    settings.generation.grace = Duration::from_secs(30);
    let service = Service::with(settings).await;
    let one = client(&service, "203.0.113.1");
    let mut viewers = Vec::new();
    let mut calls = Vec::new();
    for _ in 0..3 {
        let mut viewer = one.stream().await;
        let id = viewer.expect("start").await.generation().to_owned();
        calls.push(upstream.call().await);
        viewers.push((viewer, id));
    }
    let mut body = one.unfinished_body().await;
    in_flight(&service, 4).await;
    let id = viewers[0].1.clone();
    let waiting = poll_beside(&one, &id);
    in_flight(&service, 5).await;
    assert_eq!(one.stream().await.status, 503, "a caller above its share is refused");

    // An unfinished body gives way first.
    let two = client(&service, "203.0.113.2");
    let mut second = two.stream().await;
    assert_eq!(second.status, 200);
    second.expect("start").await;
    let mut said = vec![0; 12];
    soon(body.read_exact(&mut said)).await.expect("an answer");
    assert_eq!(String::from_utf8_lossy(&said), "HTTP/1.1 408");

    // Then a wait, which receives the state so far.
    let third = two.stream().await;
    assert_eq!(third.status, 200);
    let state: Value = soon(waiting).await.expect("no panic").expect("a response").json().await.expect("a state");
    assert_eq!((&state["status"], &state["id"]), (&json!("running"), &json!(id)));

    // Then the newest stream with ids, whose client resumes it.
    let three = client(&service, "203.0.113.3");
    let fourth = three.stream().await;
    assert_eq!(fourth.status, 200);
    let (newest, _) = viewers.pop().expect("three");
    let mut broken = newest.into_body();
    let mut last = Vec::new();
    let end = soon(async {
        loop {
            match broken.chunk().await {
                Ok(Some(bytes)) => last.extend_from_slice(&bytes),
                end => break end,
            }
        }
    });
    assert!(end.await.is_err(), "an unclean end");
    assert!(String::from_utf8_lossy(&last).contains("retry: 5000\n"), "{}", String::from_utf8_lossy(&last));
    in_flight(&service, 5).await;
    drop((viewers, second, third, fourth));
}

#[tokio::test]
async fn a_resuming_client_above_its_limit_replaces_its_own_oldest_stream() {
    let upstream = Upstream::start().await;
    let mut settings = by_address(Service::settings(&upstream.base_url()));
    settings.limits.each.connections = NonZeroU32::new(2);
    let service = Service::with(settings).await;
    let one = client(&service, "203.0.113.1");
    let keyed = |key: &str| {
        let request = one.request(Method::POST, "/v1/generations").header("accept", "text/event-stream");
        Answer::to(request.header("idempotency-key", key).body(json!({"input": "Hello"}).to_string()))
    };
    let oldest = keyed("one").await;
    let mut newer = keyed("two").await;
    assert_eq!(keyed("three").await.status, 429);
    let mut again = keyed("two").await;
    assert_eq!((again.status, again.header("tokenrill-attached")), (200, "existing"));
    for viewer in [&mut newer, &mut again] {
        let start: Event = viewer.expect("start").await;
        assert!(start.id.is_some());
    }
    assert!(soon(oldest.into_body().bytes()).await.is_err());
    in_flight(&service, 2).await;
}
