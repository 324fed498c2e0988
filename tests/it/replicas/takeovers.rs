//! `event_log.redis.recover = "restart"`: a generation whose replica is killed begins anew on another one, once, if its
//! request permits that.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use redis::cmd;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use tokenrill::settings::RedisRecover;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::{Deployment, LEASE, OtherProcess, finish, follow, ready, snapshot};
use crate::support::{Answer, Event, Service, soon, text};

const HOLD: Duration = Duration::from_secs(1);

fn body() -> Value {
    json!({"input": "Hello", "on_upstream_failure": "restart"})
}

async fn deployment() -> Deployment {
    Deployment { recover: RedisRecover::Restart, ..Deployment::new().await }
}

impl Deployment {
    /// Returns the values of all keys of the generation, and whether its request is stored.
    fn stored_request(&self, id: &str) -> Option<String> {
        let key = format!("{}:{{{}}}:g:{id}:h", self.prefix, &id[4..6]);
        self.redis.command(cmd("HGET").arg(key).arg("req"))
    }
}

/// Follows a generation; returns the viewer after its first token.
async fn viewer(service: &Service, id: &str) -> Answer {
    let mut viewer = follow(service, id, None).await;
    viewer.expect("start").await;
    viewer.expect("delta").await;
    viewer
}

/// Reads to the end, which must be that the replica is lost.
async fn is_lost(viewer: Answer) {
    let events = viewer.events().await;
    let end = events.last().expect("an end");
    assert_eq!((end.name.as_str(), &end.data["error"]["code"]), ("failed", &json!("replica_lost")), "{events:?}");
    assert!(events.iter().all(|event| event.name != "restart"), "{events:?}");
}

fn parts(events: &[Event]) -> Vec<(String, Value, Option<String>)> {
    events.iter().map(|event| (event.name.clone(), event.data.clone(), event.id.clone())).collect()
}

#[tokio::test]
async fn generation_of_a_killed_replica_begins_anew_on_one_other_and_every_viewer_has_the_new_text() {
    let deployment = deployment().await;
    let OtherProcess { process: killed, mut call, id, seen, .. } =
        OtherProcess::begin_with(&deployment, HOLD, &body()).await;
    let recorded = deployment.stored_request(&id).expect("a recorded request");
    assert!(recorded.contains("Hello"), "{recorded}");
    let [one, other] = deployment.replicas().await;
    let (mut here, there) = (viewer(&one, &id).await, viewer(&other, &id).await);
    let began = Instant::now();
    killed.kill().await;
    call.closed().await;
    let mut call = deployment.upstream.call().await;
    assert!(began.elapsed() < LEASE + Duration::from_secs(2), "{:?}", began.elapsed());
    soon(async { while deployment.stored_request(&id).is_some() {} }).await;
    assert_eq!(call.body["messages"], json!([{"role": "user", "content": "Hello"}]));
    assert_eq!(call.body.get("on_upstream_failure"), None);
    assert_eq!(snapshot(&one, &id).await["text"], "Hel", "the text stands until the new answer begins");
    call.ok().await;
    call.text("Good ").await;
    let restart = here.expect("restart").await;
    assert_eq!(restart.data, json!({"from": 1, "reason": "replica_lost"}));
    assert_eq!(restart.id, Some(format!("{id}.2.3")), "of the second owner");
    call.text("day").await;
    call.finish("stop").await;
    call.done().await;
    let mut rest = vec![restart];
    rest.extend(here.events().await);
    assert_eq!(text(&rest), "Good day");
    assert_eq!(rest.last().map(|event| event.name.as_str()), Some("done"));
    assert_eq!(parts(&there.events().await), parts(&rest));
    assert!(!deployment.upstream.was_called(), "one replica has taken it over");
    for replica in [&one, &other] {
        assert_eq!(parts(&follow(replica, &id, Some(&seen)).await.events().await), parts(&rest), "resumed");
        let replayed = follow(replica, &id, None).await.events().await;
        assert_eq!(parts(&replayed[2..]), parts(&rest), "replayed");
        let state = snapshot(replica, &id).await;
        assert_eq!((&state["text"], &state["status"]), (&json!("Good day"), &json!("done")));
        replica.metric_becomes("tokenrill_generations_live", 0.0).await;
    }
}

