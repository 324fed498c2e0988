//! One request in flight, as an entry in the table of connections.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::connections::Connections;
use super::extract::Caller;
use super::wire::Retry;
use crate::domain::{Account, ConnectionId, Principal, RequestId, Timestamp};

/// An entry in the table of connections; dropping it removes the entry.
pub struct Connection {
    open: Arc<ConnectionRecord>,
    connections: Connections,
    begun: bool,
    drain_retry_sent: bool,
    leaving: Option<Retry>,
}

/// The activity of a request in flight. In this order connections are displaced by those of other accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionKind {
    /// The client sends the request's body. If displaced, the response is a `408`.
    Body,
    /// The client waits for JSON. If displaced, the response is the state so far.
    Wait,
    /// An event stream with ids, which its client can resume.
    ResumableStream,
    /// An event stream without ids, which its client cannot resume.
    Stream,
}

/// The activity of a connection, in the list of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionKind)]
pub enum ConnectionKindBody {
    /// The request's body is not complete.
    RequestBody,
    /// The client waits for a JSON response, as in a long poll.
    Wait,
    EventStream,
}

impl From<ConnectionKind> for ConnectionKindBody {
    fn from(kind: ConnectionKind) -> Self {
        match kind {
            ConnectionKind::Body => Self::RequestBody,
            ConnectionKind::Wait => Self::Wait,
            ConnectionKind::ResumableStream | ConnectionKind::Stream => Self::EventStream,
        }
    }
}

/// Whether and when the service closes a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    No,
    /// After this reconnection delay has been sent. Without a delay, clients that displace one another would do so in a
    /// loop, and the clients of idle streams would all reconnect at once.
    Later(Retry),
    /// Because the service ends; only if the stream has no end of its own.
    AtEndOfService,
    Now,
}

/// The data of one connection.
pub struct ConnectionRecord {
    pub id: ConnectionId,
    pub principal: Principal,
    pub account: Account,
    pub since: Timestamp,
    pub(super) number: u64,
    request_id: RequestId,
    opened: Instant,
    /// Milliseconds from opening to the last write.
    last_write: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    closed: AtomicBool,
    displaced: AtomicBool,
    waker: AtomicWaker,
}

/// Range of the random reconnection delay that avoids a thundering herd, in milliseconds.
const SPREAD: std::ops::Range<u32> = 1_000..5_000;
/// Reconnection delay of displaced clients: longer than that of others, and within the default grace of generations.
const DISPLACED: Duration = Duration::from_secs(5);

impl Connection {
    pub(super) fn new(open: Arc<ConnectionRecord>, connections: Connections) -> Self {
        Self { open, connections, begun: false, drain_retry_sent: false, leaving: None }
    }

    /// Changes the kind of the connection. Returns `false` if the connection was displaced.
    pub fn set_kind(&self, kind: ConnectionKind) -> bool {
        self.connections.set_kind(&self.open, kind)
    }

    /// Marks the stream as started. On the first call, returns the reconnection delay for its first block.
    pub fn begin(&mut self) -> Option<Retry> {
        if std::mem::replace(&mut self.begun, true) {
            return None;
        }
        tracing::info!(connection = %self.open.id, request_id = %self.open.request_id, "a stream began");
        Some(self.come_back_later().unwrap_or(Retry::SOON))
    }

    /// Registers the task to be woken when the connection is to close, or its stream has to send something that is not
    /// in a log.
    pub fn watch(&self, context: &Context<'_>) {
        self.open.waker.register(context.waker());
    }

    pub fn closing(&self) -> Closing {
        if self.open.closed.load(Ordering::Acquire) {
            Closing::Now
        } else if self.open.displaced.load(Ordering::Acquire) {
            Closing::Later(Retry::after(DISPLACED))
        } else if let Some(retry) = self.leaving {
            Closing::Later(retry)
        } else if self.connections.is_ending() {
            Closing::AtEndOfService
        } else {
            Closing::No
        }
    }

    /// Returns when the connection is to close, for requests without a stream. Cancellation safe.
    pub async fn closed(&self) {
        poll_fn(|context| {
            self.watch(context);
            if self.closing() == Closing::No { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Returns the reconnection delay to send while the service drains; `Some` only once.
    pub fn come_back_later(&mut self) -> Option<Retry> {
        if self.drain_retry_sent || !self.connections.is_draining() {
            return None;
        }
        self.drain_retry_sent = true;
        Some(random_retry())
    }

    /// Marks the stream to be closed after a random reconnection delay has been sent to its client.
    pub fn leave(&mut self) {
        self.leaving = Some(random_retry());
    }

    pub fn id(&self) -> ConnectionId {
        self.open.id
    }

    pub fn account(&self) -> &Account {
        &self.open.account
    }

    pub fn since(&self) -> Timestamp {
        self.open.since
    }

    pub fn note_write(&self, now: Instant, bytes: usize) {
        let since = u64::try_from(now.duration_since(self.open.opened).as_millis()).unwrap_or(u64::MAX);
        self.open.last_write.store(since, Ordering::Relaxed);
        self.open.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn note_events(&self, events: usize) {
        self.open.events.fetch_add(events as u64, Ordering::Relaxed);
    }
}

fn random_retry() -> Retry {
    let mut random = [0; 4];
    // Without randomness all clients reconnect at the same time, which is better than a failure.
    _ = getrandom::fill(&mut random);
    let wait = SPREAD.start + u32::from_le_bytes(random) % (SPREAD.end - SPREAD.start);
    Retry::after(Duration::from_millis(wait.into()))
}

impl ConnectionRecord {
    pub(super) fn new(caller: &Caller, number: u64) -> Self {
        Self {
            id: ConnectionId::random(),
            principal: caller.principal.clone(),
            account: caller.spender.account.clone(),
            since: Timestamp::now(),
            number,
            request_id: caller.request_id,
            opened: Instant::now(),
            last_write: AtomicU64::new(0),
            events: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            displaced: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Wakes the task, so that it checks whether the connection is to close.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Closes the connection in favour of another.
    pub(super) fn displace(&self) {
        self.displaced.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Returns the time since the last write.
    pub fn idle(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.last_write.load(Ordering::Relaxed)))
    }

    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.remove(&self.open);
        if !self.begun {
            return;
        }
        let ConnectionRecord { id, request_id, opened, .. } = &*self.open;
        let (events, bytes) = (self.open.events(), self.open.bytes());
        let duration_ms = u64::try_from(opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(connection = %id, %request_id, events, bytes, duration_ms, "a stream ended");
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.open.id, f)
    }
}
