//! A connection's bytes, with or without TLS, and what is known of a request that is written to it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::super::SentMark;
use super::error::Reached;

/// A TCP connection, with TLS for `https`.
pub enum Stream {
    Clear(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Clear(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Clear(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

/// The connection of one HTTP/1.1 request.
///
/// A failed write is not reported: a server may respond and close before it has read the whole request, and the response
/// must be read all the same. Reading then tells how the connection ended.
pub struct Wire {
    stream: Stream,
    sent: SentMark,
    /// Bytes of the request that the connection took.
    written: usize,
    last_write: Option<Instant>,
    /// Whether any byte of a response came.
    answered: Answered,
    writing: Writing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    No,
    Yes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// The last write took all that it was given.
    Flushed,
    /// The kernel's buffer is full.
    Blocked,
    Failed,
}

impl Wire {
    pub fn new(stream: Stream, sent: SentMark) -> Self {
        Self { stream, sent, written: 0, last_write: None, answered: Answered::No, writing: Writing::Flushed }
    }

    pub fn reached(&self) -> Reached {
        match (self.answered, self.written) {
            (Answered::Yes, _) => Reached::Response,
            (Answered::No, 0) => Reached::Nothing,
            (Answered::No, _) => Reached::Server,
        }
    }

    /// Whether a request with a body of this length certainly was not written to its end: the head is not counted.
    pub fn is_cut_short(&self, body: usize) -> bool {
        self.written == 0 || self.written < body
    }

    pub fn last_write(&self) -> Option<Instant> {
        self.last_write
    }

    /// The connection, unless some of the request is still unwritten.
    pub fn into_flushed(self) -> Option<Stream> {
        let has_pending_records = matches!(&self.stream, Stream::Tls(stream) if stream.get_ref().1.wants_write());
        (self.writing == Writing::Flushed && !has_pending_records).then_some(self.stream)
    }

    fn note(
        &mut self,
        offered: usize,
        mut write: impl FnMut(Pin<&mut Stream>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.writing == Writing::Failed {
            return Poll::Ready(Ok(offered));
        }
        self.sent.set();
        self.writing = Writing::Blocked;
        let Ok(taken) = ready!(write(Pin::new(&mut self.stream))) else {
            self.writing = Writing::Failed;
            return Poll::Ready(Ok(offered));
        };
        self.written += taken;
        self.last_write = Some(Instant::now());
        if taken == offered {
            self.writing = Writing::Flushed;
        }
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.answered = Answered::Yes;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.note(bytes.len(), |stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.writing == Writing::Failed {
            return Poll::Ready(Ok(()));
        }
        if ready!(Pin::new(&mut self.stream).poll_flush(cx)).is_err() {
            self.writing = Writing::Failed;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = parts.iter().map(|part| part.len()).sum();
        self.note(offered, |stream| stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
