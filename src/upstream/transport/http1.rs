//! HTTP/1.1: hyper's connection, driven by the task that reads the response.
//!
//! hyper hands a body over through a channel of one slot. In a task of its own the connection would cost two task switches
//! for each chunk; here body and connection are polled in turn until both are pending, so that everything readable is
//! handed over in one wake-up.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, TRANSFER_ENCODING};
use hyper::http::response::Parts;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use super::super::SentMark;
use super::CLOSE_RACE;
use super::error::{Reached, TransportError};
use super::idle::Idle;
use super::repeats::RepeatReason;
use super::wire::{Stream, Wire};

/// Bytes that one read may bring, and the longest head of a response. One unit of a task's budget is spent for each read:
/// the larger a read, the later a task that is flooded looks at its deadlines.
const MAX_BUFFER: usize = 32 * 1024;

/// The connection of one request, until its response has been read.
pub struct Exchange {
    connection: Driven,
    sender: SendRequest<Full<Bytes>>,
    idle: Idle,
    /// Zero: the connection is not kept.
    keepalive: Duration,
}

/// hyper's connection, polled only by the task that waits for what it brings.
struct Driven {
    connection: Connection<TokioIo<Wire>, Full<Bytes>>,
    has_ended: HasEnded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HasEnded {
    No,
    Yes,
}

/// A body and the connection it comes on. Dropping it closes the connection, unless the body was read to its end.
pub struct Http1Body {
    incoming: Incoming,
    /// `None` once the body has ended.
    exchange: Option<Exchange>,
}

/// A request without a response.
pub struct Failure {
    pub error: TransportError,
    /// Set where the request may be sent once more, if its connection was reused.
    pub repeat: Option<RepeatReason>,
}

/// Sends a request. Cancel safe: dropping the future closes the connection.
pub async fn send(
    stream: Stream,
    request: Request<Full<Bytes>>,
    sent: SentMark,
    (idle, keepalive): (Idle, Duration),
) -> Result<(Parts, Http1Body), Failure> {
    let body = request.body().size_hint().exact().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    let io = TokioIo::new(Wire::new(stream, sent));
    let handshake = Builder::new().max_buf_size(MAX_BUFFER).handshake(io).await;
    let (mut sender, connection) = handshake
        .map_err(|error| Failure { error: TransportError::of_http(&error, Reached::Nothing), repeat: None })?;
    let mut driven = Driven { connection, has_ended: HasEnded::No };
    let mut response = pin!(sender.send_request(request));
    let response = poll_fn(|cx| driven.poll_until(cx, |cx| response.as_mut().poll(cx))).await;
    let Some(Ok(response)) = response else {
        let wire = driven.connection.into_parts().io.into_inner();
        let error = match response {
            Some(Err(error)) => TransportError::of_http(&error, wire.reached()),
            _ => TransportError::closed(wire.reached()),
        };
        return Err(Failure { repeat: repeat_reason(&wire, body), error });
    };
    let (parts, incoming) = response.into_parts();
    check_framing(&parts).map_err(|error| Failure { error, repeat: None })?;
    let keepalive = match is_ambiguous(&parts.headers) {
        true => Duration::ZERO,
        false => keepalive_of(&parts.headers, keepalive),
    };
    let mut body = Http1Body { incoming, exchange: Some(Exchange { connection: driven, sender, idle, keepalive }) };
    if body.incoming.is_end_stream() {
        // Callers need not read an empty body.
        poll_fn(|cx| {
            body.release(cx);
            Poll::Ready(())
        })
        .await;
    }
    Ok((parts, body))
}

/// Why a request may be sent once more, if its connection was reused: not a byte of a response came, and the server cannot
/// have read all of the request, or ended the connection so soon that it must have decided to before the request came.
fn repeat_reason(wire: &Wire, body: usize) -> Option<RepeatReason> {
    match wire.reached() {
        Reached::Response => None,
        _ if wire.is_cut_short(body) => Some(RepeatReason::NotWritten),
        _ => wire.last_write().is_some_and(|last| last.elapsed() <= CLOSE_RACE).then_some(RepeatReason::ClosedEarly),
    }
}

impl Driven {
    /// Polls `step` and the connection in turn until both are pending. `None`: the connection ended, and `step` will not.
    fn poll_until<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Option<T>> {
        // Only the connection, polled here, makes progress possible for the step.
        let mut no_wake = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(done) = step(&mut no_wake) {
                return Poll::Ready(Some(done));
            }
            if self.has_ended == HasEnded::Yes {
                return Poll::Ready(None);
            }
            // Its own errors reach the step.
            let polled = Pin::new(&mut self.connection).poll(cx);
            if polled.is_ready() {
                self.has_ended = HasEnded::Yes;
            } else {
                return step(&mut no_wake).map(Some);
            }
        }
    }
}

