//! Several replicas with one event log in Redis: start on one, resume on another, stop from a third, lose one.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redis::cmd;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};
use tokenrill::settings::{RedisRecover, RedisWrite, Settings};
use tokio::time::sleep;

use crate::support::lossy_proxy::LossyProxy;
use crate::support::redis_server::{RedisServer, unique_prefix};
use crate::support::{Answer, Call, Event, Service, ServiceProcess, Upstream, soon, text, within};

mod faults;
mod responses;
mod takeovers;
mod ui_chats;

const GRACE: Duration = Duration::from_mins(1);
/// The shortest lease that the settings permit.
const LEASE: Duration = Duration::from_secs(3);

/// Replicas that share an upstream and a Redis server of their own.
struct Deployment {
    redis: RedisServer,
    upstream: Upstream,
    prefix: String,
    recover: RedisRecover,
    /// `limits.concurrent_generations_total`
    generations: Option<NonZeroU32>,
}

impl Deployment {
    async fn new() -> Self {
        let (redis, upstream) = (RedisServer::start(), Upstream::start().await);
        Self { redis, upstream, prefix: unique_prefix(), recover: RedisRecover::Off, generations: None }
    }

    fn settings(&self) -> (Settings, BTreeMap<String, String>) {
        let (mut settings, mut environment) = (Service::settings(&self.upstream.base_url()), BTreeMap::new());
        self.redis.serve(&mut settings, &mut environment, &self.prefix);
        settings.generation.grace = GRACE;
        settings.event_log.redis.lease = LEASE;
        settings.event_log.redis.recover = self.recover;
        settings.limits.concurrent_generations_total = self.generations;
        (settings, environment)
    }

    async fn replica(&self) -> Service {
        let (settings, environment) = self.settings();
        ready(Service::in_environment(settings, environment).await).await
    }

    /// Starts two replicas.
    async fn replicas(&self) -> [Service; 2] {
        [self.replica().await, self.replica().await]
    }

    async fn with_grace(&self, grace: Duration) -> Service {
        let (mut settings, environment) = self.settings();
        settings.generation.grace = grace;
        ready(Service::in_environment(settings, environment).await).await
    }
}

/// Waits until the replica receives messages of Redis.
pub async fn ready(service: Service) -> Service {
    soon(async { while service.get("/readyz").await.status != 200 {} }).await;
    service
}

/// Starts a generation whose model accepts the request and sends nothing yet.
pub async fn begin_silent(service: &Service, upstream: &Upstream) -> (Answer, Call, String) {
    let mut answer = service.generate(&json!({"input": "Hello"})).await;
    let id = answer.expect("start").await.generation().to_owned();
    let mut call = upstream.call().await;
    call.ok().await;
    (answer, call, id)
}

/// Starts a generation and reads its first token.
pub async fn begin(service: &Service, upstream: &Upstream) -> (Answer, Call, String) {
    let (mut answer, mut call, id) = begin_silent(service, upstream).await;
    call.text("Hel").await;
    answer.expect("delta").await;
    (answer, call, id)
}

pub async fn follow(service: &Service, id: &str, after: Option<&Event>) -> Answer {
    let mut request = service.request(Method::GET, &format!("/v1/generations/{id}/events"));
    if let Some(id) = after.and_then(|event| event.id.as_deref()) {
        request = request.header("Last-Event-ID", id);
    }
    Answer::to(request.header(ACCEPT, "text/event-stream")).await
}

pub async fn snapshot(service: &Service, id: &str) -> Value {
    service.get(&format!("/v1/generations/{id}")).await.json().await
}

/// Waits until the generation is cancelled for this reason.
async fn ended_as(service: &Service, id: &str, reason: &str) {
    let ended = soon(async {
        loop {
            let state = snapshot(service, id).await;
            if state["status"] != "running" {
                return state;
            }
        }
    });
    let ended = ended.await;
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("cancelled"), &json!(reason)));
}

