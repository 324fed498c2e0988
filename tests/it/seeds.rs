//! The original use cases of this service, one test each. Those about browsers also run in browsers:
//! `tests/clients/browsers/`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokenrill::settings::{JwtSettings, Settings, WhenFull};
use tower::ServiceExt;

use crate::channels::{publish, subscribe};
use crate::support::issuer::{SECRET, claims, hs256, trusting};
use crate::support::{Answer, Event, Service, in_process, soon, text};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

fn stream(service: &Service, path: &str) -> RequestBuilder {
    service.request(Method::GET, path).header(ACCEPT, "text/event-stream")
}

/// A stream that sends the time each second and resumes like a browser's `EventSource`.
#[tokio::test]
async fn time_stream_sends_the_time_each_second_and_resumes() {
    let service = Service::start().await;
    let (mut time, _) = subscribe(stream(&service, "/v1/channels/system.time/events")).await;
    let mut moments = Vec::new();
    for _ in 0..3 {
        let event = time.next().await.expect("a second");
        let moment = event.data["unix_ms"].as_u64().expect("a number");
        assert_eq!(event.data["time"].as_str().map(str::len), Some("2026-11-26T11:06:40.000Z".len()));
        moments.push((moment, event.id.expect("an id")));
    }
    for two in moments.windows(2) {
        // On a loaded machine events are late, never early.
        assert!(two[1].0 - two[0].0 >= 500, "{moments:?}");
    }
    // A client that reconnects receives the missed events.
    let (mut again, _) =
        subscribe(stream(&service, "/v1/channels/system.time/events").header(LAST_EVENT_ID, &moments[0].1)).await;
    assert_eq!(again.next().await.and_then(|event| event.id), Some(moments[1].1.clone()));
}

/// Events named `server-time`, for which a page registers a listener.
#[tokio::test]
async fn time_events_are_named_server_time() {
    let service = Service::start().await;
    let (mut time, _) = subscribe(stream(&service, "/v1/channels/system.time/events?history=1")).await;
    let event = time.expect("server-time").await;
    assert!(event.block.starts_with("event: server-time\ndata: {\"time\":\""), "{}", event.block);
}

/// Sends to one connection and to all. A new client can replay the last hundred events, a reconnecting client all
/// events that it missed.
#[tokio::test]
async fn channel_sends_to_one_client_or_all_and_replays_the_last_hundred_events() {
    let service = Service::start().await;
    let path = "/v1/channels/clients/events";
    let mut clients = join_all((0..3).map(|_| subscribe(stream(&service, path)))).await;
    for (at, (_, connected)) in clients.iter().enumerate() {
        let to = json!({"connection": connected.data["connection"]});
        publish(&service, "clients", &json!({"data": {"only": at}, "to": to})).await;
    }
    let first = publish(&service, "clients", &json!({"data": 1})).await.expect("an id");
    for at in 2..=150 {
        publish(&service, "clients", &json!({"data": at})).await;
    }
    for (at, (client, _)) in clients.iter_mut().enumerate() {
        assert_eq!(client.next().await.expect("its own").data, json!({"only": at}));
        for expected in 1..=150 {
            assert_eq!(client.next().await.expect("everybody's").data, json!(expected));
        }
    }
    let (mut late, _) = subscribe(stream(&service, &format!("{path}?history=1000"))).await;
    for expected in 51..=150 {
        assert_eq!(late.next().await.expect("the last hundred").data, json!(expected));
    }
    let (mut back, _) = subscribe(stream(&service, path).header(LAST_EVENT_ID, first)).await;
    for expected in 2..=150 {
        assert_eq!(back.next().await.expect("all that it missed").data, json!(expected));
    }
}

/// At most a thousand connections: each further one evicts the oldest.
#[tokio::test]
async fn connections_beyond_a_thousand_evict_the_oldest() {
    const MOST: u32 = 1000;
    let mut settings = Settings::default();
    settings.limits.connections_total = NonZeroU32::new(MOST);
    settings.limits.connections_full = WhenFull::CloseOldest;
    settings.server.max_streams = NonZeroU32::new(2000).expect("many");
    let service = Service::with(settings).await;
    // HTTP/2 multiplexes the streams over a few sockets, which saves descriptors.
    let multiplexed = || reqwest::Client::builder().http2_prior_knowledge().build().expect("a client");
    let sockets: Vec<_> = (0..10).map(|_| multiplexed()).collect();
    let url = format!("http://{}/v1/channels/crowd/events", service.address);
    let open = async |at: u32| subscribe(sockets[at as usize % sockets.len()].get(&url)).await.0;
    let mut streams = Vec::new();
    for at in 0..MOST {
        streams.push(open(at).await);
    }
    let newest = [open(0).await, open(1).await, open(2).await];
    publish(&service, "crowd", &json!({"data": "to all"})).await;
    for (at, stream) in streams.into_iter().enumerate() {
        let mut body = stream.into_body();
        let said = soon(body.chunk()).await;
        // An evicted client receives a `retry` time, and its stream is aborted.
        let expected = if at < newest.len() { "retry: 5000\n" } else { "data: \"to all\"\n" };
        let said = said.expect("its last words").expect("not at its end");
        assert!(said.starts_with(expected.as_bytes()), "{at}: {said:?}");
        if at < newest.len() {
            assert!(soon(body.chunk()).await.is_err(), "stream {at} is closed");
        }
    }
    for mut stream in newest {
        assert_eq!(stream.next().await.expect("it comes").data, "to all");
    }
    service.metric_becomes("tokenrill_subscribers_live", 0.0).await;
}

