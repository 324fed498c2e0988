//! HTTP/1.1 (RFC 9112), read by the generation's task.
//!
//! hyper's client is not used. Driven in the same task, it needed 36 % more instructions for each token and twice the
//! memory for each open stream (`benches/RESULTS.md`). This reader wakes the task once for each token, delivers all
//! bytes of a read together, and holds no buffer between reads.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{HeaderMap, HeaderName};
use hyper::http::response::Parts;
use tokio::time::Instant;

use super::super::SentMark;
use super::error::{Reached, TransportError};
use super::framing::{Framing, InvalidFramingError, More};
use super::http1_connection::Http1Connection;
use super::idle::Idle;
use super::response_head::{Persistence, ResponseHead};
use super::retries::{CLOSE_RACE, FailedRequest, RetryReason};
use super::stream::Stream;

/// A response body and its connection. Dropping it closes the connection; [`Http1Body::recycle`] keeps the connection.
pub struct Http1Body {
    framing: Framing,
    /// Bytes of the body that arrived in the same read as the head.
    early: Bytes,
    /// `None` once the connection has failed or ended.
    connection: Option<Http1Connection>,
    content: BodyContent,
    idle: Idle,
    /// How long the connection may stay idle. Zero: it is not reused.
    keepalive: Duration,
    /// When the last byte of the body was read.
    ended: Option<Instant>,
}

/// Whether any content of a body has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyContent {
    None,
    Some,
}

/// Sends a request and reads the head of its response. Cancel safe: dropping the future closes the connection.
pub async fn send(
    stream: Stream,
    (head, body): (Bytes, Bytes),
    sent: SentMark,
    (idle, keepalive): (Idle, Duration),
) -> Result<(Parts, Http1Body), FailedRequest> {
    let (mut connection, mut read) = (Http1Connection::new(stream, head, body, sent), Vec::new());
    let head = poll_fn(|cx| poll_head(&mut connection, &mut read, cx)).await;
    let ResponseHead { parts, framing, persistence } =
        head.map_err(|error| FailedRequest { retry: retry_reason(&connection), error })?;
    let keepalive = match persistence {
        Persistence::Persists => keepalive_of(&parts.headers, keepalive),
        Persistence::Closes => Duration::ZERO,
    };
    let (early, connection, content) = (read.into(), Some(connection), BodyContent::None);
    let body = Http1Body { framing, early, connection, content, idle, keepalive, ended: None };
    Ok((parts, body))
}

/// Writes and reads concurrently: a server may respond before it has read the whole request and then stop reading.
fn poll_head(
    connection: &mut Http1Connection,
    read: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<Result<ResponseHead, TransportError>> {
    connection.poll_request(cx);
    loop {
        let polled = connection.poll_read(cx, |bytes| {
            read.extend_from_slice(bytes);
            bytes.len()
        });
        match ready!(polled) {
            Ok(0) => return Poll::Ready(Err(TransportError::closed(connection.reached()))),
            Ok(_) => {}
            Err(error) => return Poll::Ready(Err(TransportError::of_io(&error, connection.reached()))),
        }
        if let Some(head) = ResponseHead::take(read)? {
            return Poll::Ready(Ok(head));
        }
    }
}

/// Returns why a request on a reused connection may be retried. No byte of a response arrived, and either the server
/// cannot have read the whole request, or it closed the connection so soon (`CLOSE_RACE`) that it must have decided to
/// close before the request arrived.
fn retry_reason(connection: &Http1Connection) -> Option<RetryReason> {
    match connection.reached() {
        Reached::Response => None,
        _ if connection.is_cut_short() => Some(RetryReason::NotWritten),
        _ => {
            connection.last_write().is_some_and(|last| last.elapsed() <= CLOSE_RACE).then_some(RetryReason::ClosedEarly)
        }
    }
}

impl Http1Body {
    /// Passes the next bytes of the body to `sink`.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut impl FnMut(&[u8]),
    ) -> Poll<Result<More, TransportError>> {
        let mut more = More::None;
        while more == More::None && !self.framing.has_ended() {
            let Some(connection) = &mut self.connection else { return Poll::Ready(Ok(More::None)) };
            // Keep writing: a server may begin to respond while it still reads the request.
            connection.poll_request(cx);
            let (framing, early) = (&mut self.framing, std::mem::take(&mut self.early));
            let mut delivering = |data: &[u8]| {
                more = More::Maybe;
                sink(data);
            };
            let mut take = |bytes: &[u8]| framing.take(bytes, &mut delivering).map(Bytes::copy_from_slice);
            let taken = if early.is_empty() {
                ready!(connection.poll_read(cx, |bytes| if bytes.is_empty() { None } else { Some(take(bytes)) }))
            } else {
                Ok(Some(take(&early)))
            };
            match taken {
                Ok(Some(Ok(behind))) => self.early = behind,
                failed => {
                    self.connection = None;
                    return Poll::Ready(self.end_with(failed).map_or(Ok(More::None), Err));
                }
            }
            if self.framing.has_ended() {
                self.ended = Some(Instant::now());
            }
        }
        if more == More::Maybe {
            self.content = BodyContent::Some;
        }
        Poll::Ready(Ok(more))
    }

    /// Returns why the body is incomplete. `None`: the body is complete, because it ends with its connection.
    fn end_with(&self, failed: io::Result<Option<Result<Bytes, InvalidFramingError>>>) -> Option<TransportError> {
        match failed {
            Ok(Some(_)) => Some(TransportError::protocol("the response's body is not valid HTTP")),
            Ok(None) if self.framing == Framing::UntilClose => None,
            Ok(None) => Some(TransportError::closed(Reached::Response)),
            Err(error) => Some(TransportError::of_io(&error, Reached::Response)),
        }
    }

    /// Returns the connection to the idle pool. Closes it instead if the body has not ended, had no content or was
    /// followed by more bytes, if part of the request is unwritten, or if either side closes the connection.
    ///
    /// A response without content closes its connection. Otherwise, if a server wrongly sends a body with a 204 or
    /// after `Content-Length: 0`, that body would be read as the response to the next request.
    pub fn recycle(self) {
        let Some(ended) = self.ended.filter(|_| self.content == BodyContent::Some && self.early.is_empty()) else {
            return;
        };
        // The server's idle timeout began when it sent the last byte.
        let left = self.keepalive.saturating_sub(ended.elapsed());
        let stream = self.connection.and_then(Http1Connection::into_stream);
        if let Some(stream) = stream.filter(|_| !left.is_zero()) {
            self.idle.put(stream, left);
        }
    }
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// How long before the server's `Keep-Alive: timeout` a connection is closed.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

/// Returns how long a connection may stay idle after this response: at most `limit`, and at most
/// `KEEP_ALIVE_MARGIN` less than the server's `Keep-Alive: timeout`.
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
    fn server_keep_alive_timeout_is_reduced_by_one_second() {
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