pub async fn finish(mut call: Call) {
    call.text("!").await;
    call.finish("stop").await;
    call.done().await;
}

#[tokio::test]
async fn viewer_resumes_on_another_replica_with_the_same_bytes() {
    let deployment = Deployment::new().await;
    let [one, other] = deployment.replicas().await;
    let (mut first, mut call, id) = begin(&one, &deployment.upstream).await;
    let mut elsewhere = follow(&other, &id, None).await;
    elsewhere.expect("start").await;
    let seen = elsewhere.expect("delta").await;
    call.text("lo").await;
    let live = first.expect("delta").await;
    assert_eq!(elsewhere.expect("delta").await, live, "live on both");
    drop(elsewhere);
    let resumed = follow(&other, &id, Some(&seen)).await;
    finish(call).await;
    let rest = first.events().await;
    assert_eq!(text(&rest), "!");
    let parts = |events: Vec<Event>| -> Vec<_> {
        events.into_iter().map(|Event { name, data, id, .. }| (name, data, id)).collect()
    };
    assert_eq!(parts(resumed.events().await), parts([&[live][..], &rest].concat()));
    let replayed = follow(&other, &id, None).await.events().await;
    assert_eq!(text(&replayed), "Hello!");
    assert_eq!(snapshot(&other, &id).await["text"], "Hello!");
}

#[tokio::test]
async fn stop_and_erase_from_another_replica_close_the_upstream() {
    for erase in [false, true] {
        let deployment = Deployment::new().await;
        let [one, other] = deployment.replicas().await;
        let (first, mut call, id) = begin(&one, &deployment.upstream).await;
        let elsewhere = follow(&other, &id, None).await;
        let asked = if erase {
            other.request(Method::DELETE, &format!("/v1/generations/{id}"))
        } else {
            other.request(Method::POST, &format!("/v1/generations/{id}/cancel"))
        };
        let answer = Answer::to(asked).await;
        assert_eq!(answer.status, if erase { 204 } else { 200 });
        call.closed().await;
        let told = first.events().await;
        let [ending] = told.as_slice() else { panic!("one terminal event: {told:?}") };
        assert_eq!((ending.name.as_str(), &ending.data["reason"]), ("cancelled", &json!("client_request")));
        assert_eq!(elsewhere.events().await.last(), Some(ending));
        for service in [&one, &other] {
            let found = service.get(&format!("/v1/generations/{id}")).await.status;
            assert_eq!(found, if erase { 404 } else { 200 });
            service.metric_becomes("tokenrill_viewers_live", 0.0).await;
        }
        one.metric_becomes("tokenrill_generations_live", 0.0).await;
    }
}

#[tokio::test]
async fn grace_counts_the_viewers_of_all_replicas() {
    let deployment = Deployment::new().await;
    let (one, other) = (deployment.with_grace(Duration::from_millis(700)).await, deployment.replica().await);
    let (first, mut call, id) = begin(&one, &deployment.upstream).await;
    let mut elsewhere = follow(&other, &id, None).await;
    elsewhere.expect("start").await;
    elsewhere.expect("delta").await;
    drop(first);
    one.metric_becomes("tokenrill_viewers_live", 0.0).await;
    // A real wait, by Redis' clock. It is longer than the grace: the viewer of the other replica keeps the generation
    // running.
    sleep(Duration::from_millis(1400)).await;
    call.text("lo").await;
    elsewhere.expect("delta").await;
    let left = Instant::now();
    drop(elsewhere);
    call.closed().await;
    assert!(left.elapsed() >= Duration::from_millis(700), "{:?}", left.elapsed());
    ended_as(&other, &id, "abandoned").await;
}

