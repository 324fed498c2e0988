//! The event log that the settings choose.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::AppError;
use crate::event_log::{EventLog, Memory, MemoryLimits, RedisLogs, RedisTerms};
use crate::settings::{LogBackend, Settings};

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
        environment: &BTreeMap<String, String>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Self, AppError> {
        match settings.event_log.backend {
            LogBackend::Memory => {
                let memory = Memory::new(MemoryLimits {
                    total: settings.event_log.memory.max_bytes.bytes(),
                    generation: settings.generation.max_bytes.bytes(),
                    running: RUNNING,
                    retention: settings.generation.retention,
                });
                let (expiring, stop) = (memory.clone(), stop.clone());
                tasks.spawn(async move { _ = stop.run_until_cancelled(expiring.expire()).await });
                Ok(Self::Memory(memory))
            }
            LogBackend::Redis => {
                let redis = &settings.event_log.redis;
                let terms = RedisTerms {
                    most_of_one_log: settings.generation.max_bytes.bytes(),
                    retention: settings.generation.retention,
                    max_duration: settings.generation.max_duration,
                    lease: redis.lease,
                    hold: redis.hold,
                };
                let address = address(settings, environment).ok_or(AppError::RedisUrl)?;
                let logs = RedisLogs::new(address.trim(), &redis.prefix, terms, tasks.clone(), stop.clone());
                let logs = logs.map_err(|_| AppError::RedisUrl)?;
                let (running, stop) = (logs.clone(), stop.clone());
                tasks.spawn(async move { stop.run_until_cancelled(running.run()).await });
                Ok(Self::Redis(logs))
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

/// Returns the address of the Redis server.
fn address(settings: &Settings, environment: &BTreeMap<String, String>) -> Option<String> {
    let redis = &settings.event_log.redis;
    match (&redis.url_env, &redis.url_file) {
        (Some(variable), _) => environment.get(variable).cloned(),
        (None, Some(file)) => fs::read_to_string(file).ok(),
        (None, None) => None,
    }
}
