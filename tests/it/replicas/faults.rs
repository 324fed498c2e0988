//! Redis absent, restarted with its file, slow, without messages; and stops meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use redis::cmd;
use reqwest::Method;
use serde_json::json;
use tokenrill::settings::Settings;

use super::{Deployment, LEASE, begin, begin_silent, finish, follow, ready, refusal, snapshot};
use crate::support::lossy_proxy::LossyProxy;
use crate::support::redis_server::RedisServer;
use crate::support::slow_proxy::SlowProxy;
use crate::support::{Answer, Service, free_port, soon, text, within};

/// Starts a replica whose connections to Redis go through a proxy.
async fn replica_through(deployment: &Deployment, port: u16) -> Service {
    let (settings, environment) = through(deployment, port);
    ready(Service::in_environment(settings, environment).await).await
}

fn through(deployment: &Deployment, port: u16) -> (Settings, BTreeMap<String, String>) {
    let (settings, mut environment) = deployment.settings();
    environment.insert("REDIS".to_owned(), format!("redis://127.0.0.1:{port}"));
    (settings, environment)
}

async fn stop(service: &Service, id: &str) -> u16 {
    Answer::to(service.request(Method::POST, &format!("/v1/generations/{id}/cancel"))).await.status
}

#[tokio::test]
async fn service_that_starts_before_redis_refuses_generations_until_redis_answers() {
    let deployment = Deployment::new().await;
    let port = free_port();
    let (settings, environment) = through(&deployment, port);
    let service = Service::in_environment(settings, environment).await;
    assert_eq!(service.get("/healthz").await.status, 200);
    assert_eq!(service.get("/readyz").await.status, 503);
    assert_eq!(refusal(&service).await, (503, json!("event_log_unavailable")));
    let _redis = RedisServer::start_at(port);
    let service = ready(service).await;
    let (first, call, _) = begin(&service, &deployment.upstream).await;
    finish(call).await;
    assert_eq!(text(&first.events().await), "!");
}

#[tokio::test]
async fn redis_that_restarts_with_its_file_has_all_answers_and_running_ones_go_on() {
    let mut deployment = Deployment::new().await;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("file-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let options = format!("--appendonly yes --appendfsync always --dir {}", folder.display());
    deployment.redis = RedisServer::with_options(&options);
    let [one, other] = deployment.replicas().await;
    let (ended, call, ended_id) = begin(&one, &deployment.upstream).await;
    finish(call).await;
    ended.events().await;
    let (first, mut call, id) = begin(&one, &deployment.upstream).await;
    deployment.redis.restart();
    call.text("lo").await;
    finish(call).await;
    assert_eq!(text(&first.events().await), "lo!");
    let other = ready(other).await;
    assert_eq!(text(&follow(&other, &id, None).await.events().await), "Hello!");
    assert_eq!(text(&follow(&other, &ended_id, None).await.events().await), "Hel!");
    fs::remove_dir_all(folder).expect("it is there");
}

#[tokio::test]
async fn redis_that_takes_200_ms_for_each_command_delays_tokens_and_loses_none() {
    let deployment = Deployment::new().await;
    let proxy = SlowProxy::start(deployment.redis.port(), Duration::from_millis(200)).await;
    let slow = replica_through(&deployment, proxy.port).await;
    let other = deployment.replica().await;
    let (mut first, mut call, id) = begin(&slow, &deployment.upstream).await;
    let elsewhere = follow(&other, &id, None).await;
    let mut expected = String::new();
    for number in 0..20 {
        let token = format!("{number} ");
        call.text(&token).await;
        expected += &token;
    }
    let mut seen = String::new();
    while seen != expected {
        seen += first.expect("delta").await.data["text"].as_str().expect("text");
    }
    finish(call).await;
    assert_eq!(text(&first.events().await), "!");
    assert_eq!(text(&elsewhere.events().await), format!("Hel{expected}!"));
    let (_, mut call, id) = begin(&slow, &deployment.upstream).await;
    assert_eq!(stop(&slow, &id).await, 200);
    call.closed().await;
}

#[tokio::test]
async fn stop_from_another_replica_reaches_an_owner_whose_append_is_not_answered() {
    let deployment = Deployment::new().await;
    let proxy = LossyProxy::start(deployment.redis.port()).await;
    let owner = replica_through(&deployment, proxy.port).await;
    let other = deployment.replica().await;
    let (_first, mut call, id) = begin_silent(&owner, &deployment.upstream).await;
    proxy.hold_new_connections();
    // The connection breaks before the reply, and a new one is not admitted. That for messages stays.
    call.text("Hel").await;
    soon(async { while snapshot(&other, &id).await["text"] != "Hel" {} }).await;
    let (stopped, ()) = tokio::join!(stop(&other, &id), async {
        call.closed().await;
        proxy.admit_new_connections();
    });
    assert_eq!(stopped, 200);
    let state = snapshot(&other, &id).await;
    assert_eq!((&state["status"], &state["text"]), (&json!("cancelled"), &json!("Hel")));
}

#[tokio::test]
async fn stop_reaches_the_owner_within_a_renewal_while_no_message_is_delivered() {
    let deployment = Deployment::new().await;
    let [owner, other] = deployment.replicas().await;
    let (first, mut call, id) = begin(&owner, &deployment.upstream).await;
    let _: () = deployment.redis.command(cmd("ACL").arg(&["SETUSER", "default", "-subscribe"]));
    let _: i64 = deployment.redis.command(cmd("CLIENT").arg(&["KILL", "TYPE", "pubsub"]));
    soon(async { while owner.get("/readyz").await.status == 200 {} }).await;
    assert_eq!(stop(&other, &id).await, 200);
    within(LEASE, call.closed()).await;
    assert_eq!(first.events().await.last().expect("an end").name, "cancelled");
}