/// A connection without events for ten minutes is closed; events keep a connection open.
#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_after_ten_minutes() {
    let in_process::Parts { api, channels, .. } = in_process::parts(Duration::from_secs(15));
    let open = async |channel: &str| {
        let request = axum::extract::Request::get(format!("/v1/channels/{channel}/events")).header("host", "localhost");
        let response = api.clone().oneshot(request.body(axum::body::Body::empty()).expect("a request")).await;
        response.expect("an answer").into_body()
    };
    let began = tokio::time::Instant::now();
    let until_closed = async |body: axum::body::Body| {
        let read = axum::body::to_bytes(body, usize::MAX).await;
        assert!(read.is_err(), "an unclean end, so that the client reconnects");
        began.elapsed().as_secs()
    };
    let (idle, busy) = (open("idle").await, open("busy").await);
    let name = "busy".parse().expect("a name");
    let chatter = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_mins(5)).await;
            let event = json!({"data": "still here"});
            let request = axum::extract::Request::post("/v1/channels/busy/events")
                .header("host", "localhost")
                .header(CONTENT_TYPE, "application/json")
                .body(axum::body::Body::from(event.to_string()));
            api.clone().oneshot(request.expect("a request")).await.expect("an answer");
        }
    };
    let (idle, busy, ()) = tokio::join!(until_closed(idle), until_closed(busy), chatter);
    assert_eq!((idle, busy), (600, 15 * 60 + 600));
    let inspection = channels.inspect(&name).await.expect("it answers");
    assert_eq!(inspection.expect("its history").subscribers, 0);
}

/// Events that require a token: 401 without a valid token, 403 with a token that lacks the scope.
#[tokio::test]
async fn channel_events_require_a_token_with_the_scope() {
    let settings = trusting(JwtSettings { secret_env: Some("SECRET".to_owned()), ..JwtSettings::default() });
    let environment = BTreeMap::from([("SECRET".to_owned(), SECRET.to_owned())]);
    let service = Service::in_environment(settings, environment).await;
    let token = |scope: &str| hs256(SECRET.as_bytes(), &json!({"alg": "HS256"}), &claims(&json!({"scope": scope})));
    let events = || stream(&service, "/v1/channels/protected/events");
    for (what, request, status) in [
        ("no token", events(), 401),
        (
            "no token of the issuer's",
            events().bearer_auth(hs256(b"another", &json!({"alg": "HS256"}), &claims(&json!({})))),
            401,
        ),
        (
            "an expired one",
            events().bearer_auth(hs256(SECRET.as_bytes(), &json!({"alg": "HS256"}), &claims(&json!({"exp": 1})))),
            401,
        ),
        ("one for something else", events().bearer_auth(token("follow")), 403),
        ("one for another channel", events().bearer_auth(token("subscribe:other publish:protected")), 403),
        ("one for it", events().bearer_auth(token("subscribe:prot*")), 200),
    ] {
        let answer = Answer::to(request).await;
        assert_eq!((answer.status, answer.header("content-type")), (status, "text/event-stream"), "{what}");
    }
}

/// Notifications to all users, and to all devices of one user.
#[tokio::test]
async fn notifications_reach_all_users_or_all_devices_of_one_user() {
    let (service, keys) = Service::guarded(
        Settings::default(),
        &[
            ("app", &["publish:notifications"]),
            ("ada", &["subscribe:notifications"]),
            ("bob", &["subscribe:notifications"]),
        ],
    )
    .await;
    let path = "/v1/channels/notifications/events";
    let notify = async |event: Value| {
        let post = service.request(Method::POST, path).bearer_auth(&keys["app"]);
        Answer::to(post.header(CONTENT_TYPE, "application/json").body(event.to_string())).await.status
    };
    let device =
        async |who: &str| subscribe(stream(&service, &format!("{path}?history=20")).bearer_auth(&keys[who])).await.0;
    let (mut phone, mut laptop, mut other) = (device("ada").await, device("ada").await, device("bob").await);
    assert_eq!(
        notify(json!({"event": "notification", "data": "Your report is ready", "to": {"principal": "ada"}})).await,
        200
    );
    assert_eq!(notify(json!({"event": "notification", "data": "Maintenance at noon"})).await, 200);
    // A device that connects later receives the history.
    let mut tablet = device("ada").await;
    for device in [&mut phone, &mut laptop, &mut tablet] {
        for text in ["Your report is ready", "Maintenance at noon"] {
            assert_eq!(device.expect("notification").await.data, text);
        }
    }
    assert_eq!(other.expect("notification").await.data, "Maintenance at noon");
}

