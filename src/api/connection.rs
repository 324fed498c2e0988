//! One request in flight, as an entry in the table of connections.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::caller::Caller;
use super::connection_record::{ConnectionKind, ConnectionRecord};
use super::connections::{Arrival, ConnectionLimitError, Connections};
use super::wire::retry::Retry;
use crate::domain::{Account, ConnectionId, Timestamp};

/// An entry in the table of connections; dropping it removes the entry.
pub struct Connection {
    record: Arc<ConnectionRecord>,
    connections: Connections,
    begun: bool,
    drain_retry_sent: bool,
    /// The reconnection delay to send before the stream is closed, if it is to be closed.
    scheduled_close: Option<Retry>,
}

/// Whether and when the service closes a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionClosing {
    No,
    /// After this reconnection delay has been sent. Without a delay, clients that displace one another would do so in a
    /// loop, and the clients of idle streams would all reconnect at once.
    Later(Retry),
    /// Because the service ends; only if the stream has no end of its own.
    AtEndOfService,
    Now,
}

/// Range of the random reconnection delay that avoids a thundering herd, in milliseconds.
const SPREAD: std::ops::Range<u32> = 1_000..5_000;
/// Reconnection delay of displaced clients: longer than that of others, and within the default grace of generations.
const DISPLACED: Duration = Duration::from_secs(5);

impl Connections {
    /// Opens a connection for a request. If a limit is reached, refuses it or displaces another connection.
    pub fn open(
        &self,
        caller: &Caller,
        arrival: Arrival,
        kind: ConnectionKind,
    ) -> Result<Connection, ConnectionLimitError> {
        self.add(caller, arrival, kind).map(|record| Connection::new(record, self.clone()))
    }

    /// Closes the streams that their clients can resume, each after a random reconnection delay has been sent, so that
    /// they continue on another replica. A stream that is opened later stays.
    pub fn move_streams(&self) {
        for record in self.resumable() {
            record.move_after(random_retry());
        }
    }

    /// Opens a connection only if no other has to be displaced for it.
    pub fn open_if_free(&self, caller: &Caller, kind: ConnectionKind) -> Option<Connection> {
        self.add_if_free(caller, kind).map(|record| Connection::new(record, self.clone()))
    }
}

impl Connection {
    fn new(record: Arc<ConnectionRecord>, connections: Connections) -> Self {
        Self { record, connections, begun: false, drain_retry_sent: false, scheduled_close: None }
    }

    /// Changes the kind of the connection. Returns `false` if the connection was displaced.
    pub fn set_kind(&self, kind: ConnectionKind) -> bool {
        self.connections.set_kind(&self.record, kind)
    }

    /// Marks the stream as started. On the first call, returns the reconnection delay for its first block.
    pub fn begin(&mut self) -> Option<Retry> {
        if std::mem::replace(&mut self.begun, true) {
            return None;
        }
        tracing::info!(connection = %self.record.id, request_id = %self.record.request_id, "a stream began");
        Some(self.take_drain_retry().unwrap_or(Retry::SOON))
    }

    /// Registers the task to be woken when the connection is to close, or its stream has to send something that is not
    /// in a log.
    pub fn watch(&self, context: &Context<'_>) {
        self.record.waker.register(context.waker());
    }

    pub fn closing(&self) -> ConnectionClosing {
        if self.record.closed.load(Ordering::Acquire) {
            ConnectionClosing::Now
        } else if self.record.displaced.load(Ordering::Acquire) {
            ConnectionClosing::Later(Retry::after(DISPLACED))
        } else if let Some(retry) = self.scheduled_close.or_else(|| self.record.moves_after.get().copied()) {
            ConnectionClosing::Later(retry)
        } else if self.connections.is_ending() {
            ConnectionClosing::AtEndOfService
        } else {
            ConnectionClosing::No
        }
    }

    /// Returns when the connection is to close, for requests without a stream. Cancellation safe.
    pub async fn closed(&self) {
        poll_fn(|context| {
            self.watch(context);
            if self.closing() == ConnectionClosing::No { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Returns the reconnection delay to send while the service drains; `Some` only once.
    pub fn take_drain_retry(&mut self) -> Option<Retry> {
        if self.drain_retry_sent || !self.connections.is_draining() {
            return None;
        }
        self.drain_retry_sent = true;
        Some(random_retry())
    }

    /// Marks the stream to be closed after a random reconnection delay has been sent to its client.
    pub fn schedule_close(&mut self) {
        self.scheduled_close = Some(random_retry());
    }

    pub fn id(&self) -> ConnectionId {
        self.record.id
    }

    pub fn account(&self) -> &Account {
        &self.record.account
    }

    pub fn since(&self) -> Timestamp {
        self.record.since
    }

    pub fn note_write(&self, now: Instant, bytes: usize) {
        let since = u64::try_from(now.duration_since(self.record.opened).as_millis()).unwrap_or(u64::MAX);
        self.record.last_write.store(since, Ordering::Relaxed);
        self.record.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn note_events(&self, events: usize) {
        self.record.events.fetch_add(events as u64, Ordering::Relaxed);
    }
}

fn random_retry() -> Retry {
    let mut random = [0; 4];
    // Without randomness all clients reconnect at the same time, which is better than a failure.
    _ = getrandom::fill(&mut random);
    let wait = SPREAD.start + u32::from_le_bytes(random) % (SPREAD.end - SPREAD.start);
    Retry::after(Duration::from_millis(wait.into()))
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.remove(&self.record);
        if !self.begun {
            return;
        }
        let ConnectionRecord { id, request_id, opened, .. } = &*self.record;
        let (events, bytes) = (self.record.events(), self.record.bytes());
        let duration_ms = u64::try_from(opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(connection = %id, %request_id, events, bytes, duration_ms, "a stream ended");
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.record.id, f)
    }
}