impl Http1Body {
    /// The next bytes of the body; `None` at its end, when the connection waits for the next request.
    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportError>>> {
        loop {
            let Some(exchange) = &mut self.exchange else { return Poll::Ready(None) };
            let incoming = &mut self.incoming;
            let frame = ready!(exchange.connection.poll_until(cx, |cx| Pin::new(&mut *incoming).poll_frame(cx)));
            match frame {
                Some(Some(Ok(frame))) => {
                    // Trailers mean nothing here.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(None) => {
                    self.release(cx);
                    return Poll::Ready(None);
                }
                Some(Some(Err(error))) => {
                    self.exchange = None;
                    return Poll::Ready(Some(Err(TransportError::of_http(&error, Reached::Response))));
                }
                None => {
                    self.exchange = None;
                    return Poll::Ready(Some(Err(TransportError::closed(Reached::Response))));
                }
            }
        }
    }

    /// Keeps the connection for the next request, unless something came behind the body, some of the request is unwritten,
    /// or either side wants it closed.
    fn release(&mut self, cx: &mut Context<'_>) {
        let Some(mut exchange) = self.exchange.take() else { return };
        let driven = &mut exchange.connection;
        let is_open = driven.has_ended == HasEnded::No && Pin::new(&mut driven.connection).poll(cx).is_pending();
        if !is_open || !exchange.sender.is_ready() || exchange.keepalive.is_zero() {
            return;
        }
        let parts = exchange.connection.connection.into_parts();
        if parts.read_buf.is_empty()
            && let Some(stream) = parts.io.into_inner().into_flushed()
        {
            exchange.idle.put(stream, exchange.keepalive);
        }
    }
}

/// Refuses framings that hyper reads and this client does not: another transfer coding than `chunked`, and another
/// protocol.
fn check_framing(parts: &Parts) -> Result<(), TransportError> {
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(TransportError::protocol("the server switched protocols"));
    }
    let is_chunked =
        |value: &hyper::header::HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    if !parts.headers.get_all(TRANSFER_ENCODING).iter().all(is_chunked) {
        return Err(TransportError::protocol("the response's Transfer-Encoding is not supported"));
    }
    Ok(())
}

/// Both together are how one response is smuggled behind another (RFC 9112, section 6.3).
fn is_ambiguous(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH)
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// How long before the server's own `Keep-Alive: timeout` a connection is given up.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

/// How long a connection may wait after this response: `limit`, or a second less than the server's `Keep-Alive: timeout`.
fn keepalive_of(headers: &HeaderMap, limit: Duration) -> Duration {
    let values = headers.get_all(KEEP_ALIVE).into_iter().filter_map(|value| value.to_str().ok());
    let timeouts = values.flat_map(|value| value.split(',')).filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok().map(Duration::from_secs);
        seconds.filter(|_| name.trim().eq_ignore_ascii_case("timeout"))
    });
    timeouts.fold(limit, |limit, timeout| limit.min(timeout.saturating_sub(KEEP_ALIVE_MARGIN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_keep_alive_timeout_is_kept_with_a_second_to_spare() {
        let limit = Duration::from_secs(4);
        for (value, seconds) in [
            ("timeout=5", 4),
            ("timeout=3", 2),
            ("max=100, Timeout = 2", 1),
            ("timeout=\"3\"", 2),
            ("timeout=1", 0),
            ("timeout=0", 0),
            ("timeout=x", 4),
            ("max=1", 4),
            ("", 4),
        ] {
            let headers = HeaderMap::from_iter([(KEEP_ALIVE, value.parse().unwrap())]);
            assert_eq!(keepalive_of(&headers, limit), Duration::from_secs(seconds), "{value}");
        }
        assert_eq!(keepalive_of(&HeaderMap::new(), limit), limit);
    }
}
