//! The backend in Redis: the contract, and further guarantees of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::cmd;
use tokenrill::domain::{GenerationId, Sequence};
use tokenrill::event_log::{
    ClaimError, CreateError, EventLog as _, GenerationEnded, LogTerms, MemoryLimits, Recovery, RecoveryMode, RedisLogs,
    RedisTerms, ViewerPresence as _, follow,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accounts::{claim, claim_new, lost, owner};
use super::{
    Backend, OwnedLog, ROOMY, account, append, assert_complete, begun, create, create_for, ended, is_known, read,
    terms, token,
};
use crate::support::redis_server::{RedisServer, unique_prefix};
use crate::support::soon;

shared_contract!(RedisLogs);

/// Returns one process with this prefix. It runs as long as the test.
fn replica(prefix: &str, terms: RedisTerms) -> RedisLogs {
    let client = RedisServer::shared().client(prefix);
    let tasks = TaskTracker::new();
    let logs = RedisLogs::new(client, terms, tasks.clone(), CancellationToken::new());
    tasks.spawn({
        let logs = logs.clone();
        async move { logs.run().await }
    });
    logs
}

impl Backend for RedisLogs {
    fn start(limits: MemoryLimits) -> Self {
        let terms = RedisTerms {
            most_of_one_log: limits.generation,
            retention: limits.retention,
            max_bytes: None,
            max_duration: Duration::from_mins(10),
            lease: Duration::from_secs(10),
            hold: Duration::from_secs(1),
            recovery: RecoveryMode::Close,
        };
        replica(&unique_prefix(), terms)
    }

    fn replica(&self) -> Self {
        replica(self.client().prefix(), self.terms())
    }

    fn expire_lease(&self, log: Arc<OwnedLog>) -> Option<Arc<OwnedLog>> {
        let id = log.start().generation.to_string();
        let head = format!("{}:{{{}}}:g:{id}:h", self.client().prefix(), &id[4..6]);
        let _: i64 = RedisServer::shared().command(cmd("HSET").arg(head).arg("ls").arg(0));
        Some(log)
    }

    fn check(&self, _: MemoryLimits) {}
}

#[tokio::test]
async fn log_that_was_found_without_an_owner_has_one_again_after_an_append() {
    let terms_of_all = RedisTerms { recovery: RecoveryMode::TakeOver, ..RedisLogs::start(ROOMY).terms() };
    let logs = replica(&unique_prefix(), terms_of_all);
    let id = GenerationId::random();
    let recovery = Some(Recovery { request: b"{}".as_slice().into(), grace: None });
    let created = logs.create(begun(id), LogTerms { recovery, ..terms(&account(0), None) }).await;
    let log = super::made(created).expect("there is room");
    let head = format!("{}:{{{}}}:g:{id}:h", logs.client().prefix(), &id.to_string()[4..6]);
    let found = || RedisServer::shared().command::<Option<u64>>(cmd("HGET").arg(&head).arg("found"));
    for token_text in ["a", "b"] {
        let log = logs.expire_lease(Arc::clone(&log)).expect("it expires");
        // By another process, as the owner reads its own copy.
        assert!(logs.replica().open(id, Sequence::START).await.expect("it answers").is_some());
        assert!(found().is_some());
        append(&log, vec![token(token_text)]).await.expect("it is the owner");
        assert_eq!(found(), None);
    }
}

/// Redis' own clock cannot be paused, so these tests wait in real time.
const SHORT: Duration = Duration::from_millis(800);

#[tokio::test]
async fn closed_log_is_kept_for_the_retention_and_an_open_log_stays() {
    let logs = RedisLogs::start(MemoryLimits { retention: SHORT, ..ROOMY });
    let (open, _open) = create(&logs).await;
    let (closed, log) = create(&logs).await;
    let begun = Instant::now();
    log.close(ended(1)).await;
    assert!(is_known(&logs, closed).await);
    soon(async { while is_known(&logs, closed).await {} }).await;
    assert!(begun.elapsed() >= SHORT, "{:?}", begun.elapsed());
    assert!(is_known(&logs, open).await);
    assert_complete(&read(&log, Sequence::START).await, 0, 2);
}

#[tokio::test]
async fn discarded_claim_is_lost_with_its_usage_until_its_retention_ends() {
    let logs = RedisLogs::start(MemoryLimits { retention: SHORT, ..ROOMY });
    let (id, log) = claim_new(&logs, &account(1), claim("k", 1)).await.expect("room");
    logs.discard(id).await.expect("the log answers");
    assert!(is_known(&logs, id).await, "it is open");
    log.close(ended(7)).await;
    assert!(!is_known(&logs, id).await);
    assert_eq!(logs.claimed(&owner(), &claim("k", 1)).await, Err(ClaimError::Lost(lost(7))));
    logs.remove(id).await.expect("the log answers");
    assert_eq!(
        logs.claimed(&owner(), &claim("k", 1)).await,
        Err(ClaimError::Lost(lost(7))),
        "a remove does not free it"
    );
    soon(async { while logs.claimed(&owner(), &claim("k", 1)).await.is_err() {} }).await;
    assert_eq!(logs.claimed(&owner(), &claim("k", 1)).await, Ok(None));
}

#[tokio::test]
async fn log_is_shut_once_no_replica_has_had_a_viewer_for_the_grace() {
    let logs = RedisLogs::start(ROOMY);
    let (id, log) = create(&logs).await;
    let other = Backend::replica(&logs);
    let mut shut = logs.shut_when_empty(id, SHORT);
    assert!(timeout(SHORT * 2, &mut shut).await.is_err(), "the request that created the log is a viewer");
    let foreign = other.join(id).await.expect("it is open");
    drop(log.viewer.lock().expect("no panic").take());
    assert!(timeout(SHORT * 2, &mut shut).await.is_err(), "a viewer on another replica counts");
    let left = Instant::now();
    drop(foreign);
    soon(&mut shut).await;
    assert!(left.elapsed() >= SHORT, "{:?}", left.elapsed());
    for replica in [&logs, &other] {
        assert_eq!(replica.join(id).await.err(), Some(GenerationEnded));
    }
}

/// A failover to a server that has not received the last entries.
#[tokio::test]
async fn entries_that_redis_has_lost_are_written_again_under_the_same_numbers() {
    let logs = RedisLogs::start(ROOMY);
    let (id, log) = create(&logs).await;
    append(&log, vec![token("a")]).await.expect("room");
    let key = format!("{}:{{{}}}:g:{id}", logs.client().prefix(), &id.to_string()[4..6]);
    let server = RedisServer::shared();
    let replicated = ["h", "e"].map(|part| {
        let key = format!("{key}:{part}");
        let value: Vec<u8> = server.command(cmd("DUMP").arg(&key));
        (key, value)
    });
    for text in ["b", "c"] {
        append(&log, vec![token(text)]).await.expect("room");
    }
    for (key, value) in replicated {
        let _: () = server.command(cmd("RESTORE").arg(key).arg(60_000).arg(value).arg("REPLACE"));
    }
    assert_eq!(append(&log, vec![token("d")]).await, Ok(Sequence::new(5)));
    let other = Backend::replica(&logs);
    let copy = other.open(id, Sequence::new(5)).await.expect("the log answers").expect("it is kept");
    log.close(ended(1)).await;
    let entries: Vec<_> =
        soon(follow(copy, Sequence::START).map(|page| page.expect("it is not lost")).concat()).await.into_vec();
    assert_complete(&entries, 0, 6);
    let events: Vec<_> = entries.into_iter().skip(1).map(|entry| entry.event).collect();
    assert_eq!(events, [token("a"), token("b"), token("c"), token("d"), ended(1)]);
}

/// Logs whose bytes are counted.
fn counted(max_bytes: usize, retention: Duration) -> RedisLogs {
    let terms = RedisLogs::start(MemoryLimits { retention, ..ROOMY }).terms();
    replica(&unique_prefix(), RedisTerms { max_bytes: Some(max_bytes), ..terms })
}

async fn is_refused(logs: &RedisLogs, number: u8) -> bool {
    let created = logs.create(begun(GenerationId::random()), terms(&account(number), None)).await;
    match created {
        Ok(_) => false,
        Err(CreateError::Full) => true,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn account_above_its_share_is_refused_at_the_maximum_until_its_logs_expire_and_no_other_is() {
    let logs = counted(40 << 10, SHORT);
    let mut kept = Vec::new();
    while !is_refused(&logs, 1).await {
        let (_, log) = create_for(&logs, 1).await;
        append(&log, vec![token(&"x".repeat(4 << 10))]).await.expect("room");
        kept.push(log);
        assert!(kept.len() < 30, "the maximum refuses");
    }
    assert!(!is_refused(&logs, 2).await, "an account below its share");
    assert!(is_refused(&logs, 1).await);
    let other = counted(40 << 10, SHORT);
    assert!(!is_refused(&other, 1).await, "another deployment");
    for log in kept {
        log.close(ended(1)).await;
    }
    soon(async { while is_refused(&logs, 1).await {} }).await;
}

#[tokio::test]
async fn removed_log_no_longer_counts() {
    let logs = counted(13_000, Duration::from_mins(1));
    let (id, log) = create_for(&logs, 1).await;
    let (_, _second) = create_for(&logs, 1).await;
    assert!(is_refused(&logs, 1).await);
    log.close(ended(1)).await;
    logs.remove(id).await.expect("the log answers");
    assert!(!is_refused(&logs, 1).await);
}

/// The count is an estimate of what the server reports for the same keys.
#[tokio::test]
async fn counted_bytes_are_those_that_the_server_reports() {
    let logs = counted(1 << 30, Duration::from_mins(10));
    let server = RedisServer::shared();
    for tokens in [1, 64, 1_000] {
        let (id, log) = create_for(&logs, 1).await;
        for _ in 0..tokens {
            append(&log, vec![token("word ")]).await.expect("room");
        }
        log.close(ended(1)).await;
        let counts = format!("{}:{{kept}}:i", logs.client().prefix());
        let counted = async {
            loop {
                let entry: String = server.command(cmd("HGET").arg(&counts).arg(id.to_string()));
                let bytes: f64 = entry.split_once(' ').and_then(|(_, bytes)| bytes.parse().ok()).expect("a count");
                if bytes > 6_144.0 {
                    return bytes;
                }
                tokio::task::yield_now().await;
            }
        };
        let counted = soon(counted).await;
        let key = format!("{}:{{{}}}:g:{id}", logs.client().prefix(), &id.to_string()[4..6]);
        let usage = |part: &str| -> Option<f64> {
            server.command(cmd("MEMORY").arg("USAGE").arg(format!("{key}:{part}")).arg("SAMPLES").arg(0))
        };
        let reported: f64 = ["h", "e", "a"].iter().filter_map(|part| usage(part)).sum();
        assert!((0.5..2.0).contains(&(counted / reported)), "{tokens}: {counted} counted, {reported} reported");
    }
}
