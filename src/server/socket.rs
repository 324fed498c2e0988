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

/// Gives HTTP a connection to speak on, and keeps a hold on its other end.
pub(super) fn split(stream: TcpStream, backlog: Arc<WriteBacklog>) -> (Socket, Client) {
    let (reading, writing) = stream.into_split();
    (Socket { reading, backlog }, Client(writing))
}

/// Whether HTTP holds bytes that the connection has not taken yet.
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
/// It also writes: that needs no `&mut`, so the writing half is free to be the [`Client`].
pub(super) struct Socket {
    reading: OwnedReadHalf,
    backlog: Arc<WriteBacklog>,
}

/// The one at the other end, seen past HTTP.
pub(super) struct Client(OwnedWriteHalf);

impl Client {
    /// Resolves when the client has closed the connection or its sending half (FIN), or reset it (RST).
    ///
    /// HTTP/1.1 does not read while it has bytes that it has no use for yet, such as the next request, and so would
    /// not see the end behind them. This reads nothing: the operating system tells.
    pub async fn left(&self) {
        // Every interest in reading hears of the end (`Ready::READ_CLOSED`). `READABLE` would also hear of each
        // byte before it; `PRIORITY` hears of nothing else, since no socket is registered for urgent data.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = self.0.ready(tokio::io::Interest::PRIORITY).await;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        std::future::pending::<()>().await;
    }

    /// Lets the connection end with a close (FIN) once HTTP drops its [`Socket`].
    pub fn close(self) {
        // Its drop would send a FIN now.
        self.0.forget();
    }

    /// Lets the connection end with a reset (RST) once HTTP drops its [`Socket`].
    ///
    /// To an HTTP/1.0 client the FIN is the end of the body, so a response that breaks off must not send one.
    pub fn reset(self) {
        if let Err(error) = SockRef::from(self.0.as_ref()).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "a connection is closed instead of reset");
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

    /// There is nothing to flush: the operating system has what was written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(self.stream()).shutdown(Shutdown::Write))
    }
}
