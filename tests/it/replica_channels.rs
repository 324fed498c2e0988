//! Channels and connections over several replicas that share a Redis.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokenrill::settings::Settings;
use tokio::time::{sleep, timeout};

use crate::channels::{publish, subscribe};
use crate::support::redis_server::{RedisServer, unique_prefix};
use crate::support::{Answer, Event, Service, ServiceProcess, Upstream, soon, text, within};

/// How long the entry of a subscriber is kept after its replica is lost, and the time in which others notice.
const LEASE: Duration = Duration::from_secs(6 + 2);

fn settings(redis: &RedisServer, prefix: &str, base_url: Option<&str>) -> (Settings, BTreeMap<String, String>) {
    let mut settings = base_url.map(Service::settings).unwrap_or_default();
    let mut environment = BTreeMap::new();
    redis.serve(&mut settings, &mut environment, prefix);
    (settings, environment)
}

async fn replica(redis: &RedisServer, prefix: &str, base_url: Option<&str>) -> Service {
    let (settings, environment) = settings(redis, prefix, base_url);
    let service = Service::in_environment(settings, environment).await;
    soon(async { while service.get("/readyz").await.status != 200 {} }).await;
    service
}

/// Starts two replicas that share `redis`.
async fn replicas(redis: &RedisServer) -> [Service; 2] {
    let prefix = unique_prefix();
    [replica(redis, &prefix, None).await, replica(redis, &prefix, None).await]
}

fn subscription(service: &Service, query: &str) -> RequestBuilder {
    service.request(Method::GET, &format!("/v1/channels/room/events{query}")).header(ACCEPT, "text/event-stream")
}

/// Publishes without the assertion that it succeeds.
async fn try_publish(service: &Service, data: u64) -> (u16, Value) {
    let request = service.request(Method::POST, "/v1/channels/room/events").header(CONTENT_TYPE, "application/json");
    let answer = Answer::to(request.body(json!({"data": data}).to_string())).await;
    (answer.status, answer.json().await["code"].clone())
}

async fn next(stream: &mut Answer) -> Event {
    soon(stream.next()).await.expect("the stream goes on")
}

