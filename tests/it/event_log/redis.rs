//! The backend in Redis: the contract, and further guarantees of its own.

use std::sync::Arc;
use std::time::Duration;

use redis::cmd;
use tokenrill::event_log::{MemoryLimits, RedisLogs, RedisTerms};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Backend, OwnedLog};
use crate::support::redis_server::{RedisServer, unique_prefix};

shared_contract!(RedisLogs);

/// Returns one process with this prefix. It runs as long as the test.
fn replica(prefix: &str, terms: RedisTerms) -> RedisLogs {
    let tasks = TaskTracker::new();
    let url = RedisServer::shared().url();
    let logs = RedisLogs::new(&url, prefix, terms, tasks.clone(), CancellationToken::new()).expect("an address");
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
            max_duration: Duration::from_mins(10),
            lease: Duration::from_secs(10),
            hold: Duration::from_secs(1),
        };
        replica(&unique_prefix(), terms)
    }

    fn replica(&self) -> Self {
        replica(self.prefix(), self.terms())
    }

    fn expire_lease(&self, log: Arc<OwnedLog>) -> Option<Arc<OwnedLog>> {
        let id = log.start().generation.to_string();
        let head = format!("{}:{{{}}}:g:{id}:h", self.prefix(), &id[4..6]);
        let _: i64 = RedisServer::shared().command(cmd("HSET").arg(head).arg("ls").arg(0));
        Some(log)
    }

    fn check(&self, _: MemoryLimits) {}
}