#[tokio::test]
async fn request_that_permits_no_restart_is_not_stored_and_fails_with_its_replica() {
    let deployment = deployment().await;
    let OtherProcess { process: killed, first: _first, call: _call, id, .. } =
        OtherProcess::begin(&deployment, HOLD).await;
    assert_eq!(deployment.stored_request(&id), None);
    let other = deployment.replica().await;
    let viewer = viewer(&other, &id).await;
    killed.kill().await;
    is_lost(viewer).await;
    assert!(!deployment.upstream.was_called());
}

#[tokio::test]
async fn request_is_not_stored_where_the_settings_do_not_recover() {
    let deployment = Deployment::new().await;
    let OtherProcess { process: killed, first: _first, call: _call, id, .. } =
        OtherProcess::begin_with(&deployment, HOLD, &body()).await;
    assert_eq!(deployment.stored_request(&id), None);
    let other = deployment.replica().await;
    let viewer = viewer(&other, &id).await;
    killed.kill().await;
    is_lost(viewer).await;
}

#[tokio::test]
async fn generation_that_has_called_a_tool_fails_with_its_replica() {
    let deployment = deployment().await;
    let OtherProcess { process: killed, mut first, mut call, id, .. } =
        OtherProcess::begin_with(&deployment, HOLD, &body()).await;
    call.delta(json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]})).await;
    first.expect("tool_call").await;
    let other = deployment.replica().await;
    let mut viewer = viewer(&other, &id).await;
    viewer.expect("tool_call").await;
    killed.kill().await;
    is_lost(viewer).await;
    assert!(!deployment.upstream.was_called());
}

#[tokio::test]
async fn generation_is_taken_over_once_so_that_its_request_cannot_end_one_replica_after_the_other() {
    let deployment = deployment().await;
    let OtherProcess { process: killed, first: _first, call: _call, id, .. } =
        OtherProcess::begin_with(&deployment, HOLD, &body()).await;
    let second = OtherProcess::start(&deployment, HOLD).await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let events = format!("http://{}/v1/generations/{id}/events", second.address);
    let mut there = Answer::to(http.get(&events).header(ACCEPT, "text/event-stream")).await;
    there.expect("start").await;
    killed.kill().await;
    let mut call = deployment.upstream.call().await;
    call.ok().await;
    call.text("Good ").await;
    there.expect("delta").await;
    there.expect("restart").await;
    there.expect("delta").await;
    let third = deployment.replica().await;
    let mut viewer = follow(&third, &id, None).await;
    for name in ["start", "delta", "restart", "delta"] {
        viewer.expect(name).await;
    }
    second.kill().await;
    call.closed().await;
    is_lost(viewer).await;
    assert_eq!(snapshot(&third, &id).await["text"], "Good ");
    assert!(!deployment.upstream.was_called());
}

#[tokio::test]
async fn stop_that_the_killed_replica_has_not_carried_out_is_carried_out_by_the_next_owner() {
    let deployment = deployment().await;
    let OtherProcess { process: killed, first: _first, call: _call, id, .. } =
        OtherProcess::begin_with(&deployment, HOLD, &body()).await;
    let other = deployment.replica().await;
    let viewer = viewer(&other, &id).await;
    killed.kill().await;
    let stop = other.request(Method::POST, &format!("/v1/generations/{id}/cancel"));
    let (stopped, events) = tokio::join!(Answer::to(stop), viewer.events());
    assert_eq!(stopped.status, 200);
    let [end] = events.as_slice() else { panic!("one event: {events:?}") };
    assert_eq!((end.name.as_str(), &end.data["reason"]), ("cancelled", &json!("client_request")));
    assert_eq!(end.data["usage"]["output_tokens"], 1, "of the text that stands: {end:?}");
    assert!(!deployment.upstream.was_called(), "the model is not asked");
    assert_eq!(snapshot(&other, &id).await["text"], "Hel");
}

