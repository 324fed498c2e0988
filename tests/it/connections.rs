//! Connections: operators list and close them, and each caller has a limit.

use std::num::NonZeroU32;

use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::auth::NewKey;
use tokenrill::settings::{ApiKeySettings, Quota, Settings, WhenFull};

use crate::support::{Answer, Service, Upstream, soon, text};

const ALL: &[&str] = &["generate", "follow", "stop", "admin"];

async fn connections(service: &Service, key: &str) -> Vec<Value> {
    let list = Answer::to(service.request(Method::GET, "/v1/connections").bearer_auth(key)).await.json().await;
    assert_eq!(list["total"].as_u64(), list["data"].as_array().map(|data| data.len() as u64));
    list["data"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn operator_lists_connections_and_a_closed_stream_can_be_resumed() {
    let upstream = Upstream::start().await;
    let settings = Service::settings(&upstream.base_url());
    let (service, keys) = Service::guarded(settings, &[("web", &["generate"]), ("operator", ALL)]).await;
    let (web, operator) = (&keys["web"], &keys["operator"]);
    let request =
        || service.generation(&json!({"input": "Hello"})).bearer_auth(web).header("accept", "text/event-stream");
    let mut viewer = Answer::to(request()).await;
    let start = viewer.expect("start").await;
    let mut call = upstream.call().await;
    call.ok().await;
    call.text("Hel").await;
    let delta = viewer.expect("delta").await;

    let list = connections(&service, operator).await;
    let [one] = list.as_slice() else { panic!("{list:?}") };
    assert_eq!((&one["principal"], &one["events"]), (&json!("web"), &json!(2)));
    assert_eq!(one["bytes"].as_u64(), Some((start.block.len() + delta.block.len()) as u64));
    assert!(one["idle_ms"].is_u64() && one["since"].is_string() && one.get("address").is_none());
    let one = one["id"].as_str().expect("an id").to_owned();
    for (key, expected) in [(web, 403), (operator, 204), (operator, 204)] {
        let close = service.request(Method::DELETE, &format!("/v1/connections/{one}")).bearer_auth(key);
        let status = Answer::to(close).await.status;
        // The second DELETE is 404 if the connection has already ended.
        assert!(status == expected || (status, expected) == (404, 204), "{status}");
    }
    let broken = viewer.into_body().bytes().await;
    assert!(broken.is_err(), "an unclean end, so that the client reconnects");

    let mut back = Answer::to(request().header("last-event-id", delta.id.expect("an id"))).await;
    call.text("lo").await;
    call.finish("stop").await;
    call.done().await;
    assert_eq!(back.expect("delta").await.data["text"], "lo");
    back.expect("done").await;
    assert_eq!(back.next().await, None);
    assert_eq!(connections(&service, operator).await, Vec::<Value>::new());
    for id in ["any", "conn_AAAAAAAAAAAAAAAAAAAAAA", one.as_str()] {
        let close = service.request(Method::DELETE, &format!("/v1/connections/{id}")).bearer_auth(operator);
        let answer = Answer::to(close).await;
        assert_eq!((answer.status, &answer.json().await["code"]), (404, &json!("connection_not_found")));
    }
}

fn limited(full: WhenFull) -> Settings {
    let mut settings = Settings::default();
    settings.limits.each = Quota { connections: NonZeroU32::new(2), ..Quota::default() };
    settings.limits.connections_full = full;
    settings
}

#[tokio::test]
async fn stream_above_the_connection_limit_is_refused_unless_it_resumes() {
    let service = Service::with(limited(WhenFull::Refuse)).await;
    let endless = json!({"input": "Hello", "model": "demo?stall_at=2&rate=max"});
    let mut first = service.generate(&endless).await;
    let start = first.expect("start").await;
    let _second = service.generate(&endless).await;
    let refused = service.generate(&endless).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "5"));
    let failed = refused.events().await.remove(0);
    assert_eq!((&failed.data["error"]["code"], failed.retry), (&json!("too_many_connections"), Some(5000)));
    let path = format!("/v1/generations/{}/events", start.generation());
    assert_eq!(service.get(&path).await.status, 429);
    let begun = service.metric("tokenrill_generations_live").await;
    assert_eq!(begun.to_bits(), 2.0_f64.to_bits(), "a refused request starts nothing");

    let mut back = Answer::to(service.generation(&json!({})).header("last-event-id", start.id.expect("an id"))).await;
    assert_eq!(back.status, 200);
    back.expect("delta").await;
    let broken = first.into_body().bytes().await;
    assert!(broken.is_err(), "the oldest stream was closed");
}

