use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Splits a connection into a [`Socket`] for HTTP and a [`ClientWriter`] that detects a disconnect and chooses FIN or RST.
pub(super) fn split(stream: TcpStream, backlog: Arc<WriteBacklog>) -> (Socket, ClientWriter) {
    let (reading, writing) = stream.into_split();
    (Socket { reading, backlog }, ClientWriter(writing))
}

/// Whether HTTP holds bytes that the socket has not accepted yet.
#[derive(Default)]
pub(super) struct WriteBacklog(AtomicBool);

impl WriteBacklog {
    pub fn exists(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, written: usize, offered: usize) {
        self.0.store(written < offered, Ordering::Relaxed);
    }
}

/// The connection that HTTP owns.
///
/// It writes through the reading half, because writing needs no `&mut`. The writing half becomes the [`ClientWriter`].
pub(super) struct Socket {
    reading: OwnedReadHalf,
    backlog: Arc<WriteBacklog>,
}

/// The client's end of a connection, observed independently of HTTP.
pub(super) struct ClientWriter(OwnedWriteHalf);

impl ClientWriter {
    /// Resolves when the client has closed the connection or its sending half (FIN), or reset it (RST).
    ///
    /// HTTP/1.1 does not read while it holds bytes that it cannot process yet, such as the next request, so it would
    /// not detect a disconnect behind them. This method reads nothing: the operating system reports the disconnect.
    pub async fn disconnected(&self) {
        // Every read interest is woken by a disconnect (`Ready::READ_CLOSED`). `READABLE` would also be woken by each
        // byte before it. `PRIORITY` is woken by nothing else, since no socket is registered for urgent data.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = self.0.ready(tokio::io::Interest::PRIORITY).await;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        std::future::pending::<()>().await;
    }

    /// Makes the connection end with a close (FIN) when HTTP drops its [`Socket`].
    pub fn close(self) {
        // Dropping the writing half would send a FIN now.
        self.0.forget();
    }

    /// Makes the connection end with a reset (RST) when HTTP drops its [`Socket`].
    ///
    /// An HTTP/1.0 client takes a FIN for the end of the body, so a response that is cut short must not send one.
    pub fn reset(self) {
        if let Err(error) = SockRef::from(self.0.as_ref()).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "cannot reset a connection; closing it");
        }
        self.close();
    }
}

impl Socket {
    fn stream(&self) -> &TcpStream {
        self.reading.as_ref()
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        offered: usize,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.backlog.set(0, offered);
        loop {
            ready!(self.stream().poll_write_ready(cx))?;
            match write(self.stream()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => {
                    self.backlog.set(*written.as_ref().unwrap_or(&0), offered);
                    return Poll::Ready(written);
                }
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().reading).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, bytes.len(), |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = slices.iter().map(|slice| slice.len()).sum();
        self.poll_write_with(cx, offered, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: written bytes are already in the kernel.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(self.stream()).shutdown(Shutdown::Write))
    }
}
