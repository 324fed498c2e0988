//! A primary that sentinels replace: the connections of every replica move to the new one, and no answer loses a token.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::cmd;
use tokenrill::settings::Settings;

use crate::replicas::{begin, finish, follow, ready};
use crate::support::redis_server::{RedisServer, unique_prefix};
use crate::support::sentinels::Sentinels;
use crate::support::{Event, Service, Upstream, text, within};

/// Time for a failover: sentinels elect a leader, which takes a second or two, and waits between elections.
const FAILOVER: Duration = Duration::from_secs(20);
/// The longest lease that the settings permit, so that it does not end during the failover.
const LEASE: Duration = Duration::from_secs(12);

struct Deployment {
    redis: Sentinels,
    upstream: Upstream,
    prefix: String,
}

impl Deployment {
    async fn new() -> Self {
        Self { redis: Sentinels::start().await, upstream: Upstream::start().await, prefix: unique_prefix() }
    }

    async fn replica(&self) -> Service {
        let (mut settings, mut environment): (Settings, _) =
            (Service::settings(&self.upstream.base_url()), BTreeMap::new());
        self.redis.serve(&mut settings, &mut environment, &self.prefix);
        settings.event_log.redis.lease = LEASE;
        settings.event_log.redis.hold = Duration::from_millis(200);
        ready(Service::in_environment(settings, environment).await).await
    }
}

fn parts(events: &[Event]) -> Vec<(Option<String>, serde_json::Value)> {
    events.iter().map(|Event { data, id, .. }| (id.clone(), data.clone())).collect()
}

/// Returns the command that counts the batches of a log.
fn length(prefix: &str, id: &str) -> redis::Cmd {
    let mut length = cmd("XLEN");
    length.arg(format!("{prefix}:{{{}}}:g:{id}:e", &id[4..6]));
    length
}

/// The new primary has not received the last tokens that the old one has acknowledged.
#[tokio::test]
async fn stream_runs_through_a_failover_that_loses_acknowledged_tokens() {
    let mut deployment = Deployment::new().await;
    let [one, other] = [deployment.replica().await, deployment.replica().await];
    let (mut first, mut call, id) = begin(&one, &deployment.upstream).await;
    let mut elsewhere = follow(&other, &id, None).await;
    let start = elsewhere.expect("start").await;
    let mut seen = vec![start, elsewhere.expect("delta").await];

    deployment.redis.cut_replication();
    for part in [" a", " b", " c"] {
        call.text(part).await;
        first.expect("delta").await;
        seen.push(elsewhere.expect("delta").await);
    }
    let stored = |server: &RedisServer| -> u64 { server.command(&length(&deployment.prefix, &id)) };
    assert!(stored(&deployment.redis.replica) < stored(&deployment.redis.primary), "the failover loses tokens");
    deployment.redis.primary.kill();
    for part in [" d", " e"] {
        call.text(part).await;
        within(FAILOVER, first.expect("delta")).await;
    }
    seen.push(within(FAILOVER, elsewhere.expect("delta")).await);
    assert_eq!(deployment.redis.replica.info("role"), "master", "the answer goes on because of the failover");
    finish(call).await;

    seen.extend(elsewhere.events().await);
    let rest = first.events().await;
    assert_eq!(text(&seen), "Hel a b c d e!");
    assert_eq!(rest.iter().filter(|event| event.name == "done").count(), 1);
    let kept = follow(&other, &id, None).await.events().await;
    assert_eq!(parts(&seen), parts(&kept), "the viewer of the other replica has what the log has");
    assert_eq!(parts(&rest), parts(&kept[kept.len() - rest.len()..]), "and the viewer of the owner");
}

/// The old primary stays, as a replica of the new one, and refuses writes.
#[tokio::test]
async fn connections_move_to_the_new_primary_in_a_planned_failover() {
    let deployment = Deployment::new().await;
    let [one, other] = [deployment.replica().await, deployment.replica().await];
    let (mut first, mut call, id) = begin(&one, &deployment.upstream).await;
    let mut elsewhere = follow(&other, &id, None).await;
    elsewhere.expect("start").await;
    elsewhere.expect("delta").await;
    deployment.redis.fail_over();
    deployment.redis.primary.info_becomes("role", "slave").await;
    call.text("lo").await;
    assert_eq!(first.expect("delta").await, elsewhere.expect("delta").await);
    finish(call).await;
    assert_eq!(first.events().await, elsewhere.events().await);
    for replica in [one, other] {
        let (mut first, mut call, _) = begin(&ready(replica).await, &deployment.upstream).await;
        call.text("lo").await;
        first.expect("delta").await;
    }
}