/// Returns the bytes of a stream until it breaks off; `None` if it ends cleanly.
async fn broken_off(viewer: Answer) -> Option<String> {
    let (mut response, mut said) = (viewer.into_body(), Vec::new());
    loop {
        match soon(response.chunk()).await {
            Ok(Some(bytes)) => said.extend_from_slice(&bytes),
            Ok(None) => return None,
            Err(_) => return Some(String::from_utf8(said).expect("UTF-8")),
        }
    }
}

#[tokio::test]
async fn refused_request_closes_no_other_stream() {
    let mut settings = limited(WhenFull::CloseOldest);
    // The two viewers and the four requests that are refused for their bodies use up the rate.
    settings.limits.each.requests_per_minute = NonZeroU32::new(6);
    let service = Service::with(settings).await;
    let slow = json!({"input": "Hello", "model": "demo?tokens=3&rate=max&first_token=500ms"});
    let viewers = [service.generate(&slow).await, service.generate(&slow).await];
    for (body, status) in [(json!({}), 400), (json!({"input": "Hello", "model": "nobody's"}), 404), (slow.clone(), 429)]
    {
        assert_eq!(service.generate(&body).await.status, status);
        let chat = service.request(Method::POST, "/v1/chat/completions").header("content-type", "application/json");
        let mut body = body;
        body["stream"] = true.into();
        assert!(Answer::to(chat.body(body.to_string())).await.status >= 400);
    }
    for viewer in viewers {
        assert_eq!(viewer.events().await.last().map(|event| event.name.clone()).as_deref(), Some("done"));
    }
}

#[tokio::test]
async fn ticket_connection_counts_against_the_owner() {
    let new = NewKey::random().expect("random bytes");
    let mut settings = Settings::default();
    let limits = Some(Quota { connections: NonZeroU32::new(2), ..Quota::default() });
    let hash = new.hash.to_string();
    settings.auth.api_keys.push(ApiKeySettings { name: "web".into(), hash, limits, ..ApiKeySettings::default() });
    let (service, _) = Service::guarded(settings, &[]).await;
    let endless = json!({"input": "Hello", "model": "demo?stall_at=1&rate=max"});
    let viewer = Answer::to(service.generation(&endless).bearer_auth(&new.key)).await;
    let id = viewer.header("tokenrill-generation");
    let ticket = service.request(Method::POST, "/v1/tickets").header("content-type", "application/json");
    let ticket = ticket.bearer_auth(&new.key).body(json!({"resource": "generation", "id": id}).to_string());
    let url = Answer::to(ticket).await.json().await["url"].as_str().expect("a URL").to_owned();
    let second = service.get(&url).await;
    assert_eq!((second.status, service.get(&url).await.status), (200, 429));
}

#[tokio::test]
async fn close_oldest_admits_every_stream_and_breaks_off_the_oldest() {
    let service = Service::with(limited(WhenFull::CloseOldest)).await;
    let slow =
        json!({"input": "Hello", "model": "demo?tokens=5&rate=20&first_token=300ms", "on_disconnect": "continue"});
    let mut viewers = Vec::new();
    for _ in 0..4 {
        let mut viewer = service.generate(&slow).await;
        assert_eq!(viewer.status, 200);
        viewers.push((viewer.expect("start").await, viewer));
    }
    let (mut broken, mut whole) = (Vec::new(), Vec::new());
    for (start, viewer) in viewers {
        match broken_off(viewer).await {
            None => whole.push(start),
            Some(said) => {
                assert!(said.ends_with("retry: 5000\n"), "the client does not reconnect and displace another: {said}");
                broken.push(start);
            }
        }
    }
    assert_eq!((broken.len(), whole.len()), (2, 2));
    // The generations whose streams were broken off can be resumed.
    for start in broken {
        let back = service.request(Method::GET, &format!("/v1/generations/{}/events", start.generation()));
        let answer = Answer::to(back.header("last-event-id", start.id.expect("an id"))).await;
        assert!(!text(&answer.events().await).is_empty());
    }
}
