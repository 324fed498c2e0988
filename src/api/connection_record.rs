//! The data of one request in flight, which its connection and the table of connections share.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::caller::Caller;
use super::wire::retry::Retry;
use crate::domain::{Account, ConnectionId, Principal, RequestId, Timestamp};

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

/// The data of one connection.
pub struct ConnectionRecord {
    pub id: ConnectionId,
    pub principal: Principal,
    pub account: Account,
    pub since: Timestamp,
    pub(super) number: u64,
    pub(super) request_id: RequestId,
    pub(super) opened: Instant,
    /// Milliseconds from opening to the last write.
    pub(super) last_write: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) closed: AtomicBool,
    pub(super) displaced: AtomicBool,
    /// Set when the client is to continue on another replica: the reconnection delay that it is sent.
    pub(super) moves_after: OnceLock<Retry>,
    pub(super) waker: AtomicWaker,
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
            moves_after: OnceLock::new(),
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

    /// Closes the connection, so that its client continues on another replica.
    pub(super) fn move_after(&self, retry: Retry) {
        _ = self.moves_after.set(retry);
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
