//! Counts the requests of one connection that are in flight. A stop waits for them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use hyper::Request;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::sync::Notify;

/// Counts the exchanges of one connection that are in flight: the whole request has arrived, or the response has begun.
#[derive(Default)]
pub(super) struct InFlight {
    count: AtomicUsize,
    none_left: Notify,
    /// Exchanges that have begun and not ended: the request's head has arrived.
    begun: AtomicUsize,
    none_begun: Notify,
    /// All exchanges since the connection was accepted.
    total: AtomicUsize,
}

/// One request and its response. Both hold a reference; the exchange ends when both are dropped.
pub(super) struct ServedExchange {
    connection: Arc<InFlight>,
    is_counted: AtomicBool,
}

impl InFlight {
    /// Resolves when no exchange is in flight, at once if none is.
    pub async fn none(&self) {
        loop {
            let none_left = self.none_left.notified();
            if self.is_none() {
                return;
            }
            none_left.await;
        }
    }

    pub fn is_none(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Resolves when the connection is idle (every exchange that began has ended), at once if it is. Returns the number
    /// of exchanges since the connection was accepted.
    pub async fn idle(&self) -> usize {
        loop {
            let none_begun = self.none_begun.notified();
            let total = self.total.load(Ordering::Acquire);
            if self.begun.load(Ordering::Acquire) == 0 {
                return total;
            }
            none_begun.await;
        }
    }

    /// Returns whether the connection is idle and no exchange has begun since [`InFlight::idle`] returned `total`.
    pub fn is_idle_since(&self, total: usize) -> bool {
        self.total.load(Ordering::Acquire) == total && self.begun.load(Ordering::Acquire) == 0
    }
}

impl ServedExchange {
    pub fn begin(connection: &Arc<InFlight>) -> Arc<Self> {
        connection.begun.fetch_add(1, Ordering::AcqRel);
        connection.total.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self { connection: Arc::clone(connection), is_counted: AtomicBool::new(false) })
    }

    /// Counts the exchange as in flight. Called when the whole request has arrived or the response has begun.
    pub fn count(&self) {
        if !self.is_counted.swap(true, Ordering::AcqRel) {
            self.connection.count.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for ServedExchange {
    fn drop(&mut self) {
        if self.is_counted.load(Ordering::Acquire) && self.connection.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            // `notify_one` stores a permit, so that a wait that begins later also sees it.
            self.connection.none_left.notify_one();
        }
        if self.connection.begun.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.connection.none_begun.notify_one();
        }
    }
}

/// A request's body as it arrives.
pub struct IncomingBody {
    incoming: Incoming,
    /// `None` once the body has ended.
    exchange: Option<Arc<ServedExchange>>,
}

impl IncomingBody {
    pub(super) fn of(request: Request<Incoming>, exchange: &Arc<ServedExchange>) -> Request<Self> {
        request.map(|incoming| {
            let mut body = Self { incoming, exchange: Some(Arc::clone(exchange)) };
            if body.incoming.is_end_stream() {
                body.end();
            }
            body
        })
    }

    fn end(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.count();
        }
    }
}

impl Body for IncomingBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if frame.is_none() || self.incoming.is_end_stream() {
            self.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The service reads no more of the body, so the response no longer depends on the client.
impl Drop for IncomingBody {
    fn drop(&mut self) {
        self.end();
    }
}
