//! Channels: every subscriber receives each published event once and in order, or a `gap` that states what is missing.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokenrill::auth::NewKey;
use tokenrill::settings::{ApiKeySettings, JwtSettings, Quota, Settings, Size};
use tower::ServiceExt;

use crate::support::issuer::{SECRET, claims, hs256, trusting};
use crate::support::{Answer, Event, Service, Upstream, in_process, soon, tests_use_redis, text};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

fn events_path(channel: &str, query: &str) -> String {
    format!("/v1/channels/{channel}/events{query}")
}

fn publishing(service: &Service, channel: &str, event: &Value) -> RequestBuilder {
    service
        .request(Method::POST, &events_path(channel, ""))
        .header(CONTENT_TYPE, "application/json")
        .body(event.to_string())
}

/// Asserts that an event has the next number. In Redis, numbers follow the clock, so there it has any greater one.
#[track_caller]
fn assert_follows(sequence: u64, before: u64) {
    if tests_use_redis() {
        assert!(sequence > before, "{sequence} after {before}");
    } else {
        assert_eq!(sequence, before + 1);
    }
}

/// Publishes an event and returns its id.
pub async fn publish(service: &Service, channel: &str, event: &Value) -> Option<String> {
    let answer = Answer::to(publishing(service, channel, event)).await;
    assert_eq!(answer.status, 200, "{event}");
    answer.json().await["id"].as_str().map(str::to_owned)
}

/// Subscribes; returns the stream and its `connected` event.
pub async fn subscribe(request: RequestBuilder) -> (Answer, Event) {
    let mut answer = Answer::to(request).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/event-stream"));
    let connected = answer.expect("connected").await;
    (answer, connected)
}

fn subscription(service: &Service, channel: &str, query: &str) -> RequestBuilder {
    service.request(Method::GET, &events_path(channel, query)).header(ACCEPT, "text/event-stream")
}

async fn refused(request: RequestBuilder) -> (u16, Value) {
    let answer = Answer::to(request.header(ACCEPT, "application/json")).await;
    (answer.status, answer.json().await["code"].clone())
}