/// Monitoring: the metrics of the service each second, with their recent history.
#[tokio::test]
async fn metrics_channel_reports_the_service_each_second() {
    let service = Service::start().await;
    service.generate(&json!({"input": "Hello", "model": "demo?tokens=7&rate=max"})).await.events().await;
    let (mut figures, _) = subscribe(stream(&service, "/v1/channels/system.metrics/events?history=100")).await;
    let (mut seen, mut rate): (Option<Event>, f64) = (None, 0.0);
    while seen.as_ref().is_none_or(|event| event.data["generations"]["done"] != 1) {
        let event = figures.expect("metrics").await;
        rate = rate.max(event.data["tokens_per_second"].as_f64().expect("a rate"));
        seen = Some(event);
    }
    let data = seen.expect("figures").data;
    assert_eq!((&data["tokens"]["output"], &data["generations"]["running"]), (&json!(7), &json!(0)));
    assert!(data["first_token_ms"]["p50"].as_f64().is_some_and(|millis| millis > 0.0), "{data}");
    assert!(data["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20) && data["subscribers"] == 1, "{data}");
    assert!(rate > 0.0);
}

/// A chat room with presence, typing indicators, messages, and a model that answers in it.
#[tokio::test]
async fn chat_room_shows_presence_messages_and_a_models_answer() {
    let service = Service::start().await;
    let path = "/v1/channels/lobby/events?history=100&presence=true";
    let (mut ada, _) = subscribe(stream(&service, path)).await;
    let (mut bob, came) = subscribe(stream(&service, path)).await;
    assert_eq!(came.data["present"].as_array().map(Vec::len), Some(2));
    ada.expect("joined").await;
    publish(&service, "lobby", &json!({"event": "typing", "data": {"name": "Ada"}, "ephemeral": true})).await;
    publish(&service, "lobby", &json!({"event": "said", "data": {"name": "Ada", "text": "Who are you?"}})).await;
    let asked = json!({"input": "Who are you?", "model": "demo?tokens=20&rate=max", "channel": "lobby"});
    let post = service.generation(&asked).header("prefer", "respond-async");
    let id = Answer::to(post).await.json().await["id"].clone();
    let mut said = Vec::new();
    for person in [&mut ada, &mut bob] {
        assert_eq!(person.expect("typing").await.id, None);
        person.expect("said").await;
        let mut answer = vec![person.expect("start").await];
        while answer.last().is_none_or(|event| event.name != "done") {
            answer.push(person.next().await.expect("more"));
            assert_eq!(answer.last().map(|event| event.data["generation"].clone()), Some(id.clone()));
        }
        said.push(text(&answer));
    }
    assert_eq!(said[0], said[1]);
    // A new subscriber receives the history without the ephemeral typing events.
    let (mut eve, _) = subscribe(stream(&service, path)).await;
    eve.expect("said").await;
    eve.expect("start").await;
    eve.expect("delta").await;
    drop(bob);
    ada.expect("joined").await;
    assert_eq!(ada.expect("left").await.data["subscribers"], 2);
}

/// Progress of a long task: a page shows the current state at once, also after a reload.
#[tokio::test]
async fn progress_page_shows_the_current_state_after_a_reload() {
    let service = Service::start().await;
    let path = "/v1/channels/progress-42/events?history=1";
    let (mut bar, _) = subscribe(stream(&service, path)).await;
    for done in 1..=3 {
        publish(&service, "progress-42", &json!({"event": "progress", "data": {"done": done, "total": 4}})).await;
        assert_eq!(bar.expect("progress").await.data["done"], json!(done));
        let (mut reloaded, _) = subscribe(stream(&service, path)).await;
        assert_eq!(reloaded.expect("progress").await.data["done"], json!(done), "the last one alone");
    }
    publish(&service, "progress-42", &json!({"event": "finished", "data": {"total": 4}})).await;
    bar.expect("finished").await;
    let (mut late, _) = subscribe(stream(&service, path)).await;
    late.expect("finished").await;
}