#[tokio::test]
async fn grace_that_ended_meanwhile_ends_the_generation_without_another_call() {
    let deployment = deployment().await;
    let body = json!({"input": "Hello", "on_upstream_failure": "restart", "grace_ms": 1500});
    let OtherProcess { process: killed, first, call: _call, id, .. } =
        OtherProcess::begin_with(&deployment, HOLD, &body).await;
    let other = deployment.replica().await;
    drop(first);
    let viewers = format!("{}:{{{}}}:g:{id}:a", deployment.prefix, &id[4..6]);
    let left = async {
        while deployment.redis.command::<u32>(cmd("ZCARD").arg(&viewers)) > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(left).await;
    killed.kill().await;
    // Real waits, by Redis' clock: the grace, and the lease of the killed replica.
    sleep(LEASE + Duration::from_millis(500)).await;
    let ended = soon(async {
        loop {
            let state = snapshot(&other, &id).await;
            if state["status"] != "running" {
                return state;
            }
        }
    });
    let ended = ended.await;
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("cancelled"), &json!("abandoned")), "{ended}");
    assert!(!deployment.upstream.was_called());
}

#[tokio::test]
async fn replica_without_the_model_ends_the_generation_as_lost() {
    let deployment = deployment().await;
    let OtherProcess { process: killed, first: _first, call: _call, id, .. } =
        OtherProcess::begin_with(&deployment, HOLD, &body()).await;
    let (mut settings, environment) = deployment.settings();
    settings.upstreams[0].models = vec!["another".to_owned()];
    settings.models.default = None;
    let other = ready(Service::in_environment(settings, environment).await).await;
    let viewer = viewer(&other, &id).await;
    killed.kill().await;
    is_lost(viewer).await;
    assert!(!deployment.upstream.was_called());
}

#[tokio::test]
async fn owner_that_was_only_silent_is_fenced_and_its_viewers_get_the_new_answer() {
    let deployment = deployment().await;
    let OtherProcess { process: paused, mut first, mut call, id, .. } =
        OtherProcess::begin_with(&deployment, HOLD, &body()).await;
    let other = deployment.replica().await;
    let mut viewer = viewer(&other, &id).await;
    paused.signal("-STOP").await;
    let mut second = deployment.upstream.call().await;
    second.ok().await;
    second.text("Good ").await;
    viewer.expect("restart").await;
    viewer.expect("delta").await;
    call.text("lo").await;
    paused.signal("-CONT").await;
    call.closed().await;
    second.text("day").await;
    second.finish("stop").await;
    second.done().await;
    assert_eq!(text(&viewer.events().await), "day");
    let restart = first.expect("restart").await;
    assert_eq!(restart.data["reason"], "replica_lost");
    assert_eq!(text(&first.events().await), "Good day", "nothing of the fenced owner");
}

#[tokio::test]
async fn generation_whose_new_calls_are_refused_fails_as_lost_with_the_usage_of_the_text_that_stands() {
    let deployment = deployment().await;
    let OtherProcess { process: killed, first: _first, call: _call, id, .. } =
        OtherProcess::begin_with(&deployment, HOLD, &body()).await;
    let other = deployment.replica().await;
    let viewer = viewer(&other, &id).await;
    killed.kill().await;
    let mut call = deployment.upstream.call().await;
    call.refuse(401, "", "{}").await;
    let events = viewer.events().await;
    let [end] = events.as_slice() else { panic!("one event: {events:?}") };
    assert_eq!((end.name.as_str(), &end.data["error"]["code"]), ("failed", &json!("replica_lost")));
    assert_eq!(end.data["usage"]["output_tokens"], 1, "{end:?}");
}