#[tokio::test]
async fn published_events_arrive_byte_for_byte_with_name_and_id() {
    let service = Service::start().await;
    let (mut stream, connected) = subscribe(subscription(&service, "room-1", "")).await;
    assert_eq!((stream.header("cache-control"), stream.header("x-accel-buffering")), ("no-cache, no-transform", "no"));
    assert!(stream.headers.get("tokenrill-generation").is_none());
    let connection = connected.data["connection"].as_str().expect("an id");
    let id = connected.id.clone().expect("an id");
    assert_eq!(
        connected.block,
        format!(
            "event: connected\ndata: {{\"channel\":\"room-1\",\"connection\":\"{connection}\",\"subscribers\":1}}\n\
             retry: 1000\nid: {id}\n\n"
        )
    );
    let next = |by: u64| format!("room-1.{}", connected.sequence() + by);
    let mut last = connected.sequence();
    let post = |body: &'static str| {
        let post = service.request(Method::POST, "/v1/channels/room-1/events");
        Answer::to(post.header(CONTENT_TYPE, "application/json").body(body))
    };
    for (at, (body, block)) in [
        (r#"{"data":"hi"}"#, "data: \"hi\"\n"),
        (
            r#"{"event":"said","data":{ "a" : [1,2.50,123456789012345678901234567890] }}"#,
            "event: said\ndata: { \"a\" : [1,2.50,123456789012345678901234567890] }\n",
        ),
        ("{\"data\":{\n\t\"line\":\"a\\nb\u{2028}\"\n}}", "data: { \t\"line\":\"a\\nb\\u2028\" }\n"),
        (r#"{"data":null}"#, "data: null\n"),
        (r#"{"data":"aGVsbG8=","encoding":"base64"}"#, "data: {\"encoding\":\"base64\",\"data\":\"aGVsbG8=\"}\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = post(body).await;
        assert_eq!(answer.status, 200, "{body}");
        let event = stream.next().await.expect("it comes");
        let id = if tests_use_redis() { event.id.clone().expect("an id") } else { next(at as u64 + 1) };
        assert_eq!(answer.json().await, json!({"id": id}));
        assert_follows(event.sequence(), last);
        last = event.sequence();
        assert_eq!(event.block, format!("{block}id: {id}\n\n"));
    }
    assert_eq!(post(r#"{"event":"typing","data":1,"ephemeral":true}"#).await.json().await, json!({}));
    assert_eq!(stream.next().await.expect("it comes").block, "event: typing\ndata: 1\n\n");
}

#[tokio::test]
async fn resuming_subscriber_misses_nothing_and_a_new_one_gets_the_history() {
    let service = Service::start().await;
    let (stream, connected) = subscribe(subscription(&service, "a", "")).await;
    let mut ids = vec![connected.id.expect("an id")];
    for at in 0..5 {
        ids.extend(publish(&service, "a", &json!({"data": at})).await);
        publish(&service, "a", &json!({"data": "typing", "ephemeral": true})).await;
    }
    // Dropped only now: a channel without events and subscribers is removed at once, with its position.
    drop(stream);
    for (at, id) in ids.iter().enumerate() {
        let request = subscription(&service, "a", "?history=1").header(LAST_EVENT_ID, id);
        let (mut stream, connected) = subscribe(request).await;
        assert_eq!(connected.id.as_ref(), Some(id), "the stream continues after that position");
        for missed in at..5 {
            assert_eq!(stream.next().await.expect("it was kept").data, json!(missed));
        }
        publish(&service, "a", &json!({"data": "live", "ephemeral": true})).await;
        assert_eq!(stream.next().await.expect("it comes").data, "live");
    }
    for (query, first) in [("?history=2", 3), ("?history=100", 0), ("?history=99999", 0)] {
        let (mut stream, _) = subscribe(subscription(&service, "a", query)).await;
        assert_eq!(stream.next().await.expect("it was kept").data, json!(first), "{query}");
    }
    let after = ids[3].rsplit_once('.').expect("an id").1;
    let (mut stream, _) = subscribe(subscription(&service, "a", &format!("?after={after}"))).await;
    assert_eq!(stream.next().await.expect("it was kept").data, 3);
}

#[tokio::test]
async fn resume_before_the_kept_history_returns_a_gap() {
    let mut settings = Settings::default();
    settings.channels.max_bytes = Size::kib(4);
    let service = Service::with(settings).await;
    let (_, connected) = subscribe(subscription(&service, "a", "")).await;
    let old = format!("a.{}", connected.sequence() - 5_000_000);
    for at in 0..20 {
        publish(&service, "a", &json!({"data": format!("{at}{}", "x".repeat(500))})).await;
    }
    for (id, from) in
        [(connected.id.as_deref().expect("an id"), connected.sequence() + 1), (&old, connected.sequence() - 4_999_999)]
    {
        let (mut stream, _) = subscribe(subscription(&service, "a", "").header(LAST_EVENT_ID, id)).await;
        let gap = stream.expect("gap").await;
        assert_eq!(gap.data, json!({"from": from, "to": gap.sequence()}));
        let next = stream.next().await.expect("the rest");
        assert_follows(next.sequence(), gap.sequence());
    }
    // An id that this log never had: a removed log of the channel can have issued it, if the clock was set back since.
    let beyond = format!("a.{}", connected.sequence() + 1_000_000);
    let (mut stream, _) = subscribe(subscription(&service, "a", "").header(LAST_EVENT_ID, beyond)).await;
    stream.expect("gap").await;
    assert!(stream.next().await.expect("the rest").data.as_str().expect("a text").contains("xxx"));
}

#[tokio::test]
async fn a_long_answer_is_history_and_a_subscriber_that_begins_in_its_middle_gets_a_gap() {
    let mut settings = Settings::default();
    settings.channels.max_bytes = Size::kib(64);
    let service = Service::with(settings).await;
    let body = json!({"input": "Hello", "model": "demo?tokens=3000&rate=max", "channel": "a"});
    let events = service.generate(&body).await.events().await;
    assert_eq!(events.last().map(|event| event.name.as_str()), Some("done"));
    let look = async || service.get("/v1/channels/a").await.json().await;
    soon(async { while look().await["last_sequence"].is_null() {} }).await;
    let history = || async { look().await["history"].clone() };
    soon(async {
        // Wait until the whole answer is in the channel.
        let mut stream = subscribe(subscription(&service, "a", "?history=1")).await.0;
        while stream.next().await.expect("the answer").name != "done" {}
    })
    .await;
    let history = history().await;
    assert_eq!(history["events"], 1, "{history}");
    assert!(history["bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{history}");

    let (mut stream, connected) = subscribe(subscription(&service, "a", "?history=1")).await;
    let gap = stream.expect("gap").await;
    assert_eq!(gap.data["to"], history["after"], "{history}");
    assert!(gap.data["from"].as_u64() < gap.data["to"].as_u64());
    assert_eq!(gap.id, connected.id);
    let first = stream.expect("delta").await;
    assert_eq!(first.sequence(), gap.sequence() + 1);
    let page = service.request(Method::GET, &events_path("a", "?history=1")).header(ACCEPT, "application/json");
    assert_eq!(Answer::to(page).await.json().await["gap"], gap.data);
    // A resume after the gap's id has no gap.
    let (mut again, _) = subscribe(subscription(&service, "a", "").header(LAST_EVENT_ID, gap.id.expect("an id"))).await;
    assert_eq!(again.expect("delta").await.id, first.id);
}

#[tokio::test]
async fn addressed_event_reaches_only_its_recipient() {
    let (service, keys) = Service::guarded(
        Settings::default(),
        &[("ada", &["subscribe:*", "publish:*"]), ("bob", &["subscribe:*"]), ("eve", &["subscribe:*"])],
    )
    .await;
    let as_ = |name: &str, request: RequestBuilder| request.bearer_auth(&keys[name]);
    let mut streams = Vec::new();
    for name in ["ada", "bob", "bob", "eve"] {
        streams.push(subscribe(as_(name, subscription(&service, "a", ""))).await);
    }
    let publish = async |event: Value| Answer::to(as_("ada", publishing(&service, "a", &event))).await.status;
    let connection = streams[1].1.data["connection"].clone();
    assert_eq!(publish(json!({"data": "for one stream", "to": {"connection": connection}})).await, 200);
    assert_eq!(publish(json!({"data": "for bob", "to": {"principal": "bob"}})).await, 200);
    assert_eq!(
        publish(json!({"data": "for a token's subject", "to": {"principal": "bob", "issuer": "https://id"}})).await,
        200
    );
    assert_eq!(publish(json!({"data": "for all"})).await, 200);
    for (at, expected) in
        [&["for all"][..], &["for one stream", "for bob", "for all"], &["for bob", "for all"], &["for all"]]
            .into_iter()
            .enumerate()
    {
        for data in expected {
            assert_eq!(streams[at].0.next().await.expect("it comes").data, *data, "stream {at}");
        }
    }
    // The history is filtered too: events for bob are replayed only to bob.
    let (mut bob, _) = subscribe(as_("bob", subscription(&service, "a", "?history=10"))).await;
    assert_eq!(bob.next().await.expect("it was kept").data, "for bob");
    let (mut eve, _) = subscribe(as_("eve", subscription(&service, "a", "?history=10"))).await;
    assert_eq!(eve.next().await.expect("it was kept").data, "for all");
    drop(streams);
    soon(async {
        let look = || as_("ada", service.request(Method::GET, "/v1/channels/a"));
        while Answer::to(look()).await.json().await["subscribers"] != 2 {}
    })
    .await;
    let gone = json!({"data": 1, "to": {"connection": connection}});
    let answer = Answer::to(as_("ada", publishing(&service, "a", &gone))).await;
    assert_eq!((answer.status, answer.json().await["code"].clone()), (404, json!("connection_not_found")));
}

#[tokio::test]
async fn presence_subscribers_receive_joined_and_left() {
    let service = Service::start().await;
    let (mut first, connected) = subscribe(subscription(&service, "a", "?presence=true")).await;
    let present = |event: &Event| -> Vec<Value> {
        event.data["present"].as_array().expect("a list").iter().map(|who| who["connection"].clone()).collect()
    };
    let own = connected.data["connection"].clone();
    assert_eq!(present(&connected), std::slice::from_ref(&own));
    let (mut second, other) = subscribe(subscription(&service, "a", "?presence=true")).await;
    assert_eq!(present(&other), [own, other.data["connection"].clone()]);
    let (third, silent) = subscribe(subscription(&service, "a", "")).await;
    assert!(silent.data.get("present").is_none() && silent.data["subscribers"] == 3);
    for (who, subscribers) in [(&other, 2), (&silent, 3)] {
        let joined = first.expect("joined").await;
        assert_eq!(
            (&joined.data["connection"], &joined.data["subscribers"]),
            (&who.data["connection"], &json!(subscribers))
        );
        assert_eq!(joined.id, None);
    }
    second.expect("joined").await;
    // A long poll sends no `joined` and no `left`.
    let page = service.request(Method::GET, &events_path("a", "?wait=10ms")).header(ACCEPT, "application/json");
    assert_eq!(Answer::to(page).await.json().await["events"], json!([]));
    drop(third);
    for stream in [&mut first, &mut second] {
        let left = stream.expect("left").await;
        assert_eq!((&left.data["connection"], &left.data["subscribers"]), (&silent.data["connection"], &json!(2)));
    }
    let about = service.get("/v1/channels/a").await.json().await;
    assert_eq!((&about["subscribers"], about["present"].as_array().map(Vec::len)), (&json!(2), Some(2)));
    drop((first, second));
    service.metric_becomes("tokenrill_subscribers_live", 0.0).await;
    let about = service.get("/v1/channels/a").await.json().await;
    assert_eq!(
        (&about["subscribers"], &about["present"], &about["history"]["events"]),
        (&json!(0), &json!([]), &json!(0))
    );
}

#[tokio::test]
async fn polling_client_misses_nothing() {
    let service = Service::start().await;
    let poll = async |query: &str| {
        let request = service.request(Method::GET, &events_path("a", query)).header(ACCEPT, "application/json");
        let answer = Answer::to(request).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        answer.json().await
    };
    let mut last = poll("").await["last_sequence"].as_u64().expect("a number");
    let first = publish(&service, "a", &json!({"event": "said", "data": {"text": "1"}})).await;
    let page = poll(&format!("?after={last}&wait=10s")).await;
    assert_eq!(page["events"], json!([{"id": first, "event": "said", "data": {"text": "1"}}]));
    last = page["last_sequence"].as_u64().expect("a number");
    // The poll waits for the next event; an event for another principal does not end the wait.
    let query = format!("?after={last}&wait=10s");
    let (page, ()) = tokio::join!(poll(&query), async {
        service.metric_becomes("tokenrill_subscribers_live", 1.0).await;
        publish(&service, "a", &json!({"data": "another's", "to": {"principal": "bob"}})).await;
        publish(&service, "a", &json!({"data": 2, "ephemeral": true})).await;
    });
    assert_eq!(page["events"], json!([{"data": 2}]));
    last = page["last_sequence"].as_u64().expect("a number");
    let page = poll(&format!("?after={last}&wait=5ms")).await;
    assert_eq!((&page["events"], page["last_sequence"].as_u64()), (&json!([]), Some(last)));
    assert_eq!(poll("?history=5").await["events"].as_array().map(Vec::len), Some(1));
    let page = poll("?after=1").await;
    assert_eq!(page["gap"]["from"], 2);
    service.metric_becomes("tokenrill_subscribers_live", 0.0).await;
}

#[tokio::test]
async fn generation_with_a_channel_reaches_the_subscribers() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (mut early, _) = subscribe(subscription(&service, "room-1", "")).await;
    let body = json!({"input": "Hello", "channel": "room-1"});
    let mut viewer = service.generate(&body).await;
    let id = viewer.expect("start").await.generation().to_owned();
    let mut call = soon(upstream.call()).await;
    assert!(call.body.get("channel").is_none(), "the field is not forwarded to the provider");
    call.ok().await;
    call.text("Hel").await;
    assert_eq!(early.expect("start").await.data["generation"], json!(id));
    assert_eq!(early.expect("delta").await.data, json!({"generation": id, "text": "Hel"}));
    let (mut late, _) = subscribe(subscription(&service, "room-1", "?history=1")).await;
    late.expect("start").await;
    assert_eq!(late.expect("delta").await.data["text"], "Hel");
    call.text("lo").await;
    call.finish("stop").await;
    call.done().await;
    for stream in [&mut early, &mut late] {
        assert_eq!(stream.expect("delta").await.data, json!({"generation": id, "text": "lo"}));
        let done = stream.expect("done").await;
        assert_eq!(
            (&done.data["generation"], &done.data["finish_reason"], done.retry),
            (&json!(id), &json!("stop"), None)
        );
        // The channel stays open after the generation's terminal event.
        publish(&service, "room-1", &json!({"event": "said", "data": "thanks", "ephemeral": true})).await;
        stream.expect("said").await;
    }
    // A viewer receives the same text.
    assert_eq!(text(&viewer.events().await), "Hello");
    let (mut again, _) = subscribe(subscription(&service, "room-1", "?history=1")).await;
    let mut replayed = Vec::new();
    while replayed.last().is_none_or(|event: &Event| event.name != "done") {
        replayed.push(again.next().await.expect("it was kept"));
    }
    assert_eq!((text(&replayed), replayed.len()), ("Hello".to_owned(), 4));
}

#[tokio::test]
async fn subscriber_is_no_viewer_and_a_repeat_is_delivered_once() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (mut room, _) = subscribe(subscription(&service, "a", "")).await;
    let body = json!({"input": "Hello", "channel": "a", "grace_ms": 0});
    let post = || service.generation(&body).header("idempotency-key", "k").header(ACCEPT, "text/event-stream");
    let mut viewer = Answer::to(post()).await;
    viewer.expect("start").await;
    let mut again = Answer::to(post()).await;
    again.expect("start").await;
    let _call = soon(upstream.call()).await;
    drop((viewer, again));
    room.expect("start").await;
    let cancelled = room.expect("cancelled").await;
    assert_eq!(cancelled.data["reason"], "abandoned", "subscribers of the channel do not count as viewers");
}

#[tokio::test]
async fn scopes_and_tickets_apply_to_each_channel() {
    let (service, keys) = Service::guarded(
        Settings::default(),
        &[
            ("reader", &["subscribe:room-*"]),
            ("writer", &["publish:room-1"]),
            ("asker", &["generate", "follow", "publish:room-1"]),
            ("all", &["subscribe:*", "publish:*"]),
            ("clock", &["subscribe:system.time"]),
            ("admin", &["admin"]),
            ("usual", &["generate", "follow", "stop"]),
        ],
    )
    .await;
    let event = json!({"data": 1});
    let generation = |channel: &str| json!({"input": "x", "model": "demo?tokens=1&rate=max", "channel": channel});
    for (who, what, request, status) in [
        ("reader", "read", subscription(&service, "room-1", ""), 200),
        ("reader", "read another", subscription(&service, "hall", ""), 403),
        ("reader", "look", service.request(Method::GET, "/v1/channels/room-2"), 200),
        ("reader", "look at another", service.request(Method::GET, "/v1/channels/hall"), 403),
        ("reader", "write", publishing(&service, "room-1", &event), 403),
        ("reader", "read by an escaped name", subscription(&service, "%72oom-1", ""), 400),
        ("writer", "write", publishing(&service, "room-1", &event), 200),
        ("writer", "write another", publishing(&service, "room-12", &event), 403),
        ("writer", "read", subscription(&service, "room-1", ""), 403),
        ("asker", "answer", service.generation(&generation("room-1")), 200),
        ("asker", "answer elsewhere", service.generation(&generation("room-2")), 403),
        ("asker", "answer as the service", service.generation(&generation("system.time")), 403),
        ("usual", "answer", service.generation(&generation("room-1")), 403),
        ("usual", "read", subscription(&service, "room-1", ""), 403),
        ("all", "read", subscription(&service, "anything", ""), 200),
        ("all", "read the figures", subscription(&service, "system.metrics", ""), 403),
        ("all", "read the clock", subscription(&service, "system.time", ""), 403),
        ("all", "set the clock", publishing(&service, "system.time", &event), 403),
        ("clock", "read the clock", subscription(&service, "system.time", ""), 200),
        ("admin", "read the figures", subscription(&service, "system.metrics", ""), 200),
        ("admin", "read", subscription(&service, "room-1", ""), 403),
    ] {
        let answer = Answer::to(request.bearer_auth(&keys[who])).await;
        assert_eq!(answer.status, status, "{who}: {what}");
    }
    assert_eq!(Answer::to(subscription(&service, "room-1", "")).await.status, 401);

    // A ticket is for one channel, and its issuer must have each of its scopes.
    let ticket = async |who: &str, body: Value| {
        let post = service.request(Method::POST, "/v1/tickets").header(CONTENT_TYPE, "application/json");
        Answer::to(post.bearer_auth(&keys[who]).body(body.to_string())).await
    };
    let made = ticket("reader", json!({"resource": "channel", "id": "room-1"})).await.json().await;
    let url = made["url"].as_str().expect("an address");
    let (_stream, connected) = subscribe(service.request(Method::GET, url)).await;
    assert_eq!(connected.data["channel"], "room-1");
    let elsewhere = url.replace("room-1", "room-2");
    assert_eq!(service.get(&elsewhere).await.status, 403);
    assert_eq!(Answer::to(service.request(Method::POST, url).body("{}")).await.status, 403);
    for (who, body, status) in [
        ("reader", json!({"resource": "channel", "id": "room-1", "scopes": ["publish"]}), 403),
        ("reader", json!({"resource": "channel", "id": "hall"}), 403),
        ("reader", json!({"resource": "channel", "id": "room-1", "scopes": ["follow"]}), 400),
        ("reader", json!({"resource": "channel", "id": "a b"}), 400),
        ("usual", json!({"resource": "generation", "id": "gen_AAAAAAAAAAAAAAAAAAAAAA", "scopes": ["subscribe"]}), 400),
        ("writer", json!({"resource": "channel", "id": "room-1", "scopes": ["publish"]}), 201),
    ] {
        assert_eq!(ticket(who, body.clone()).await.status, status, "{who}: {body}");
    }
}

#[tokio::test]
async fn invalid_channel_requests_are_refused_and_publish_nothing() {
    let mut settings = Settings::default();
    settings.channels.max_event = Size::kib(1);
    settings.channels.max_subscribers = 2.try_into().expect("two");
    let service = Service::with(settings).await;
    for (event, pointers) in [
        (json!({}), &[""][..]),
        (json!([]), &[""]),
        (json!({"data": 1, "more": 1}), &[""]),
        (json!({"data": 1, "event": "error"}), &["/event"]),
        (json!({"data": 1, "event": "delta"}), &["/event"]),
        (json!({"data": 1, "event": "a\nid: 5"}), &["/event"]),
        (json!({"data": 1, "event": 5, "ephemeral": "yes", "to": "bob"}), &["/event", "/to", "/ephemeral"]),
        (json!({"data": "not base64!", "encoding": "base64"}), &["/data"]),
        (json!({"data": {"a": 1}, "encoding": "base64"}), &["/data"]),
        (json!({"data": "aGVsbG8=", "encoding": "hex"}), &["/encoding"]),
        (json!({"data": 1, "to": {"connection": "conn_1"}}), &["/to"]),
        (json!({"data": 1, "to": {"principal": ""}}), &["/to"]),
        (json!({"data": 1, "to": {"principal": "x".repeat(300)}}), &["/to"]),
        (json!({"data": 1, "to": {"principal": "x", "issuer": "x".repeat(600)}}), &["/to"]),
        (json!({"data": 1, "to": {}}), &["/to"]),
    ] {
        let answer = Answer::to(publishing(&service, "a", &event)).await;
        assert_eq!(answer.status, 400, "{event}");
        let errors = answer.json().await["errors"].clone();
        let named: Vec<_> = errors.as_array().expect("a list").iter().map(|error| error["pointer"].clone()).collect();
        assert_eq!(named, pointers, "{event}");
    }
    let large = json!({"data": "x".repeat(2000)});
    assert_eq!(refused(publishing(&service, "a", &large)).await, (413, json!("body_too_large")));
    assert_eq!(
        refused(publishing(&service, "a", &json!({"data": 1})).body("{\"data\":")).await,
        (400, json!("invalid_json"))
    );
    for path in ["/v1/channels/a%20b/events", "/v1/channels/a*/events", "/v1/channels/%C3%BC/events"] {
        assert_eq!(refused(service.request(Method::GET, path)).await.0, 400, "{path}");
    }
    for query in ["?history=-1", "?history=x", "?presence=1", "?wait=5", "?after=01", "?other=1", "?history=100001"] {
        let request = service.request(Method::GET, &events_path("a", query));
        assert_eq!(refused(request).await, (400, json!("invalid_request")), "{query}");
    }
    for id in ["b.1", "1", "gen_AAAAAAAAAAAAAAAAAAAAAA.1", "a.x"] {
        let request = service.request(Method::GET, &events_path("a", "")).header(LAST_EVENT_ID, id);
        assert_eq!(refused(request).await, (400, json!("invalid_request")), "{id}");
    }
    assert_eq!(service.get("/v1/channels/a").await.json().await["history"]["events"], 0, "nothing was published");

    let two = [subscribe(subscription(&service, "a", "")).await, subscribe(subscription(&service, "a", "")).await];
    for query in ["", "?after=0", "?after=5"] {
        let answer = Answer::to(subscription(&service, "a", query)).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{query}");
        assert!(answer.text().await.starts_with("event: failed\n"));
    }
    subscribe(subscription(&service, "b", "")).await;
    // A reconnecting subscriber is admitted above the limit, even while its old stream still counts.
    let id = two[0].1.id.as_deref().expect("an id");
    subscribe(subscription(&service, "a", "").header(LAST_EVENT_ID, id)).await;
}

#[tokio::test]
async fn long_poll_counts_as_a_connection_and_can_be_closed() {
    let mut settings = Settings::default();
    settings.limits.each.connections = 1.try_into().ok();
    let service = Service::with(settings).await;
    let polling = service.request(Method::GET, &events_path("a", "?wait=60s")).header(ACCEPT, "application/json");
    let ended = async {
        let connections = soon(async {
            loop {
                let listed = service.get("/v1/connections").await.json().await;
                if listed["total"] == 1 {
                    break listed;
                }
            }
        });
        let id = connections.await["data"][0]["id"].as_str().expect("an id").to_owned();
        let made_up = service.request(Method::GET, &events_path("a", "?after=0"));
        assert_eq!(refused(made_up).await.0, 429, "a position that the channel does not know is not a reconnect");
        let close = service.request(Method::DELETE, &format!("/v1/connections/{id}"));
        assert_eq!(Answer::to(close).await.status, 204);
    };
    let (page, ()) = tokio::join!(Answer::to(polling), ended);
    assert_eq!(page.json().await["events"], json!([]), "at once, and not after a minute");
}

/// Returns the next data of an event stream of the in-process service.
async fn next_data(body: &mut axum::body::BodyDataStream) -> Option<Result<String, axum::Error>> {
    let data = futures_util::StreamExt::next(body).await?;
    Some(data.map(|data| String::from_utf8(data.to_vec()).expect("UTF-8")))
}

#[tokio::test(start_paused = true)]
async fn silent_subscription_gets_heartbeats_and_ends_after_ten_minutes() {
    let in_process::Parts { api, channels, .. } = in_process::parts(Duration::from_secs(15));
    let request = axum::extract::Request::get("/v1/channels/a/events").header("host", "localhost");
    let request = request.body(axum::body::Body::empty());
    let response = api.oneshot(request.expect("a request")).await.expect("an answer");
    let (mut body, began) = (response.into_body().into_data_stream(), tokio::time::Instant::now());
    assert!(next_data(&mut body).await.expect("it begins").expect("well").starts_with("event: connected\n"));
    let (mut beats, mut last) = (0, String::new());
    let broken = loop {
        match next_data(&mut body).await.expect("no clean end") {
            Ok(data) if data == ": ping\n" => beats += 1,
            Ok(data) => last = data,
            Err(error) => break error.to_string(),
        }
    };
    // The stream breaks off, so that the client reconnects by itself. The `retry` is random: not all reconnect at once.
    assert_eq!((beats, began.elapsed().as_secs()), (39, 600));
    let retry: u64 = last.strip_prefix("retry: ").and_then(|rest| rest.trim().parse().ok()).expect("when to come back");
    assert!((1_000..5_000).contains(&retry) && broken.contains("closed"), "{last} {broken}");
    drop(body);
    assert_eq!(channels.inspect(&"a".parse().expect("a name")).await, Ok(None), "its entry in the roster is free");
}

#[tokio::test]
async fn drain_sends_retry_to_subscribers_and_ends_their_streams_last() {
    let upstream = Upstream::start().await;
    let service = Service::before(&upstream.base_url()).await;
    let (mut stream, _) = subscribe(subscription(&service, "a", "")).await;
    let answer = service.request(Method::POST, "/v1/generations").header("prefer", "respond-async");
    let body = json!({"input": "Hello", "channel": "a"}).to_string();
    assert_eq!(Answer::to(answer.header(CONTENT_TYPE, "application/json").body(body)).await.status, 202);
    let mut call = soon(upstream.call()).await;
    call.ok().await;
    call.text("Hel").await;
    stream.expect("start").await;
    stream.expect("delta").await;
    service.shutdown.begin_drain();
    stream.starts_with("retry: ").await;
    publish(&service, "a", &json!({"event": "said", "data": "still here"})).await;
    assert_eq!(stream.next().await.expect("it comes").name, "said");
    call.text("lo").await;
    call.finish("stop").await;
    call.done().await;
    stream.expect("delta").await;
    stream.expect("done").await;
    // The stream breaks off, so that the client reconnects; the `retry` before it states when.
    stream.starts_with("retry: ").await;
    let mut body = stream.into_body();
    assert!(
        soon(async {
            while body.chunk().await?.is_some() {}
            Ok::<_, reqwest::Error>(())
        })
        .await
        .is_err()
    );
}

/// Returns a value of `/metrics`, read with a key that has the scope `admin`.
async fn metric_as(service: &Service, key: &str, name: &str) -> f64 {
    let text = Answer::to(service.request(Method::GET, "/metrics").bearer_auth(key)).await.text().await;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no metric {name} in {text}"))
}

fn publish_rate(limit: u32) -> Option<std::num::NonZeroU32> {
    limit.try_into().ok()
}

/// Keeps the channels in memory, also if the other tests use Redis: there, all channels together have no limit.
fn keep_in_memory(settings: &mut Settings) {
    settings.event_log.memory.max_bytes = Size::mib(255);
}

#[tokio::test]
async fn a_publisher_that_fills_all_bytes_evicts_its_own_events_and_no_others() {
    let mut settings = Settings::default();
    settings.channels.max_bytes_total = Size::kib(256);
    settings.channels.max_bytes = Size::kib(128);
    keep_in_memory(&mut settings);
    let (service, keys) = Service::guarded(
        settings,
        &[("eve", &["publish:*"]), ("bob", &["generate", "follow", "publish:*", "subscribe:*"]), ("admin", &["admin"])],
    )
    .await;
    let flood = async |channel: &str| {
        let event = json!({"data": "x".repeat(16_000)});
        let answer = Answer::to(publishing(&service, channel, &event).bearer_auth(&keys["eve"])).await;
        assert_eq!(answer.status, 200);
    };
    for at in 0..40 {
        flood(&format!("flood-{}", at % 4)).await;
    }
    // A new channel of another caller, and a generation that is delivered to it.
    let mut published = Vec::new();
    for at in 0..20 {
        let event = json!({"event": "said", "data": at});
        let answer = Answer::to(publishing(&service, "room", &event).bearer_auth(&keys["bob"])).await;
        assert_eq!(answer.status, 200);
        published.push(json!(at));
        flood("flood-0").await;
    }
    let body = json!({"input": "Hello", "model": "demo?tokens=50&rate=max", "channel": "room"});
    let viewed = service.generation(&body).bearer_auth(&keys["bob"]);
    let viewed = Answer::to(viewed.header(ACCEPT, "text/event-stream")).await.events().await;
    flood("flood-1").await;
    let request = subscription(&service, "room", "?history=100").bearer_auth(&keys["bob"]);
    let (mut stream, _) = subscribe(request).await;
    let mut events = Vec::new();
    while events.last().is_none_or(|event: &Event| event.name != "done") {
        events.push(stream.next().await.expect("it was kept"));
    }
    let said: Vec<_> = events.iter().filter(|event| event.name == "said").map(|event| event.data.clone()).collect();
    assert_eq!(said, published);
    assert_eq!(text(&events), text(&viewed), "every token");
    assert!(events.iter().all(|event| event.name != "gap"));
    assert!(metric_as(&service, &keys["admin"], "tokenrill_channel_evicted_events_total").await >= 30.0);
    assert!(metric_as(&service, &keys["admin"], "tokenrill_channel_log_bytes").await <= 262_144.0);
    // The history of a channel of the publisher above its share begins with a gap.
    let request = subscription(&service, "flood-3", "?history=100").bearer_auth(&keys["bob"]);
    let (mut stream, connected) = subscribe(request).await;
    let gap = stream.expect("gap").await;
    assert_eq!((gap.data["to"].as_u64(), &gap.id), (Some(connected.sequence()), &connected.id));
}

#[tokio::test]
async fn publishes_into_ten_thousand_new_channels_leave_the_history_of_other_callers_whole() {
    const NEW: usize = 10_050;
    let mut settings = Settings::default();
    settings.limits.each.publishes_per_minute = publish_rate(1_000_000);
    keep_in_memory(&mut settings);
    let (service, keys) =
        Service::guarded(settings, &[("eve", &["publish:*"]), ("bob", &["publish:*", "subscribe:*"])]).await;
    for at in 0..10 {
        let event = json!({"data": at});
        for _ in 0..2 {
            let publishing = publishing(&service, &format!("bob-{at}"), &event).bearer_auth(&keys["bob"]);
            assert_eq!(Answer::to(publishing).await.status, 200);
        }
    }
    let publish = async |at: usize| {
        let publishing = publishing(&service, &format!("eve-{at}"), &json!({"data": at}));
        Answer::to(publishing.bearer_auth(&keys["eve"])).await.status
    };
    let mut statuses = Vec::new();
    for from in (0..NEW).step_by(50) {
        statuses.extend(join_all((from..from + 50).map(&publish)).await);
    }
    assert!(statuses.iter().all(|status| *status == 200));
    let history = async |channel: &str| {
        let request = service.request(Method::GET, &events_path(channel, "?history=100"));
        Answer::to(request.header(ACCEPT, "application/json").bearer_auth(&keys["bob"])).await.json().await
    };
    for at in 0..10 {
        let page = history(&format!("bob-{at}")).await;
        assert_eq!((page["events"].as_array().map(Vec::len), &page["gap"]), (Some(2), &Value::Null), "{page}");
    }
    // Eve's own oldest channels were evicted, and their history reports a gap.
    let page = history("eve-0").await;
    assert!(page["events"] == json!([]) && page["gap"]["from"].as_u64() <= page["gap"]["to"].as_u64(), "{page}");
    assert!(page["gap"].is_object(), "{page}");
}

#[tokio::test]
async fn an_account_over_its_publish_rate_is_refused_and_others_publish_on() {
    let mut settings = Settings::default();
    settings.limits.each.publishes_per_minute = publish_rate(3);
    let more = Quota { publishes_per_minute: publish_rate(5), ..Quota::default() };
    let other = Quota { requests_per_minute: publish_rate(5), ..Quota::default() };
    let mut own = std::collections::BTreeMap::new();
    for (name, limits) in [("bob", more), ("carl", other)] {
        let NewKey { key, hash } = NewKey::random().expect("random bytes");
        let (hash, scopes) = (hash.to_string(), Some(vec!["publish:*".to_owned()]));
        let limits = Some(limits);
        settings.auth.api_keys.push(ApiKeySettings {
            name: name.to_owned(),
            hash,
            scopes,
            limits,
            ..ApiKeySettings::default()
        });
        own.insert(name.to_owned(), key);
    }
    let (service, mut keys) = Service::guarded(settings, &[("eve", &["publish:*"]), ("admin", &["admin"])]).await;
    keys.extend(own);
    let publish = async |who: &str, body: &'static str| {
        let post = service.request(Method::POST, &events_path("a", "")).header(CONTENT_TYPE, "application/json");
        Answer::to(post.bearer_auth(&keys[who]).body(body)).await
    };
    for (who, most) in [("eve", 3), ("bob", 5), ("carl", 3)] {
        for left in (0..most).rev() {
            let answer = publish(who, "{\"data\":1}").await;
            assert_eq!(answer.status, 200, "{who}");
            assert_eq!(answer.header("ratelimit-policy"), format!("\"publishes\";q={most};w=60"));
            assert!(answer.header("ratelimit").starts_with(&format!("\"publishes\";r={left};t=")), "{who}");
        }
        // The rate is checked before the body is read.
        let refused = publish(who, "not JSON").await;
        assert_eq!(
            (refused.status, refused.header("ratelimit-policy")),
            (429, &*format!("\"publishes\";q={most};w=60"))
        );
        let wait: u64 = refused.header("retry-after").parse().expect("seconds");
        assert!((1..=60 / most + 1).contains(&wait), "{who}: {wait}");
        let problem = refused.json().await;
        assert_eq!((&problem["code"], &problem["retryable"]), (&json!("rate_limited"), &json!(true)));
    }
    let refusals = metric_as(&service, &keys["admin"], "tokenrill_refusals_total{limit=\"publishes\"}").await;
    assert_eq!(refusals.to_bits(), 3.0_f64.to_bits());
}

#[tokio::test]
async fn token_claim_and_ticket_share_the_publish_rate_of_their_caller() {
    let jwt = JwtSettings {
        secret_env: Some("SECRET".to_owned()),
        limits_claim: Some("limits".to_owned()),
        ..JwtSettings::default()
    };
    let service = Service::in_environment(trusting(jwt), [("SECRET".to_owned(), SECRET.to_owned())].into()).await;
    let claimed = json!({"scope": "publish:*", "limits": {"publishes_per_minute": 2}});
    let token = hs256(SECRET.as_bytes(), &json!({"alg": "HS256"}), &claims(&claimed));
    let ticket = json!({"resource": "channel", "id": "a", "scopes": ["publish"]}).to_string();
    let post = service.request(Method::POST, "/v1/tickets").header(CONTENT_TYPE, "application/json");
    let made = Answer::to(post.bearer_auth(&token).body(ticket)).await.json().await;
    let url = format!("{}?ticket={}", events_path("a", ""), made["ticket"].as_str().expect("a ticket"));
    let event = json!({"data": 1});
    assert_eq!(Answer::to(publishing(&service, "a", &event).bearer_auth(&token)).await.status, 200);
    let by_ticket =
        || service.request(Method::POST, &url).header(CONTENT_TYPE, "application/json").body(event.to_string());
    assert_eq!(Answer::to(by_ticket()).await.status, 200);
    assert_eq!(Answer::to(by_ticket()).await.status, 429, "a ticket is of the same account and limit");
    assert_eq!(Answer::to(publishing(&service, "a", &event).bearer_auth(&token)).await.status, 429);
}
