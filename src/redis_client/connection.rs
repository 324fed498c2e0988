//! The connection for commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{RedisError, RedisResult, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::address::RedisAddress;
use super::call::{CallError, PATIENCE, Patience, RedisUnavailable, Reply, ScriptCall};
use super::call_counts::{CallCounts, CallResult};
use super::link::{BACKOFF, CommandLink, CommandRoute, REPLY_TIMEOUT};
use super::server_fault::ServerFault;

/// The connection to Redis that all calls share. [`CommandConnection::run`] opens it, and replaces it if it fails.
#[derive(Clone)]
pub struct CommandConnection(Arc<SharedCommandConnection>);

struct SharedCommandConnection {
    address: RedisAddress,
    link: watch::Sender<Option<Arc<CommandLink>>>,
    /// Whether the last call failed, so that an outage is logged once.
    is_failing: AtomicBool,
    counts: CallCounts,
    /// Whether a fault of the server has been logged.
    is_unusable: AtomicBool,
}

/// The longest wait before a call is repeated; each wait is twice as long as the one before.
const LONGEST_BACKOFF: Duration = Duration::from_millis(400);
/// How long it may take to open a connection: sentinels are asked, or the nodes of a cluster.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// The wait between two attempts to open a connection.
const REOPEN: Duration = Duration::from_millis(200);

impl CommandConnection {
    pub fn new(address: RedisAddress) -> Self {
        Self(Arc::new(SharedCommandConnection {
            address,
            link: watch::Sender::new(None),
            is_failing: AtomicBool::new(false),
            counts: CallCounts::default(),
            is_unusable: AtomicBool::new(false),
        }))
    }

    /// Opens the connection, and another one each time it has failed: sentinels may name another server then. Runs
    /// until dropped, beside the calls, which meanwhile fail on the old connection.
    pub async fn run(&self) {
        loop {
            let mut moves = self.0.address.moves();
            let opened = timeout(OPEN_TIMEOUT, CommandLink::open(&self.0.address)).await;
            match opened.unwrap_or_else(|_| Err(no_reply())) {
                Ok(link) => {
                    let link = Arc::new(link);
                    self.0.link.send_replace(Some(Arc::clone(&link)));
                    tokio::select! {
                        () = link.failed() => {}
                        () = moves.next() => {}
                    }
                }
                Err(error) => self.report(&error),
            }
            sleep(REOPEN).await;
        }
    }

    /// Calls a script until it replies.
    pub async fn call(&self, call: &ScriptCall, patience: Patience) -> Result<Reply, CallError> {
        self.repeat(patience, |mut route| async move {
            let mut invocation = call.script.prepare_invoke();
            for key in &call.keys {
                invocation.key(key);
            }
            for argument in &call.arguments {
                invocation.arg(argument.as_slice());
            }
            invocation.invoke_async::<Vec<Value>>(&mut route).await.map(Reply)
        })
        .await
    }

    /// Sends commands together until they are answered. All their keys must have one hash tag.
    pub async fn send<T: redis::FromRedisValue>(&self, commands: &redis::Pipeline) -> Result<T, RedisUnavailable> {
        let sent =
            self.repeat(Patience::For(PATIENCE), |mut route| async move { commands.query_async(&mut route).await });
        sent.await.map_err(|_| RedisUnavailable)
    }

    async fn repeat<T, F>(&self, patience: Patience, attempt: impl Fn(CommandRoute) -> F) -> Result<T, CallError>
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
            match self.try_once(end, &attempt).await {
                Ok(reply) => return Ok(reply),
                Err(error) if error.code() == Some("OOM") => return Err(CallError::Full),
                Err(_) => {}
            }
            if deadline.is_some_and(|deadline| Instant::now() + backoff >= deadline) {
                return Err(RedisUnavailable.into());
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
        }
    }

    async fn try_once<T, F>(&self, end: Instant, attempt: impl Fn(CommandRoute) -> F) -> RedisResult<T>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let Ok(link) = timeout_at(end, self.link()).await else {
            self.0.counts.add(CallResult::Failed);
            return Err(no_reply());
        };
        let reply = timeout_at(end, attempt(link.route())).await.unwrap_or_else(|_| Err(no_reply()));
        let result = match &reply {
            Ok(_) => CallResult::Answered,
            Err(error) if error.code() == Some("OOM") => CallResult::Full,
            Err(error) => {
                link.note_failure(error);
                self.report(error);
                CallResult::Failed
            }
        };
        self.0.counts.add(result);
        if result != CallResult::Failed {
            self.note_reply(&link);
        }
        reply
    }

    /// Returns the open connection, once there is one.
    async fn link(&self) -> Arc<CommandLink> {
        if let Some(link) = &*self.0.link.borrow() {
            return Arc::clone(link);
        }
        let mut opened = self.0.link.subscribe();
        loop {
            if let Some(link) = &*opened.borrow_and_update() {
                return Arc::clone(link);
            }
            // Cannot fail while `self` has the sender.
            _ = opened.changed().await;
        }
    }

    fn report(&self, error: &RedisError) {
        if !self.0.is_failing.swap(true, Ordering::Relaxed) {
            self.0.counts.begin_outage();
            tracing::warn!(cause = %error, "Redis does not answer");
        }
    }

    fn note_reply(&self, link: &CommandLink) {
        link.note_reply();
        if self.0.is_failing.load(Ordering::Relaxed) && self.0.is_failing.swap(false, Ordering::Relaxed) {
            self.0.counts.end_outage();
            tracing::info!("Redis answers again");
        }
    }

    pub fn counts(&self) -> &CallCounts {
        &self.0.counts
    }

    /// Returns whether there was a call, and the last one was answered.
    pub fn is_answered(&self) -> bool {
        self.0.counts.count(CallResult::Answered) > 0 && !self.0.is_failing.load(Ordering::Relaxed)
    }

    /// Returns whether Redis answers now, and is a server that can be used.
    pub async fn is_usable(&self) -> bool {
        let end = Instant::now() + REPLY_TIMEOUT;
        let infos = self.try_once(end, |mut route| async move { route.infos().await });
        let Ok(infos) = infos.await else { return false };
        let Some(fault) = infos.iter().find_map(ServerFault::of) else {
            self.0.is_unusable.store(false, Ordering::Relaxed);
            return true;
        };
        if fault == ServerFault::Replica && self.is_found_by_others() {
            // It was the primary when it was found.
            self.link().await.fail();
        } else if !self.0.is_unusable.swap(true, Ordering::Relaxed) {
            tracing::error!("{fault}");
        }
        false
    }

    /// Returns whether sentinels or a cluster tell which server is the primary.
    fn is_found_by_others(&self) -> bool {
        !matches!(self.0.address, RedisAddress::Server(_))
    }
}

fn no_reply() -> RedisError {
    (redis::ErrorKind::Io, "no reply in time").into()
}
