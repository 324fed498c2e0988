//! The event log that the settings choose.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::event_log::{EventLog, Memory, MemoryLimits, RecoveryMode, RedisLogs, RedisTerms};
use crate::redis_client::RedisClient;
use crate::settings::{RedisRecover, RedisWrite, Settings, Size};

/// The logs of all generations.
#[derive(Clone)]
pub enum StoredLogs {
    Memory(Memory),
    Redis(RedisLogs),
}

/// Bytes that a running generation holds in addition to its log: its task and its upstream connection.
const RUNNING: usize = 16 * 1024;

impl StoredLogs {
    /// Creates the logs and starts their tasks.
    pub fn start(
        settings: &Settings,
        redis: Option<&RedisClient>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        match redis {
            None => {
                let memory = Memory::new(MemoryLimits {
                    total: settings.event_log.memory.max_bytes.bytes(),
                    generation: settings.generation.max_bytes.bytes(),
                    running: RUNNING,
                    retention: settings.generation.retention,
                });
                let (expiring, stop) = (memory.clone(), stop.clone());
                tasks.spawn(async move { _ = stop.run_until_cancelled(expiring.expire()).await });
                Self::Memory(memory)
            }
            Some(client) => {
                let redis = &settings.event_log.redis;
                let terms = RedisTerms {
                    most_of_one_log: settings.generation.max_bytes.bytes(),
                    retention: settings.generation.retention,
                    max_duration: settings.generation.max_duration,
                    lease: redis.lease,
                    hold: if redis.write == RedisWrite::Behind { Duration::ZERO } else { redis.hold },
                    max_bytes: redis.max_bytes.map(Size::bytes),
                    recovery: match redis.recover {
                        RedisRecover::Off => RecoveryMode::Close,
                        RedisRecover::Restart => RecoveryMode::TakeOver,
                    },
                };
                let logs = RedisLogs::new(client.clone(), terms, tasks.clone(), stop.clone());
                let (running, stop) = (logs.clone(), stop.clone());
                tasks.spawn(async move { stop.run_until_cancelled(running.run()).await });
                Self::Redis(logs)
            }
        }
    }

    pub fn port(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Memory(memory) => Arc::new(memory.clone()),
            Self::Redis(redis) => Arc::new(redis.clone()),
        }
    }

    /// Returns the logs in the memory of this process.
    pub const fn memory(&self) -> Option<&Memory> {
        match self {
            Self::Memory(memory) => Some(memory),
            Self::Redis(_) => None,
        }
    }
}
