//! Replicas that share a Redis Cluster of three nodes.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use redis::cmd;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::json;

use crate::replica_money::{Keys, generate, has_attempts, replica_at, settings};
use crate::replicas::{begin, finish, follow, ready, snapshot};
use crate::support::cluster::Cluster;
use crate::support::redis_server::{RedisServer, unique_prefix, use_redis};
use crate::support::{Answer, Service, Upstream, soon, text};

struct Deployment {
    redis: Cluster,
    upstream: Upstream,
    prefix: String,
}

impl Deployment {
    async fn new() -> Self {
        Self { redis: Cluster::start().await, upstream: Upstream::start().await, prefix: unique_prefix() }
    }

    async fn replica(&self) -> Service {
        let (mut settings, mut environment) = (Service::settings(&self.upstream.base_url()), BTreeMap::new());
        use_redis(self.redis.url(), &mut settings, &mut environment, &self.prefix);
        ready(Service::in_environment(settings, environment).await).await
    }

    /// Starts two replicas.
    async fn replicas(&self) -> [Service; 2] {
        [self.replica().await, self.replica().await]
    }

    /// Returns the keys of a node.
    fn keys(node: &RedisServer) -> Vec<String> {
        node.command(cmd("KEYS").arg("*"))
    }
}

/// Generations enough for all nodes to have some, except once in thousands of runs.
const GENERATIONS: usize = 24;

#[tokio::test]
async fn viewer_resumes_and_stops_on_another_replica_on_every_node() {
    let deployment = Deployment::new().await;
    let [one, other] = deployment.replicas().await;
    for number in 0..GENERATIONS {
        let (mut first, mut call, id) = begin(&one, &deployment.upstream).await;
        let mut elsewhere = follow(&other, &id, None).await;
        elsewhere.expect("start").await;
        let seen = elsewhere.expect("delta").await;
        call.text("lo").await;
        assert_eq!(first.expect("delta").await, elsewhere.expect("delta").await, "live on both");
        drop(elsewhere);
        let resumed = follow(&other, &id, Some(&seen)).await;
        if number % 2 == 0 {
            finish(call).await;
            assert_eq!(text(&resumed.events().await), "lo!");
            assert_eq!(snapshot(&other, &id).await["text"], "Hello!");
        } else {
            let stop = other.request(Method::POST, &format!("/v1/generations/{id}/cancel"));
            assert_eq!(Answer::to(stop).await.status, 200);
            call.closed().await;
            assert_eq!(resumed.events().await.last().expect("an ending").name, "cancelled");
        }
    }
    for node in &deployment.redis.nodes {
        assert!(!Deployment::keys(node).is_empty(), "the keys are spread over the nodes");
    }
}

#[tokio::test]
async fn repeats_of_a_request_on_all_replicas_are_one_generation() {
    let deployment = Deployment::new().await;
    let replicas = deployment.replicas().await;
    // Several keys, whose claims are on several nodes.
    for order in 0..6 {
        let repeats = join_all((0..30).map(|at| {
            let request = replicas[at % 2].generation(&json!({"input": "Hello"}));
            Answer::to(request.header(ACCEPT, "text/event-stream").header("Idempotency-Key", format!("order-{order}")))
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
    }
}

#[tokio::test]
async fn caller_lists_and_erases_generations_of_all_nodes() {
    let deployment = Deployment::new().await;
    let (mut settings, mut environment) = (Service::settings(&deployment.upstream.base_url()), BTreeMap::new());
    use_redis(deployment.redis.url(), &mut settings, &mut environment, &deployment.prefix);
    let (service, keys) = Service::guarded_in(settings, environment, &[("web", &["generate", "follow", "stop"])]).await;
    let key = &keys["web"];
    let mut ids = Vec::new();
    for number in 0..GENERATIONS {
        let request = service.generation(&json!({"input": "a secret prompt"})).bearer_auth(key);
        let request = request.header("Idempotency-Key", format!("secret-order-{number}"));
        let mut answer = Answer::to(request.header(ACCEPT, "text/event-stream")).await;
        ids.push(answer.expect("start").await.generation().to_owned());
        let mut call = deployment.upstream.call().await;
        call.ok().await;
        finish(call).await;
        answer.events().await;
    }
    for node in &deployment.redis.nodes {
        for key in Deployment::keys(node) {
            assert!(key.starts_with(&format!("{}:", deployment.prefix)), "{key}");
            assert!(!key.contains("secret") && !key.contains("web"), "{key}");
            let expiry: i64 = node.command(cmd("PTTL").arg(&key));
            assert!(expiry > 0, "{key} never expires");
        }
    }
    let listed = async || {
        let list = service.request(Method::GET, "/v1/generations?limit=100").bearer_auth(key);
        Answer::to(list).await.json().await["data"].as_array().expect("a list").len()
    };
    assert_eq!(listed().await, GENERATIONS);
    for id in ids {
        let erase = service.request(Method::DELETE, &format!("/v1/generations/{id}")).bearer_auth(key);
        assert_eq!(Answer::to(erase).await.status, 204);
    }
    assert_eq!(listed().await, 0);
}

#[tokio::test]
async fn replica_holds_few_connections() {
    let deployment = Deployment::new().await;
    let replica = deployment.replica().await;
    let (first, call, _) = begin(&replica, &deployment.upstream).await;
    let connections = |node: &RedisServer| -> usize {
        let clients: String = node.command(cmd("CLIENT").arg("LIST").arg("TYPE").arg("normal"));
        let messages: String = node.command(cmd("CLIENT").arg("LIST").arg("TYPE").arg("pubsub"));
        // Without the test's own.
        clients.lines().count() + messages.lines().count() - 1
    };
    let all: usize = deployment.redis.nodes.iter().map(connections).sum();
    assert!((4..=6).contains(&all), "one for each node, one for messages: {all}");
    finish(call).await;
    first.events().await;
}

#[tokio::test]
async fn replica_is_not_ready_while_a_node_is_missing() {
    let mut deployment = Deployment::new().await;
    let replica = deployment.replica().await;
    deployment.redis.nodes[2].kill();
    soon(async { while replica.get("/readyz").await.status == 200 {} }).await;
}

#[tokio::test]
async fn budgets_and_sums_of_two_replicas_are_exact_in_a_cluster() {
    let (redis, prefix, keys) = (Cluster::start().await, unique_prefix(), Keys::new());
    let replicas = [
        replica_at(redis.url(), &prefix, settings(&keys, "0.3")).await,
        replica_at(redis.url(), &prefix, settings(&keys, "0.3")).await,
    ];
    let mut admitted = 0;
    for service in replicas.iter().cycle().take(6) {
        let answer = generate(service, &keys.web).await;
        if answer.status == 200 {
            admitted += 1;
            answer.events().await;
        }
    }
    assert_eq!(admitted, 3);
    for service in &replicas {
        assert_eq!(has_attempts(service, &keys.ops, 3).await["data"][0]["cost"].to_string(), "0.3");
    }
}