fn connection(connected: &Event) -> String {
    connected.data["connection"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn events_reach_the_subscribers_of_all_replicas_in_one_order_and_can_be_resumed_on_any() {
    let [one, other] = replicas(RedisServer::shared()).await;
    let (mut here, _) = subscribe(subscription(&one, "")).await;
    let (mut there, _) = subscribe(subscription(&other, "")).await;
    let mut published = Vec::new();
    for data in 0..20 {
        let service = if data % 3 == 0 { &other } else { &one };
        published.push((publish(service, "room", &json!({"data": data})).await, json!(data)));
    }
    for stream in [&mut here, &mut there] {
        for (id, data) in &published {
            let event = next(stream).await;
            assert_eq!((&event.id, &event.data), (id, data));
        }
    }
    let (mut late, _) = subscribe(subscription(&other, "?history=5")).await;
    assert_eq!(next(&mut late).await.data, 15);
    for service in [&one, &other] {
        let id = published[9].0.as_deref().expect("it is kept");
        let (mut resumed, connected) = subscribe(subscription(service, "").header("Last-Event-ID", id)).await;
        assert_eq!(connected.id.as_deref(), Some(id));
        for (id, data) in &published[10..] {
            let event = next(&mut resumed).await;
            assert_eq!((&event.id, &event.data), (id, data));
        }
        let about = service.get("/v1/channels/room").await.json().await;
        assert_eq!(about["history"]["events"], 20);
        assert_eq!(
            Some(about["last_sequence"].to_string()),
            published[19].0.as_ref().map(|id| id["room.".len()..].to_owned())
        );
    }
}

#[tokio::test]
async fn presence_and_addressed_events_span_all_replicas() {
    let [one, other] = replicas(RedisServer::shared()).await;
    let (mut here, first) = subscribe(subscription(&one, "?presence=true")).await;
    let (mut there, second) = subscribe(subscription(&other, "?presence=true")).await;
    assert_eq!(second.data["subscribers"], 2);
    let present: Vec<_> =
        second.data["present"].as_array().expect("a list").iter().map(|who| &who["connection"]).collect();
    assert_eq!(present, [&first.data["connection"], &second.data["connection"]]);
    let joined = here.expect("joined").await;
    assert_eq!((&joined.data["connection"], &joined.data["subscribers"]), (&second.data["connection"], &json!(2)));
    let to = json!({"connection": connection(&first)});
    publish(&other, "room", &json!({"data": "for the first", "to": to})).await;
    publish(&other, "room", &json!({"data": "for all"})).await;
    assert_eq!(next(&mut here).await.data, "for the first");
    assert_eq!(next(&mut here).await.data, "for all");
    assert_eq!(next(&mut there).await.data, "for all");
    drop(here);
    let left = there.expect("left").await;
    assert_eq!((&left.data["connection"], &left.data["subscribers"]), (&first.data["connection"], &json!(1)));
    let gone = Answer::to(
        other
            .request(Method::POST, "/v1/channels/room/events")
            .header(CONTENT_TYPE, "application/json")
            .body(json!({"data": 1, "to": to}).to_string()),
    );
    assert_eq!(gone.await.status, 404);
    let about = one.get("/v1/channels/room").await.json().await;
    assert_eq!((&about["subscribers"], &about["present"][0]["connection"]), (&json!(1), &second.data["connection"]));
}

#[tokio::test]
async fn subscribers_of_a_killed_replica_leave_once_within_the_lease() {
    let (redis, prefix) = (RedisServer::shared(), unique_prefix());
    let [one, other] = [replica(redis, &prefix, None).await, replica(redis, &prefix, None).await];
    let (mut settings, environment) = settings(redis, &prefix, None);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("channels-{}-{prefix}", std::process::id()));
    fs::write(&file, environment.values().next().expect("an address")).expect("written");
    settings.event_log.redis.url_env = None;
    settings.event_log.redis.url_file = Some(file.clone());
    let killed = ServiceProcess::start(&settings).await;
    let (mut here, _) = subscribe(subscription(&one, "?presence=true")).await;
    let (mut there, _) = subscribe(subscription(&other, "?presence=true")).await;
    here.expect("joined").await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let events = http.get(format!("http://{}/v1/channels/room/events", killed.address));
    let (lost, connected) = subscribe(events.header(ACCEPT, "text/event-stream")).await;
    for stream in [&mut here, &mut there] {
        assert_eq!(stream.expect("joined").await.data["connection"], connected.data["connection"]);
    }
    let since = Instant::now();
    killed.kill().await;
    drop(lost);
    for stream in [&mut here, &mut there] {
        let left = stream.expect("left").await;
        assert_eq!((&left.data["connection"], &left.data["subscribers"]), (&connected.data["connection"], &json!(2)));
    }
    assert!(since.elapsed() < LEASE + Duration::from_secs(2), "{:?}", since.elapsed());
    // Longer than two refreshes, in real time.
    assert!(timeout(Duration::from_millis(4500), here.next()).await.is_err(), "it leaves once");
    fs::remove_file(file).expect("it is there");
}

#[tokio::test]
async fn answer_in_a_channel_is_received_and_kept_on_the_other_replica() {
    let (redis, prefix, upstream) = (RedisServer::shared(), unique_prefix(), Upstream::start().await);
    let base_url = upstream.base_url();
    let [one, other] = [replica(redis, &prefix, Some(&base_url)).await, replica(redis, &prefix, Some(&base_url)).await];
    let (mut live, _) = subscribe(subscription(&other, "")).await;
    let mut viewer = one.generate(&json!({"input": "Hello", "channel": "room"})).await;
    let id = viewer.expect("start").await.generation().to_owned();
    let mut call = soon(upstream.call()).await;
    call.ok().await;
    call.text("Hel").await;
    live.expect("start").await;
    assert_eq!(live.expect("delta").await.data, json!({"generation": id, "text": "Hel"}));
    let (mut late, _) = subscribe(subscription(&other, "?history=1")).await;
    call.text("lo").await;
    call.finish("stop").await;
    call.done().await;
    let mut whole = Vec::new();
    while whole.last().is_none_or(|event: &Event| event.name != "done") {
        whole.push(next(&mut late).await);
    }
    assert_eq!(text(&whole), "Hello");
    live.expect("delta").await;
    live.expect("done").await;
    let (mut again, _) = subscribe(subscription(&other, "?history=1")).await;
    for event in &whole {
        assert_eq!(next(&mut again).await.block, event.block);
    }
}

async fn close(service: &Service, id: &str) -> (u16, Value) {
    let answer = Answer::to(service.request(Method::DELETE, &format!("/v1/connections/{id}"))).await;
    let status = answer.status;
    if status == 204 { (status, Value::Null) } else { (status, answer.json().await["code"].clone()) }
}

#[tokio::test]
async fn connection_is_closed_through_another_replica_and_an_unknown_one_is_not_found() {
    let redis = RedisServer::start();
    let [one, other] = replicas(&redis).await;
    let (stream, connected) = subscribe(subscription(&one, "")).await;
    let (mut kept, _) = subscribe(subscription(&one, "")).await;
    assert_eq!(other.get("/v1/connections").await.json().await["total"], 0, "the list is that of one replica");
    assert_eq!(close(&other, &connection(&connected)).await, (204, Value::Null));
    assert!(soon(stream.into_body().bytes()).await.is_err(), "an unclean end, so that the client reconnects");
    let since = Instant::now();
    assert_eq!(close(&other, &connection(&connected)).await, (404, json!("connection_not_found")));
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    publish(&other, "room", &json!({"data": 1})).await;
    assert_eq!(next(&mut kept).await.data, 1);
    redis.pause();
    let refused = within(Duration::from_secs(5), close(&other, &connection(&connected))).await;
    assert_eq!(refused, (503, json!("event_log_unavailable")));
    redis.resume();
}

#[tokio::test]
async fn subscribers_stay_and_miss_nothing_while_redis_is_silent() {
    let redis = RedisServer::start();
    let [one, other] = replicas(&redis).await;
    let (mut here, _) = subscribe(subscription(&one, "?presence=true")).await;
    let (mut there, _) = subscribe(subscription(&other, "?presence=true")).await;
    here.expect("joined").await;
    publish(&one, "room", &json!({"data": 1})).await;
    redis.pause();
    let since = Instant::now();
    let refused = within(Duration::from_secs(5), try_publish(&one, 2)).await;
    assert_eq!(refused, (503, json!("event_log_unavailable")));
    for path in ["/v1/channels/room/events", "/v1/channels/room"] {
        let request = other.request(Method::GET, path).header(ACCEPT, "application/json");
        let answer = within(Duration::from_secs(8), Answer::to(request)).await;
        assert_eq!((answer.status, answer.json().await["code"].clone()), (503, json!("event_log_unavailable")));
    }
    let (mut clock, _) =
        subscribe(one.request(Method::GET, "/v1/channels/system.time/events").header(ACCEPT, "text/event-stream"))
            .await;
    clock.expect("server-time").await;
    // Redis is silent for two seconds at least, in real time.
    sleep(Duration::from_secs(2).saturating_sub(since.elapsed())).await;
    redis.resume();
    publish(&other, "room", &json!({"data": 3})).await;
    // The event that was refused may have been published: the caller was told that it is not known.
    for stream in [&mut here, &mut there] {
        let mut seen = Vec::new();
        while seen.last() != Some(&json!(3)) {
            let event = next(stream).await;
            assert!(!matches!(event.name.as_str(), "gap" | "error"), "{event:?}");
            if event.name == "message" || event.name.is_empty() {
                seen.push(event.data);
            }
        }
        seen.retain(|data| *data != 2);
        assert_eq!(seen, [1, 3]);
    }
}