#[tokio::test]
async fn without_grace_the_last_viewer_of_any_replica_ends_the_generation_at_once() {
    let deployment = Deployment::new().await;
    let (one, other) = (deployment.with_grace(Duration::ZERO).await, deployment.replica().await);
    let (first, mut call, id) = begin(&one, &deployment.upstream).await;
    let mut elsewhere = follow(&other, &id, None).await;
    elsewhere.expect("start").await;
    drop(first);
    one.metric_becomes("tokenrill_viewers_live", 0.0).await;
    call.text("lo").await;
    elsewhere.expect("delta").await;
    elsewhere.expect("delta").await;
    drop(elsewhere);
    call.closed().await;
    ended_as(&one, &id, "abandoned").await;
}

#[tokio::test]
async fn repeats_of_a_request_on_all_replicas_are_one_generation() {
    let deployment = Deployment::new().await;
    let replicas = deployment.replicas().await;
    let repeats = join_all((0..20).map(|at| {
        let request = replicas[at % 2].generation(&json!({"input": "Hello"}));
        Answer::to(request.header(ACCEPT, "text/event-stream").header("Idempotency-Key", "order-1"))
    }));
    let answers = repeats.await;
    let mut call = deployment.upstream.call().await;
    call.ok().await;
    finish(call).await;
    let streams = join_all(answers.into_iter().map(Answer::events)).await;
    for stream in &streams {
        assert_eq!((text(stream).as_str(), stream.len()), ("!", streams[0].len()));
        assert_eq!(stream[0].generation(), streams[0][0].generation());
    }
    assert!(!deployment.upstream.was_called(), "one call");
    let other = replicas[1].generation(&json!({"input": "Another"})).header("Idempotency-Key", "order-1");
    assert_eq!(Answer::to(other).await.status, 422);
}

/// A replica in a process of its own, and its generation.
struct OtherProcess {
    process: ServiceProcess,
    first: Answer,
    call: Call,
    id: String,
    /// The first token.
    seen: Event,
}

impl OtherProcess {
    async fn begin(deployment: &Deployment, hold: Duration) -> Self {
        Self::begin_with(deployment, hold, &json!({"input": "Hello"})).await
    }

    /// Starts a replica, with this request.
    async fn begin_with(deployment: &Deployment, hold: Duration, body: &Value) -> Self {
        let process = Self::start(deployment, hold).await;
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let generation = http.post(format!("http://{}/v1/generations", process.address));
        let request = generation.header("content-type", "application/json").header(ACCEPT, "text/event-stream");
        let mut first = Answer::to(request.body(body.to_string())).await;
        let id = first.expect("start").await.generation().to_owned();
        let mut call = deployment.upstream.call().await;
        call.ok().await;
        call.text("Hel").await;
        let seen = first.expect("delta").await;
        Self { process, first, call, id, seen }
    }

    async fn start(deployment: &Deployment, hold: Duration) -> ServiceProcess {
        let (mut settings, environment) = deployment.settings();
        let name = format!("redis-{}-{}", std::process::id(), unique_prefix());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&file, environment.values().next().expect("an address")).expect("written");
        settings.event_log.redis.url_env = None;
        settings.event_log.redis.url_file = Some(file.clone());
        settings.event_log.redis.hold = hold;
        let process = ServiceProcess::start(&settings).await;
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let readyz = format!("http://{}/readyz", process.address);
        soon(async { while !http.get(&readyz).send().await.is_ok_and(|answer| answer.status() == 200) {} }).await;
        fs::remove_file(file).expect("it is there");
        process
    }
}