#[tokio::test]
async fn stop_that_arrives_at_an_owner_that_does_not_know_that_it_is_fenced_stops_the_new_one() {
    let deployment = deployment().await;
    let OtherProcess { process: paused, first: _first, call: _call, id, .. } =
        OtherProcess::begin_with(&deployment, HOLD, &body()).await;
    let other = deployment.replica().await;
    let mut viewer = viewer(&other, &id).await;
    paused.signal("-STOP").await;
    let mut second = deployment.upstream.call().await;
    second.ok().await;
    second.text("Good ").await;
    viewer.expect("restart").await;
    viewer.expect("delta").await;
    // The system accepts the connection.
    let mut connection = TcpStream::connect(paused.address).await.expect("a connection");
    let stop =
        format!("POST /v1/generations/{id}/cancel HTTP/1.1\r\nhost: {}\r\ncontent-length: 0\r\n\r\n", paused.address);
    connection.write_all(stop.as_bytes()).await.expect("sent");
    paused.signal("-CONT").await;
    let end = viewer.expect("cancelled").await;
    assert_eq!(end.data["reason"], "client_request");
    second.closed().await;
}

#[tokio::test]
async fn fenced_owner_that_ends_before_it_notices_leaves_the_slot_to_the_new_one() {
    let deployment = Deployment { generations: NonZeroU32::new(1), ..deployment().await };
    let OtherProcess { process: paused, mut first, mut call, id, .. } =
        OtherProcess::begin_with(&deployment, HOLD, &body()).await;
    let other = deployment.replica().await;
    let mut viewer = viewer(&other, &id).await;
    paused.signal("-STOP").await;
    let mut second = deployment.upstream.call().await;
    second.ok().await;
    second.text("Good ").await;
    viewer.expect("restart").await;
    viewer.expect("delta").await;
    call.finish("stop").await;
    call.done().await;
    paused.signal("-CONT").await;
    first.expect("restart").await;
    let another = json!({"input": "Another", "max_queue_ms": 0});
    let refused = Answer::to(other.generation(&another).header(ACCEPT, "application/json")).await;
    assert_eq!((refused.status, refused.json().await["code"].clone()), (429, json!("too_many_generations")));
    finish(second).await;
    assert_eq!(text(&viewer.events().await), "!");
}

#[tokio::test]
async fn slot_of_a_generation_that_was_taken_over_is_that_of_its_caller() {
    let deployment = deployment().await;
    let OtherProcess { process: killed, first: _first, call: _call, id, .. } =
        OtherProcess::begin_with(&deployment, HOLD, &body()).await;
    let (mut settings, environment) = deployment.settings();
    settings.limits.concurrent_generations_total = NonZeroU32::new(1);
    let other = ready(Service::in_environment(settings, environment).await).await;
    let mut viewer = viewer(&other, &id).await;
    killed.kill().await;
    let mut call = deployment.upstream.call().await;
    let refused = async || {
        let request =
            other.generation(&json!({"input": "Another", "max_queue_ms": 0})).header(ACCEPT, "application/json");
        let answer = Answer::to(request).await;
        (answer.status, answer.json().await["code"].clone())
    };
    assert_eq!(refused().await, (429, json!("too_many_generations")));
    call.answer(&["Good day"]).await;
    viewer.expect("restart").await;
    assert_eq!(viewer.events().await.last().map(|event| event.name.clone()).as_deref(), Some("done"));
    // On the same connection.
    let answering = async { call.next().await.expect("a request").answer(&["!"]).await };
    let another = json!({"input": "Another", "max_queue_ms": 0});
    let free = async {
        let answer = other.generate(&another).await;
        assert_eq!(answer.status, 200);
        answer.events().await
    };
    let (events, ()) = tokio::join!(free, answering);
    assert_eq!(text(&events), "!");
}
