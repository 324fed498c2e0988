//! HTTP/2: each connection runs in its own tracked task and is shared by the requests of one runtime.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::http::response::Parts;
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::{Handle, Id};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::SentMark;
use super::error::{Reached, TransportError, is_connection_lost, is_not_processed};
use super::retries::{CLOSE_RACE, FailedRequest, RetryReason};
use super::stream::Stream;
use crate::domain::Lookup;

const PING_INTERVAL: Duration = Duration::from_secs(15);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum bytes that hyper buffers for each stream.
const MAX_SEND_BUFFER: usize = 256 * 1024;
/// Maximum streams on one connection, even if its server allows more. Limits how many answers one lost connection ends.
const MAX_STREAMS: usize = 100;

/// Spawns hyper's tasks on a tracker and stops them with a token.
#[derive(Debug, Clone)]
pub struct Tasks {
    pub tracker: TaskTracker,
    pub stop: CancellationToken,
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move { _ = stop.run_until_cancelled(task).await });
    }
}

/// The open HTTP/2 connections to one server, by runtime. Clones share them.
#[derive(Clone, Default)]
pub struct Multiplexed(Arc<Mutex<Lookup<Id, Vec<Http2Connection>>>>);

struct Http2Connection {
    sender: SendRequest<Full<Bytes>>,
    /// The strong count is one more than the number of streams: one reference is held here, one by each request.
    streams: Arc<Http2Streams>,
    idle_since: Instant,
}

/// The strong count of the `Arc` around it counts the streams of a connection.
struct Http2Streams {
    /// Concurrent streams that the server's latest SETTINGS allow, at most `MAX_STREAMS`.
    limit: AtomicUsize,
}

/// The right to send one request over a connection.
pub struct Lease {
    sender: SendRequest<Full<Bytes>>,
    stream: Arc<Http2Streams>,
}

impl Multiplexed {
    /// Leases a stream on an open connection that has room.
    pub fn take(&self) -> Option<Lease> {
        let mut connections = self.lock();
        let connections = connections.get_mut(&Handle::current().id())?;
        connections.retain(|connection| !connection.sender.is_closed());
        connections.iter_mut().find(|connection| connection.has_room()).map(Http2Connection::lease)
    }

    /// Starts HTTP/2 on a new connection, adds it to the pool and leases its first stream.
    pub async fn open(&self, stream: Stream, tasks: &Tasks) -> Result<Lease, TransportError> {
        let handshake = Builder::new(tasks.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_send_buf_size(MAX_SEND_BUFFER)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, mut connection) = handshake.map_err(|error| TransportError::of_http2(&error, Reached::Nothing))?;
        let streams = Arc::new(Http2Streams { limit: AtomicUsize::new(MAX_STREAMS) });
        let known = Arc::downgrade(&streams);
        tasks.execute(poll_fn(move |cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            if let Some(streams) = known.upgrade() {
                streams.limit.store(connection.current_max_send_streams().min(MAX_STREAMS), Ordering::Relaxed);
            }
            polled.map(drop)
        }));
        let mut opened = Http2Connection { sender, streams, idle_since: Instant::now() };
        let lease = opened.lease();
        self.lock().entry(Handle::current().id()).or_default().push(opened);
        Ok(lease)
    }

    /// Removes connections that have been idle for `keepalive`, which closes them, and connections that have ended.
    pub fn expire(&self, keepalive: Duration) {
        self.lock().retain(|_, connections| {
            connections.retain_mut(|connection| {
                if Arc::strong_count(&connection.streams) > 1 {
                    connection.idle_since = Instant::now();
                }
                !connection.sender.is_closed() && connection.idle_since.elapsed() < keepalive
            });
            !connections.is_empty()
        });
    }

    pub fn count(&self) -> usize {
        self.lock().values().map(Vec::len).sum()
    }

    /// Removes the connection of this stream from the pool: its server accepts no more streams.
    fn retire(&self, stream: &Arc<Http2Streams>) {
        for connections in self.lock().values_mut() {
            connections.retain(|connection| !Arc::ptr_eq(&connection.streams, stream));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lookup<Id, Vec<Http2Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Http2Connection {
    fn has_room(&self) -> bool {
        Arc::strong_count(&self.streams) <= self.streams.limit.load(Ordering::Relaxed)
    }

    fn lease(&mut self) -> Lease {
        self.idle_since = Instant::now();
        Lease { sender: self.sender.clone(), stream: Arc::clone(&self.streams) }
    }
}

/// A body and its stream. Dropping it resets the stream, unless the body was read to its end.
pub struct Http2Body {
    incoming: Incoming,
    _stream: Arc<Http2Streams>,
}

/// Sends a request. Cancel safe: dropping the future resets the stream.
pub async fn send(
    Lease { mut sender, stream }: Lease,
    request: Request<Full<Bytes>>,
    sent: &SentMark,
    connections: &Multiplexed,
) -> Result<(Parts, Http2Body), FailedRequest> {
    sent.set();
    let begun = Instant::now();
    match sender.try_send_request(request).await {
        Ok(response) => {
            let (parts, incoming) = response.into_parts();
            Ok((parts, Http2Body { incoming, _stream: stream }))
        }
        Err(mut failed) => {
            let is_unsent = failed.take_message().is_some();
            let error = failed.into_error();
            let retry = if is_unsent {
                Some(RetryReason::NotWritten)
            } else if is_not_processed(&error) {
                Some(RetryReason::RefusedStream)
            } else {
                // hyper does not report when the last byte was written, so the time runs from handing over the request.
                (is_connection_lost(&error) && begun.elapsed() <= CLOSE_RACE).then_some(RetryReason::ClosedEarly)
            };
            let reached = match retry {
                Some(RetryReason::NotWritten | RetryReason::RefusedStream) => {
                    connections.retire(&stream);
                    Reached::Nothing
                }
                _ => Reached::Server,
            };
            Err(FailedRequest { error: TransportError::of_http2(&error, reached), retry })
        }
    }
}

impl Http2Body {
    /// Returns the next bytes of the body; `None` at its end.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportError>>> {
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut self.incoming).poll_frame(cx)) {
                // Trailers are ignored.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Some(Ok(data)),
                    Err(_) => continue,
                },
                Some(Err(error)) => Some(Err(TransportError::of_http2(&error, Reached::Response))),
                None => None,
            });
        }
    }
}
