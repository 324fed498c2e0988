//! A connection and the HTTP/1.1 request written to it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::buf::Chain;
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::io::poll_write_buf;

use super::super::SentMark;
use super::error::Reached;
use super::stream::Stream;

/// The connection of one HTTP/1.1 request, and the unwritten part of that request.
///
/// A failed write is not reported: a server may respond and close before it has read the whole request, and its response
/// must still be read. The next read reports the end of the connection.
pub struct Http1Connection {
    stream: Stream,
    sent: SentMark,
    unwritten: Chain<Bytes, Bytes>,
    last_write: Option<Instant>,
    reached: Reached,
    writing: Writing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Ongoing,
    /// The whole request was written and flushed.
    Done,
    Failed,
}

/// Maximum bytes of one read.
const MAX_READ: usize = 16 * 1024;

thread_local! {
    /// The buffer of every read on this thread. An open connection therefore holds none.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Http1Connection {
    pub fn new(stream: Stream, head: Bytes, body: Bytes, sent: SentMark) -> Self {
        let unwritten = head.chain(body);
        Self { stream, sent, unwritten, last_write: None, reached: Reached::Nothing, writing: Writing::Ongoing }
    }

    pub const fn reached(&self) -> Reached {
        self.reached
    }

    /// Returns whether the server cannot have read the whole request.
    pub fn is_cut_short(&self) -> bool {
        self.unwritten.has_remaining()
    }

    pub const fn last_write(&self) -> Option<Instant> {
        self.last_write
    }

    /// Returns the connection, unless part of the request is unwritten.
    pub fn into_stream(self) -> Option<Stream> {
        (self.writing == Writing::Done).then_some(self.stream)
    }

    /// Writes as much of the request as the connection accepts now.
    pub fn poll_request(&mut self, cx: &mut Context<'_>) {
        if self.writing != Writing::Ongoing {
            return;
        }
        self.sent.set();
        let mut stream = Pin::new(&mut self.stream);
        while self.unwritten.has_remaining() {
            match poll_write_buf(stream.as_mut(), cx, &mut self.unwritten) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    self.reached = self.reached.max(Reached::Server);
                    self.last_write = Some(Instant::now());
                }
                Poll::Ready(_) => {
                    self.writing = Writing::Failed;
                    return;
                }
                Poll::Pending => return,
            }
        }
        match stream.poll_flush(cx) {
            Poll::Ready(Ok(())) => self.writing = Writing::Done,
            Poll::Ready(Err(_)) => self.writing = Writing::Failed,
            Poll::Pending => return,
        }
        // Free the request's memory: the response may take minutes.
        self.unwritten = Bytes::new().chain(Bytes::new());
    }

    /// Reads once and passes the bytes to `take`. An empty slice means that the server closed the connection.
    pub fn poll_read<T>(&mut self, cx: &mut Context<'_>, take: impl FnOnce(&[u8]) -> T) -> Poll<io::Result<T>> {
        let mut scratch = SCRATCH.take();
        scratch.resize(MAX_READ, 0);
        let mut buffer = ReadBuf::new(&mut scratch);
        let polled = Pin::new(&mut self.stream).poll_read(cx, &mut buffer).map_ok(|()| {
            if !buffer.filled().is_empty() {
                self.reached = Reached::Response;
            }
            take(buffer.filled())
        });
        SCRATCH.set(scratch);
        polled
    }
}
