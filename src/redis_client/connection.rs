//! The connection for commands.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, InfoDict, RedisError, RedisResult, Value};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::call::{CallError, PATIENCE, Patience, RedisUnavailable, Reply, ScriptCall};

/// One connection to Redis, shared by all calls. It connects again by itself.
#[derive(Clone)]
pub struct CommandConnection {
    client: Client,
    /// Replaced if the server behind it is gone, or is no longer the primary, which no error of TCP may tell for minutes.
    manager: Arc<Mutex<ConnectionManager>>,
    /// Timeouts in a row.
    timeouts: Arc<AtomicU32>,
    /// Whether the last call failed, so that an outage is logged once.
    failing: Arc<AtomicBool>,
    /// Whether a fault of the server has been logged.
    unusable: Arc<AtomicBool>,
}

/// Why a server cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum ServerFault {
    #[error("Redis is too old: use Redis 7.0 or later, or Valkey 7.2 or later")]
    TooOld,
    #[error("Redis may evict answers: set its maxmemory-policy to noeviction")]
    Evicts,
    #[error("Redis is a replica of another server: name the primary")]
    Replica,
}

/// How long one attempt waits for its reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// The first wait before a call is repeated; each later one is twice as long, up to [`LONGEST_BACKOFF`].
const BACKOFF: Duration = Duration::from_millis(25);
const LONGEST_BACKOFF: Duration = Duration::from_millis(400);
/// Timeouts in a row after which the connection is replaced.
const MOST_TIMEOUTS: u32 = 3;
/// The first version with flags for scripts (`#!lua`).
const OLDEST_VERSION: u32 = 7;
/// Commands that may wait to be written: about the number of generations of a replica.
const PIPELINE: usize = 4096;

impl CommandConnection {
    /// Creates a connection, which is opened by the first call.
    pub fn new(client: &Client) -> RedisResult<Self> {
        let manager = Arc::new(Mutex::new(connect(client)?));
        Ok(Self {
            client: client.clone(),
            manager,
            timeouts: Arc::default(),
            failing: Arc::default(),
            unusable: Arc::default(),
        })
    }

    fn manager(&self) -> ConnectionManager {
        self.manager.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reconnect(&self) {
        self.timeouts.store(0, Ordering::Relaxed);
        if let Ok(manager) = connect(&self.client) {
            *self.manager.lock().unwrap_or_else(PoisonError::into_inner) = manager;
        }
    }

    /// Calls a script until it replies.
    pub async fn call(&self, call: &ScriptCall, patience: Patience) -> Result<Reply, CallError> {
        self.repeat(patience, || async {
            let mut invocation = call.script.prepare_invoke();
            for key in &call.keys {
                invocation.key(key);
            }
            for argument in &call.arguments {
                invocation.arg(argument.as_slice());
            }
            invocation.invoke_async::<Vec<Value>>(&mut self.manager()).await.map(Reply)
        })
        .await
    }

    /// Sends commands together until they are answered.
    pub async fn send<T: redis::FromRedisValue>(&self, commands: &redis::Pipeline) -> Result<T, RedisUnavailable> {
        let sent = self.repeat(Patience::For(PATIENCE), || async { commands.query_async(&mut self.manager()).await });
        sent.await.map_err(|_| RedisUnavailable)
    }

    async fn repeat<T, F>(&self, patience: Patience, attempt: impl Fn() -> F) -> Result<T, CallError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let deadline = match patience {
            Patience::For(patience) => Some(Instant::now() + patience),
            Patience::Unlimited => None,
        };
        let mut backoff = BACKOFF;
        loop {
            let end = Instant::now() + REPLY_TIMEOUT;
            let end = deadline.map_or(end, |deadline| end.min(deadline));
            match timeout_at(end, attempt()).await {
                Ok(Ok(reply)) => {
                    self.answered();
                    return Ok(reply);
                }
                Ok(Err(error)) if error.code() == Some("OOM") => return Err(CallError::Full),
                Ok(Err(error)) => self.failed(&error),
                Err(_) => self.failed(&RedisError::from((redis::ErrorKind::Io, "no reply in time"))),
            }
            if deadline.is_some_and(|deadline| Instant::now() + backoff >= deadline) {
                return Err(RedisUnavailable.into());
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    fn failed(&self, error: &RedisError) {
        let is_timeout = error.is_timeout() || error.kind() == redis::ErrorKind::Io;
        let timeouts = if is_timeout { self.timeouts.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
        if timeouts >= MOST_TIMEOUTS || error.code() == Some("READONLY") {
            self.reconnect();
        }
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(cause = %error, "Redis does not answer");
        }
    }

    fn answered(&self) {
        self.timeouts.store(0, Ordering::Relaxed);
        if self.failing.load(Ordering::Relaxed) && self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("Redis answers again");
        }
    }

    /// Returns whether Redis answers now, and is a server that can be used.
    pub async fn is_usable(&self) -> bool {
        let mut manager = self.manager();
        let info = redis::cmd("INFO");
        let info = match timeout(REPLY_TIMEOUT, info.query_async::<InfoDict>(&mut manager)).await {
            Ok(Ok(info)) => info,
            Ok(Err(error)) => {
                self.failed(&error);
                return false;
            }
            Err(_) => return false,
        };
        self.answered();
        let Some(fault) = ServerFault::of(&info) else {
            self.unusable.store(false, Ordering::Relaxed);
            return true;
        };
        if !self.unusable.swap(true, Ordering::Relaxed) {
            tracing::error!("{fault}");
        }
        false
    }
}

fn connect(client: &Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_min_delay(BACKOFF)
        .set_connection_timeout(Some(REPLY_TIMEOUT))
        .set_response_timeout(Some(REPLY_TIMEOUT))
        .set_pipeline_buffer_size(PIPELINE);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

impl ServerFault {
    fn of(info: &InfoDict) -> Option<Self> {
        let version: String = info.get("redis_version").unwrap_or_default();
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        // A server that does not report its version is accepted.
        if major.is_some_and(|major| major < OLDEST_VERSION) {
            return Some(Self::TooOld);
        }
        if info.get::<String>("role").is_some_and(|role| role != "master") {
            return Some(Self::Replica);
        }
        let policy: Option<String> = info.get("maxmemory_policy");
        policy.is_some_and(|policy| policy != "noeviction").then_some(Self::Evicts)
    }
}
