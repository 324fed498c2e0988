//! A server whose requests the test answers one by one, and a client that sends raw bytes.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use hyper::{Request, Response};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{IncomingBody, ListenerLimits, Threads, bind, serve};

/// A deadline that a test waits for.
pub const SHORT: Duration = Duration::from_millis(60);
/// A deadline that must not expire during a test.
pub const LONG: Duration = Duration::from_mins(1);

/// Returns limits under which no deadline ends a connection, unless the test sets one.
pub fn patient() -> ListenerLimits {
    ListenerLimits { first_request: LONG, header: LONG, close: LONG, ..ListenerLimits::default() }
}

pub async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(5), future).await.expect("within five seconds")
}

pub fn listen(limits: &ListenerLimits) -> TcpListener {
    bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), limits).unwrap()
}

pub struct Server {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
    calls: mpsc::Receiver<Call>,
}

impl Server {
    pub fn start(limits: ListenerLimits) -> Self {
        Self::serve(listen(&limits), limits)
    }

    pub fn serve(listener: TcpListener, limits: ListenerLimits) -> Self {
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (called, calls) = mpsc::channel(1);
        let service = tower::service_fn(move |request| {
            let called = called.clone();
            async move {
                let (answer, answered) = oneshot::channel();
                called.send(Call { request, answer }).await.expect("the test receives calls");
                match answered.await {
                    Ok(response) => Ok::<_, Infallible>(response),
                    Err(_) => pending().await,
                }
            }
        });
        let task = TaskTracker::new().spawn(serve(listener, service, limits, Threads::current(), stop.clone()));
        Self { address, stop, task, calls }
    }

    pub async fn connect(&self) -> Client {
        Client(soon(TcpStream::connect(self.address)).await.unwrap())
    }

    pub async fn call(&mut self) -> Call {
        soon(self.calls.recv()).await.unwrap()
    }

    /// Returns a client that received one response and whose connection is kept alive.
    pub async fn idle_client(&mut self) -> Client {
        let mut client = self.connect().await;
        client.send(GET).await;
        self.call().await.answer("hello");
        client.read_until("0\r\n\r\n").await;
        client
    }

    /// Returns a client that reads an unfinished response.
    pub async fn reading_client(&mut self, request: impl AsRef<[u8]>) -> (Client, BodySender) {
        let mut client = self.connect().await;
        client.send(request).await;
        let events = self.call().await.stream();
        events.send("first").await;
        client.read_until("first").await;
        (client, events)
    }

    pub async fn ended(self) {
        soon(self.task).await.unwrap();
    }
}

/// A request that waits for its response.
pub struct Call {
    pub request: Request<IncomingBody>,
    answer: oneshot::Sender<Response<Chunks>>,
}

impl Call {
    pub fn answer(self, text: &'static str) {
        let (chunks, body) = mpsc::channel(1);
        chunks.try_send(Ok(Bytes::from(text))).unwrap();
        self.answer.send(Response::new(Chunks(body))).ok();
    }

    pub fn stream(self) -> BodySender {
        let (chunks, body) = mpsc::channel(1);
        self.answer.send(Response::new(Chunks(body))).ok();
        BodySender(chunks)
    }

    /// Resolves when the server has dropped the handler.
    pub async fn dropped(&mut self) {
        soon(self.answer.closed()).await;
    }
}

/// The test's end of a response body. Dropping it ends the body without an error.
pub struct BodySender(mpsc::Sender<io::Result<Bytes>>);

impl BodySender {
    pub async fn send(&self, text: &'static str) {
        soon(self.0.send(Ok(Bytes::from(text)))).await.unwrap();
    }

    pub async fn break_off(self) {
        soon(self.0.send(Err(io::Error::other("the log was lost")))).await.unwrap();
    }

    /// Resolves when the server has dropped the body.
    pub async fn dropped(&self) {
        soon(self.0.closed()).await;
    }
}

pub struct Chunks(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|chunk| Some(chunk?.map(Frame::data)))
    }
}

pub const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
pub const GET_HTTP10: &str = "GET / HTTP/1.0\r\n\r\n";

/// The same request in HTTP/2: preface, empty SETTINGS, and HEADERS that end stream 1 (RFC 9113 sections 3.4, 6.2).
pub const GET_HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \0\0\0\x04\0\0\0\0\0\
    \0\0\x0e\x01\x05\0\0\0\x01\x82\x86\x84\x41\x09localhost";

/// An HTTP/1.1 request whose body lacks its last byte.
pub const HALF_POST: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nab";

/// The same request in HTTP/2, on stream 1: a DATA frame that does not end the stream.
pub const HALF_POST_HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\
    \0\0\0\x04\0\0\0\0\0\
    \0\0\x0e\x01\x04\0\0\0\x01\x83\x86\x84\x41\x09localhost\
    \0\0\x02\0\0\0\0\0\x01ab";

/// A further request without a body, on stream 3.
pub const GET_ON_STREAM_3: &[u8] = b"\0\0\x0e\x01\x05\0\0\0\x03\x82\x86\x84\x41\x09localhost";

/// The start of a HEADERS frame on stream 1 that begins with `:status: 200` (RFC 7541 appendix A, index 8).
pub const OK_HTTP2: &[u8] = b"\x01\x04\0\0\0\x01\x88";

/// `RST_STREAM` on stream 1 with the code CANCEL.
pub const RESET_HTTP2: &[u8] = b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08";

pub struct Client(pub TcpStream);

#[derive(Clone, Copy)]
pub enum Way {
    Close,
    Reset,
    HalfClose,
}

impl Client {
    /// Disconnects. Returns the client if its receiving half stays open.
    pub async fn disconnect(mut self, way: Way) -> Option<Self> {
        match way {
            Way::Close => None,
            Way::Reset => {
                SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).unwrap();
                None
            }
            Way::HalfClose => {
                self.0.shutdown().await.unwrap();
                Some(self)
            }
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Returns everything up to and including `end`, and the bytes of the same packet after it.
    pub async fn read_until(&mut self, end: impl AsRef<[u8]>) -> Vec<u8> {
        let mut read = Vec::new();
        while !contains(&read, end.as_ref()) {
            let count = soon(self.0.read_buf(&mut read)).await.unwrap();
            assert_ne!(count, 0, "closed after {:?}", String::from_utf8_lossy(&read));
        }
        read
    }

    /// Waits until the server closes the connection. Returns the remaining bytes, or the error of a reset.
    pub async fn closed(&mut self) -> io::Result<String> {
        let mut rest = Vec::new();
        soon(self.0.read_to_end(&mut rest)).await?;
        Ok(String::from_utf8_lossy(&rest).into_owned())
    }
}

pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