#[tokio::test]
async fn generation_of_a_killed_replica_ends_as_replica_lost_within_the_lease() {
    let deployment = Deployment::new().await;
    let OtherProcess { process: killed, mut call, id, seen, .. } = OtherProcess::begin(&deployment, LEASE / 3).await;
    let other = deployment.replica().await;
    let mut elsewhere = follow(&other, &id, None).await;
    elsewhere.expect("start").await;
    elsewhere.expect("delta").await;
    let began = Instant::now();
    killed.kill().await;
    call.closed().await;
    let ending = elsewhere.expect("failed").await;
    assert!(began.elapsed() < LEASE + Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!((&ending.data["error"]["code"], &ending.data["error"]["status"]), (&json!("replica_lost"), &json!(503)));
    assert!(elsewhere.next().await.is_none());
    assert_eq!(follow(&other, &id, Some(&seen)).await.events().await, std::slice::from_ref(&ending), "exactly once");
    // Its id names the second owner: the first one may have shown another entry under the number.
    assert_eq!(ending.id, Some(format!("{id}.2.3")));
    let state = snapshot(&other, &id).await;
    assert_eq!((&state["text"], &state["last_event_id"]), (&json!("Hel"), &json!(ending.id)));
    for (after, status) in [("2.3", 204), (&format!("{id}.2.3"), 204), ("3", 410), ("2", 200)] {
        assert_eq!(other.get(&format!("/v1/generations/{id}/events?after={after}")).await.status, status, "{after}");
    }
    // The first owner's events of a response have the numbers 0 to 4.
    let response = id.replace("gen_", "resp_");
    for (number, status) in [(4, 200), (5, 410), (9, 410)] {
        let path = format!("/v1/responses/{response}?stream=true&starting_after={number}");
        assert_eq!(other.get(&path).await.status, status, "{number}");
    }
}

/// Two faults at once: a token that was shown while Redis was silent, and then lost with its replica.
#[tokio::test]
async fn viewer_that_is_ahead_of_the_log_of_a_killed_replica_learns_that_its_history_is_lost() {
    let deployment = Deployment::new().await;
    let hold = Duration::from_millis(200);
    let OtherProcess { process: killed, mut first, mut call, id, .. } = OtherProcess::begin(&deployment, hold).await;
    let other = deployment.replica().await;
    deployment.redis.pause();
    let mut shown = Vec::new();
    for part in ["a", "b", "c"] {
        call.text(part).await;
        shown.push(first.expect("delta").await);
    }
    killed.kill().await;
    deployment.redis.resume();
    let log = follow(&other, &id, None).await.events().await;
    let ending = log.last().expect("an end");
    assert_eq!((ending.name.as_str(), &ending.data["error"]["code"]), ("failed", &json!("replica_lost")));
    let kept = ending.sequence() - 1;
    for token in shown {
        let resumed = follow(&other, &id, Some(&token)).await;
        if token.sequence() <= kept {
            assert_eq!(resumed.events().await.last(), Some(ending));
        } else {
            assert_eq!(resumed.status, 410, "{token:?}");
            assert_eq!(resumed.events().await[0].data["error"]["code"], "history_lost");
        }
    }
    let waiting = other.get(&format!("/v1/generations/{id}?after={}&wait=1s", kept + 1)).await;
    assert_eq!(waiting.status, 410);
}

#[tokio::test]
async fn tokens_are_held_back_while_redis_is_silent_for_less_than_the_hold() {
    let deployment = Deployment::new().await;
    let (mut settings, environment) = deployment.settings();
    settings.event_log.redis.hold = Duration::from_mins(1);
    let service = ready(Service::in_environment(settings, environment).await).await;
    let (mut first, mut call, _) = begin(&service, &deployment.upstream).await;
    deployment.redis.pause();
    call.text("lo").await;
    // A token that is not stored must not arrive; there is nothing to wait for.
    let early = tokio::time::timeout(Duration::from_millis(300), first.next()).await;
    assert!(early.is_err(), "{early:?}");
    deployment.redis.resume();
    first.expect("delta").await;
    finish(call).await;
    assert_eq!(text(&first.events().await), "!");
}

#[tokio::test]
async fn tokens_that_are_written_behind_are_sent_at_once_and_the_end_after_it_is_stored() {
    let deployment = Deployment::new().await;
    let (mut settings, environment) = deployment.settings();
    settings.event_log.redis.write = RedisWrite::Behind;
    settings.event_log.redis.hold = Duration::from_mins(1);
    let service = ready(Service::in_environment(settings, environment).await).await;
    let (mut first, mut call, _) = begin(&service, &deployment.upstream).await;
    deployment.redis.pause();
    call.text("lo").await;
    first.expect("delta").await;
    call.finish("stop").await;
    call.done().await;
    // The end is not stored, so it must not arrive; there is nothing to wait for.
    let early = tokio::time::timeout(Duration::from_millis(300), first.next()).await;
    assert!(early.is_err(), "{early:?}");
    deployment.redis.resume();
    first.expect("done").await;
}

#[tokio::test]
async fn append_that_was_carried_out_before_redis_was_full_is_not_lost() {
    let deployment = Deployment::new().await;
    let proxy = LossyProxy::start(deployment.redis.port()).await;
    let (settings, mut environment) = deployment.settings();
    let one = ready(Service::in_environment(settings, environment.clone()).await).await;
    environment.insert("REDIS".to_owned(), format!("redis://127.0.0.1:{}", proxy.port));
    let (settings, _) = deployment.settings();
    let owner = ready(Service::in_environment(settings, environment).await).await;
    let (mut first, mut call, id) = begin_silent(&owner, &deployment.upstream).await;
    proxy.hold_new_connections();
    // Its append is carried out, and its reply is lost.
    call.text("Hel").await;
    soon(async { while snapshot(&one, &id).await["text"] != "Hel" {} }).await;
    let _: () = deployment.redis.command(cmd("CONFIG").arg(&["SET", "maxmemory", "1"]));
    proxy.admit_new_connections();
    first.expect("delta").await;
    let _: () = deployment.redis.command(cmd("CONFIG").arg(&["SET", "maxmemory", "0"]));
    finish(call).await;
    assert_eq!(text(&first.events().await), "!");
    assert_eq!(text(&follow(&one, &id, None).await.events().await), "Hel!");
}

#[tokio::test]
async fn viewers_of_the_owner_go_on_while_redis_is_silent_for_longer_than_the_hold() {
    let deployment = Deployment::new().await;
    let (mut settings, environment) = deployment.settings();
    settings.event_log.redis.lease = Duration::from_secs(20);
    settings.event_log.redis.hold = Duration::from_millis(200);
    let one = ready(Service::in_environment(settings, environment).await).await;
    let other = deployment.replica().await;
    let (mut first, mut call, id) = begin(&one, &deployment.upstream).await;
    let mut elsewhere = follow(&other, &id, None).await;
    elsewhere.expect("start").await;
    elsewhere.expect("delta").await;
    deployment.redis.pause();
    for part in ["a", "b", "c"] {
        call.text(part).await;
        assert_eq!(first.expect("delta").await.data["text"], part);
    }
    assert_eq!(refusal(&one).await, (503, json!("event_log_unavailable")));
    assert_eq!(other.get("/readyz").await.status, 503);
    let stopped = Answer::to(other.request(Method::POST, &format!("/v1/generations/{id}/cancel")));
    assert_eq!(within(Duration::from_secs(6), stopped).await.status, 503);
    deployment.redis.resume();
    for part in ["a", "b", "c"] {
        assert_eq!(elsewhere.expect("delta").await.data["text"], part, "each once, on the other replica too");
    }
    finish(call).await;
    assert_eq!(first.events().await, elsewhere.events().await);
}

/// Returns the status and the code with which the replica refuses a generation.
async fn refusal(service: &Service) -> (u16, Value) {
    let request = service.generation(&json!({"input": "Hello"})).header(ACCEPT, "application/json");
    let answer = Answer::to(request).await;
    (answer.status, answer.json().await["code"].clone())
}

/// Redis loses everything: the owner, which has the whole log in memory, writes it again.
#[tokio::test]
async fn log_that_redis_has_lost_is_written_again_by_its_owner() {
    for restart in [false, true] {
        let mut deployment = Deployment::new().await;
        let [one, other] = deployment.replicas().await;
        let (first, mut call, id) = begin(&one, &deployment.upstream).await;
        if restart {
            deployment.redis.restart();
        } else {
            let _: () = deployment.redis.command(&cmd("FLUSHALL"));
        }
        assert_eq!(snapshot(&one, &id).await["text"], "Hel", "its owner has it");
        call.text("lo").await;
        finish(call).await;
        assert_eq!(text(&first.events().await), "lo!");
        let whole = soon(async {
            loop {
                let answer = follow(&other, &id, None).await;
                if answer.status == 200 {
                    return answer.events().await;
                }
            }
        });
        assert_eq!(text(&whole.await), "Hello!", "restart: {restart}");
    }
}

#[tokio::test]
async fn full_redis_refuses_new_generations_and_ends_running_ones() {
    let deployment = Deployment { redis: RedisServer::with_options("--maxmemory 3mb"), ..Deployment::new().await };
    let [one, other] = deployment.replicas().await;
    let (mut first, mut call, id) = begin(&one, &deployment.upstream).await;
    let client = redis::Client::open(deployment.redis.url()).expect("an address");
    let mut connection = client.get_connection().expect("it runs");
    let mut fill = || {
        for size in [64 << 10, 4 << 10, 64] {
            let filler = "x".repeat(size);
            while cmd("RPUSH").arg("filler").arg(&filler).query::<()>(&mut connection).is_ok() {}
        }
    };
    fill();
    call.text("lo").await;
    let ending = first.expect("failed").await;
    assert_eq!(ending.data["error"]["code"], "overloaded");
    assert!(first.next().await.is_none());
    assert_eq!(follow(&other, &id, None).await.events().await.last(), Some(&ending));
    fill();
    assert_eq!(refusal(&one).await, (503, json!("overloaded")));
}

#[tokio::test]
async fn every_key_has_the_prefix_and_expires_and_none_names_the_request() {
    let deployment = Deployment::new().await;
    let [one, other] = deployment.replicas().await;
    let request = one.generation(&json!({"input": "a secret prompt"})).header("Idempotency-Key", "secret-order");
    let mut first = Answer::to(request.header(ACCEPT, "text/event-stream")).await;
    let id = first.expect("start").await.generation().to_owned();
    let mut call = deployment.upstream.call().await;
    call.ok().await;
    let elsewhere = follow(&other, &id, None).await;
    let check = || {
        let keys: Vec<String> = deployment.redis.command(cmd("KEYS").arg("*"));
        assert!(keys.len() >= 3, "{keys:?}");
        for key in keys {
            assert!(key.starts_with(&format!("{}:", deployment.prefix)) && !key.contains("secret"), "{key}");
            let expiry: i64 = deployment.redis.command(cmd("PTTL").arg(&key));
            assert!(expiry > 0, "{key} never expires");
        }
    };
    check();
    finish(call).await;
    first.events().await;
    elsewhere.events().await;
    check();
}

#[tokio::test]
async fn server_that_may_evict_answers_is_not_ready() {
    let deployment = Deployment::new().await;
    let service = deployment.replica().await;
    let _: () = deployment.redis.command(cmd("CONFIG").arg("SET").arg("maxmemory-policy").arg("allkeys-lru"));
    let answer = service.get("/readyz").await;
    assert_eq!((answer.status, answer.json().await["code"].clone()), (503, json!("event_log_unavailable")));
}

#[tokio::test]
async fn owner_serves_its_own_log_of_any_length() {
    let deployment = Deployment::new().await;
    let [one, other] = deployment.replicas().await;
    let (mut first, mut call, id) = begin(&one, &deployment.upstream).await;
    // More appends than one read of Redis returns.
    for _ in 0..300 {
        call.text("x").await;
        first.expect("delta").await;
    }
    for service in [&one, &other] {
        assert_eq!(snapshot(service, &id).await["text"].as_str().map(str::len), Some(303));
    }
    finish(call).await;
    assert_eq!(follow(&one, &id, None).await.events().await.len(), 304);
}

#[tokio::test]
async fn key_of_a_request_that_was_refused_while_redis_was_silent_is_free_again() {
    let deployment = Deployment::new().await;
    let service = deployment.replica().await;
    let request = || {
        let request = service.generation(&json!({"input": "Hello"})).header("Idempotency-Key", "order-1");
        request.header(ACCEPT, "text/event-stream")
    };
    deployment.redis.pause();
    assert_eq!(Answer::to(request()).await.status, 503);
    deployment.redis.resume();
    // The refused create may be carried out now, and is then undone: a repeat in between fails as lost.
    let answered = soon(async {
        loop {
            let answer = Answer::to(request()).await;
            if answer.status != 200 {
                continue;
            }
            let mut answered = Box::pin(answer.events());
            tokio::select! {
                events = &mut answered => assert_eq!(events.last().expect("an end").data["error"]["code"], "replica_lost"),
                Some(mut call) = deployment.upstream.next_call() => {
                    call.ok().await;
                    finish(call).await;
                    return answered.await;
                }
            }
        }
    });
    assert_eq!(text(&answered.await), "!");
}

#[tokio::test]
async fn call_whose_reply_is_lost_is_repeated_and_carried_out_once_for_every_script() {
    let deployment = Deployment::new().await;
    let proxy = LossyProxy::start(deployment.redis.port()).await;
    let (mut settings, mut environment) = deployment.settings();
    environment.insert("REDIS".to_owned(), format!("redis://127.0.0.1:{}", proxy.port));
    settings.generation.grace = Duration::from_millis(500);
    let one = ready(Service::in_environment(settings.clone(), environment.clone()).await).await;
    let other = ready(Service::in_environment(settings, environment).await).await;

    // Create, append, read, renew, join, close.
    let keyed = one.generation(&json!({"input": "Hello"})).header("Idempotency-Key", "order-1");
    let mut first = Answer::to(keyed.header(ACCEPT, "text/event-stream")).await;
    let id = first.expect("start").await.generation().to_owned();
    let mut call = deployment.upstream.call().await;
    call.ok().await;
    call.text("Hel").await;
    first.expect("delta").await;
    let elsewhere = follow(&other, &id, None).await;
    // A real wait, by Redis' clock. It is longer than a third of the lease, so the silent owner renews it.
    sleep(LEASE / 2).await;
    call.text("lo").await;
    finish(call).await;
    assert_eq!(text(&first.events().await), "lo!");
    assert_eq!(text(&elsewhere.events().await), "Hello!");
    let repeat = one.generation(&json!({"input": "Hello"})).header("Idempotency-Key", "order-1");
    assert_eq!(text(&Answer::to(repeat.header(ACCEPT, "text/event-stream")).await.events().await), "Hello!");
    assert!(!deployment.upstream.was_called(), "one call");

    // A stop from elsewhere, leave, shut, remove.
    let (first, mut call, id) = begin(&one, &deployment.upstream).await;
    let stop = other.request(Method::POST, &format!("/v1/generations/{id}/cancel"));
    assert_eq!(Answer::to(stop).await.status, 200);
    call.closed().await;
    assert_eq!(first.events().await.len(), 1, "one terminal event");
    let (first, mut call, id) = begin(&one, &deployment.upstream).await;
    drop(first);
    call.closed().await;
    ended_as(&other, &id, "abandoned").await;
    let erase = other.request(Method::DELETE, &format!("/v1/generations/{id}"));
    assert_eq!(Answer::to(erase).await.status, 204);
    assert_eq!(one.get(&format!("/v1/generations/{id}")).await.status, 404);
    // All but those that follow a failure before the upstream call, and a lost owner; and that of the sums of usage.
    assert_eq!(proxy.lost(), 11, "scripts");
}
