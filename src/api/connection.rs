//! One request in flight, as the table of connections knows it.

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

/// A place in the table; dropping it frees the place.
pub struct Connection {
    open: Arc<ConnectionRecord>,
    connections: Connections,
    begun: bool,
    told_to_wait: bool,
    leaving: Option<Retry>,
}

/// What a request in flight is doing. In this order connections give way to those of other accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionKind {
    /// Sends its body. Gives way with a `408`.
    Body,
    /// Waits for JSON. Gives way with the state so far.
    Wait,
    /// An event stream with ids: its client resumes it.
    ResumableStream,
    /// An event stream without ids: its client cannot resume it.
    Stream,
}

/// What a connection does, in the list of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionKind)]
pub enum ConnectionKindBody {
    /// The request's body is not complete.
    RequestBody,
    /// The response is JSON that is waited for, such as a long poll.
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

/// Whether a stream is to be broken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    No,
    /// When its client has been told to come back so much later: those who displace one another would do so without
    /// end, and those whom nothing was told for long would all come back at once.
    Later(Retry),
    /// When it has no end of its own.
    AtEndOfService,
    Now,
}

/// What is known of one connection.
pub struct ConnectionRecord {
    pub id: ConnectionId,
    pub principal: Principal,
    pub account: Account,
    pub since: Timestamp,
    pub(super) number: u64,
    request_id: RequestId,
    opened: Instant,
    /// Milliseconds after it was opened.
    last_write: AtomicU64,
    events: AtomicU64,
    bytes: AtomicU64,
    closed: AtomicBool,
    displaced: AtomicBool,
    waker: AtomicWaker,
}

/// Clients that have to come back do so spread over this, in milliseconds.
const SPREAD: std::ops::Range<u32> = 1_000..5_000;
/// When one comes back that had to make room: later than others, and within the grace that generations have by default.
const DISPLACED: Duration = Duration::from_secs(5);

impl Connection {
    pub(super) fn new(open: Arc<ConnectionRecord>, connections: Connections) -> Self {
        Self { open, connections, begun: false, told_to_wait: false, leaving: None }
    }

    /// From now on it does something else; `false` where it has given way.
    pub fn set_kind(&self, kind: ConnectionKind) -> bool {
        self.connections.set_kind(&self.open, kind)
    }

    /// The stream begins, if it has not. When its client should come back, as its first block says.
    pub fn begin(&mut self) -> Option<Retry> {
        if std::mem::replace(&mut self.begun, true) {
            return None;
        }
        tracing::info!(connection = %self.open.id, request_id = %self.open.request_id, "a stream began");
        Some(self.come_back_later().unwrap_or(Retry::SOON))
    }

    /// Lets the stream be polled when it is to end, or to say something that is in no log.
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

    /// Returns when it is to end, for one that is no stream.
    pub async fn closed(&self) {
        poll_fn(|context| {
            self.watch(context);
            if self.closing() == Closing::No { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// What a client is told once, while the service drains.
    pub fn come_back_later(&mut self) -> Option<Retry> {
        if self.told_to_wait || !self.connections.is_draining() {
            return None;
        }
        self.told_to_wait = true;
        Some(spread())
    }

    /// From now on it is to be broken off, and its client to come back some time later.
    pub fn leave(&mut self) {
        self.leaving = Some(spread());
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

fn spread() -> Retry {
    let mut random = [0; 4];
    // Without randomness all come back together, which is no reason to fail.
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

    /// Lets its task look again whether it is to end.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Ends it in favour of another.
    pub(super) fn displace(&self) {
        self.displaced.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Since something was written to it.
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
