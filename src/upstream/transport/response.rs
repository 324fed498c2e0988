//! A response whose body is streamed.

use std::task::{Context, Poll, ready};

use hyper::http::response::Parts;
use hyper::{HeaderMap, StatusCode};
use tokio::task::coop::poll_proceed;

use super::decoder::ContentDecoder;
use super::error::TransportError;
use super::framing::More;
use super::http1::Http1Body;
use super::http2::Http2Body;

/// Not `Debug`: it holds the model's answer. Dropping it closes an HTTP/1.1 connection and resets an HTTP/2 stream that
/// has not ended; [`Response::recycle`] keeps the connection.
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: ResponseBody,
    /// Boxed, because it is large and rarely used.
    decoder: Option<Box<ContentDecoder>>,
}

pub enum ResponseBody {
    Http1(Box<Http1Body>),
    Http2(Http2Body),
}

/// Bytes after which one poll returns, even if more are readable. A task polls at most 64 times before it yields, so a
/// flood delays the task's deadlines by at most 2 MiB.
const BATCH: usize = 16 * 1024;

impl Response {
    /// Errors: a content coding that cannot be decoded.
    pub fn new(parts: Parts, body: ResponseBody) -> Result<Self, TransportError> {
        let decoder = ContentDecoder::of(&parts.headers)?.map(Box::new);
        Ok(Self { status: parts.status, headers: parts.headers, body, decoder })
    }

    /// Allows the connection to carry another request. Must be called only after the caller accepted the response as
    /// an answer, or as an error with a 4xx or 5xx status (RFC 9110, section 15).
    ///
    /// An HTTP/1.1 connection is closed nevertheless if the response was not read to its end, or if its status is not
    /// 2xx, 4xx or 5xx: the server's behavior is then unknown, and late bytes would be read as the response to the next
    /// request.
    pub fn recycle(self) {
        let status = self.status;
        let is_understood = status.is_success() || status.is_client_error() || status.is_server_error();
        match self.body {
            ResponseBody::Http1(body) if is_understood => body.recycle(),
            ResponseBody::Http1(_) | ResponseBody::Http2(_) => {}
        }
    }

    /// Waits until the body is readable and passes the readable bytes, decoded, to `sink`: at most `BATCH` plus one
    /// read. Consumes the task's coop budget: a server that sends without a pause cannot starve the task's deadlines.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut impl FnMut(&[u8]),
    ) -> Poll<Result<More, TransportError>> {
        let budget = ready!(poll_proceed(cx));
        let mut delivered = 0;
        while delivered < BATCH {
            if let Some(decoder) = self.decoder.as_mut().filter(|decoder| decoder.has_more()) {
                delivered += decoder.step(sink)?;
                continue;
            }
            let read = match &mut self.decoder {
                None => self.body.poll_read(cx, &mut |data: &[u8]| {
                    delivered += data.len();
                    sink(data);
                }),
                Some(decoder) => {
                    let mut coded = Vec::new();
                    let read = self.body.poll_read(cx, &mut |data: &[u8]| coded.extend_from_slice(data));
                    if !coded.is_empty() {
                        decoder.feed(coded.into());
                    }
                    read
                }
            };
            match read {
                Poll::Ready(Ok(More::Maybe)) => {}
                Poll::Ready(Ok(More::None)) => {
                    let finished = self.decoder.as_mut().map_or(Ok(()), |decoder| decoder.finish());
                    return Poll::Ready(finished.map(|()| More::None));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if delivered == 0 => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        budget.made_progress();
        Poll::Ready(Ok(More::Maybe))
    }
}

impl ResponseBody {
    fn poll_read(&mut self, cx: &mut Context<'_>, sink: &mut impl FnMut(&[u8])) -> Poll<Result<More, TransportError>> {
        match self {
            Self::Http1(body) => body.poll_read(cx, sink),
            Self::Http2(body) => match ready!(body.poll_data(cx)) {
                Some(data) => {
                    sink(&data?);
                    Poll::Ready(Ok(More::Maybe))
                }
                None => Poll::Ready(Ok(More::None)),
            },
        }
    }
}
