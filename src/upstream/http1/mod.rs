//! HTTP/1.1 in the clear (RFC 9112), read by the task that wants the answer.
//!
//! ```text
//! mod.rs    a request out, a response in
//! head.rs   what both begin with
//! body.rs   where a response's body ends, and what of its bytes is content
//! idle.rs   connections between two requests
//! ```
//!
//! Not hyper's client: that hands a body over from a task of its own, chunk by chunk, so that each token takes two
//! wake-ups more, and it holds 25 KiB for each connection. Here a token is one wake-up, whatever a read brings is
//! taken at once, and a connection that waits holds no buffer. TLS stays with `reqwest`.
//!
//! Deliberately absent: redirects, proxies, compression, upgrades, pipelining and a second try.

mod body;
mod head;
mod idle;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::{HeaderMap, StatusCode};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use body::Body;
use head::Head;

pub use head::Request;
pub use idle::{Idle, Origin};

/// Why there is no response, or no more of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("no connection")]
    Unreachable,
    #[error("no connection in time")]
    ConnectTimeout,
    /// The connection ended, or what came over it is not HTTP/1.1. The request may have arrived.
    #[error("the exchange broke off")]
    Broken,
}

/// Sends a request once, over a connection that waits or a new one. Dropping this, or the response, closes it.
pub async fn send(idle: &Idle, request: &Request, body: &[u8], connect: Duration) -> Result<Response, Fault> {
    let origin = &request.origin;
    let stream = match idle.take(origin) {
        Some(stream) => stream,
        None => open(origin, connect).await?,
    };
    let mut exchange = Exchange { stream, unsent: request.bytes(body), refused: None, read: Vec::new() };
    let head = poll_fn(|context| exchange.poll_head(context)).await?;
    if !head.status.is_success() && !exchange.unsent.is_empty() {
        // Nobody reads the rest.
        exchange.refused = Some(io::ErrorKind::BrokenPipe);
    }
    let early = std::mem::take(&mut exchange.read);
    let mut response = Response {
        status: head.status,
        headers: head.headers,
        body: head.body,
        early: if early.is_empty() { Vec::new() } else { early },
        keep: head.may_follow.then(|| (idle.clone(), origin.clone())),
        exchange: Some(exchange),
    };
    response.let_go_of_a_finished_connection();
    Ok(response)
}

async fn open(origin: &Origin, connect: Duration) -> Result<TcpStream, Fault> {
    let connecting = async {
        let found = lookup_host((origin.host(), origin.port())).await.map_err(|_| Fault::Unreachable)?;
        let (mut fault, addresses) = (Fault::Unreachable, found.collect::<Vec<_>>());
        // One that takes nothing leaves time for the others.
        let share = connect / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(_)) => {}
                Err(_) => fault = Fault::ConnectTimeout,
            }
        }
        Err(fault)
    };
    let stream = timeout(connect, connecting).await.unwrap_or(Err(Fault::ConnectTimeout))?;
    let socket = SockRef::from(&stream);
    // Without it a request that is sent in two parts waits for the first to be acknowledged.
    _ = socket.set_tcp_nodelay(true);
    // A server that vanishes without a word is noticed, also between two requests.
    _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE).with_retries(3));
    #[cfg(target_os = "linux")]
    {
        _ = socket.set_tcp_user_timeout(Some(KEEPALIVE * 2));
    }
    Ok(stream)
}

/// As reqwest has it.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// A request under way.
struct Exchange {
    stream: TcpStream,
    unsent: Bytes,
    /// Why the rest of the request was not taken; an answer may have come all the same.
    refused: Option<io::ErrorKind>,
    read: Vec<u8>,
}

impl Exchange {
    /// Writes as much of the request as is taken now; the context is woken when more is.
    fn write_on(&mut self, context: &mut Context<'_>) {
        while !self.unsent.is_empty() && self.refused.is_none() {
            match Pin::new(&mut self.stream).poll_write(context, &self.unsent) {
                Poll::Ready(Ok(written)) if written > 0 => self.unsent.advance(written),
                Poll::Ready(Ok(_)) => self.refused = Some(io::ErrorKind::WriteZero),
                Poll::Ready(Err(error)) => self.refused = Some(error.kind()),
                Poll::Pending => return,
            }
        }
        if self.unsent.is_empty() {
            // What has been sent is not held any longer.
            self.unsent = Bytes::new();
        }
    }

    /// Writes and reads side by side: a server may answer before it has read all, and then read no more.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, Fault>> {
        self.write_on(context);
        loop {
            let read = ready!(poll_read(&mut self.stream, context, |bytes| {
                self.read.extend_from_slice(bytes);
                bytes.len()
            }));
            if read.map_err(|_| Fault::Broken)? == 0 {
                return Poll::Ready(Err(Fault::Broken));
            }
            if let Some(head) = Head::take(&mut self.read)? {
                return Poll::Ready(Ok(head));
            }
        }
    }
}

/// A response whose body comes as it is read. Not `Debug`: it holds what was asked and what is said.
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Body,
    /// What of the body came with the head.
    early: Vec<u8>,
    /// `None` once the body is over.
    exchange: Option<Exchange>,
    /// Where its connection waits after it, if it can be used again.
    keep: Option<(Idle, Origin)>,
}

/// Whether there may be more of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    Maybe,
    None,
}

impl Response {
    /// Gives `sink` what of the body there is, as soon as there is any. A connection whose body is over waits for the
    /// next request at once, also if nobody asks again.
    pub fn poll_read(&mut self, context: &mut Context<'_>, sink: &mut impl FnMut(&[u8])) -> Poll<Result<More, Fault>> {
        let Some(exchange) = &mut self.exchange else { return Poll::Ready(Ok(More::None)) };
        // A server may begin to answer while it still reads what it is asked.
        exchange.write_on(context);
        let body = &mut self.body;
        let taken = if self.early.is_empty() {
            let mut taken = Ok(());
            let read = ready!(poll_read(&mut exchange.stream, context, |bytes| {
                taken = body.take(bytes, sink).map(|rest| self.early.extend_from_slice(rest));
                bytes.len()
            }));
            if read.map_err(|_| Fault::Broken)? == 0 {
                self.exchange = None;
                return Poll::Ready(body.ended().map(|()| More::None));
            }
            taken
        } else {
            let early = std::mem::take(&mut self.early);
            body.take(&early, sink).map(|rest| self.early.extend_from_slice(rest))
        };
        if taken.is_err() {
            self.exchange = None;
        }
        taken?;
        self.let_go_of_a_finished_connection();
        Poll::Ready(Ok(More::Maybe))
    }

    /// It waits for the next request, unless something came behind the body, which is nobody's.
    fn let_go_of_a_finished_connection(&mut self) {
        if !self.body.is_over() {
            return;
        }
        let (exchange, keep) = (self.exchange.take(), self.keep.take());
        if let (Some(Exchange { stream, unsent, refused: None, .. }), Some((idle, origin))) = (exchange, keep)
            && self.early.is_empty()
            && unsent.is_empty()
        {
            idle.put(origin, stream);
        }
    }
}

/// As much as one read brings.
const READ: usize = 16 * 1024;

thread_local! {
    /// What is read goes through here, so that a connection that waits holds no buffer.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One read, given to `take` where it stands; how much it brought, nothing at the end.
fn poll_read(
    stream: &mut TcpStream,
    context: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> usize,
) -> Poll<io::Result<usize>> {
    let mut scratch = SCRATCH.take();
    scratch.resize(READ, 0);
    let mut buffer = ReadBuf::new(&mut scratch);
    let polled = Pin::new(stream).poll_read(context, &mut buffer).map_ok(|()| match buffer.filled() {
        [] => 0,
        bytes => take(bytes),
    });
    SCRATCH.set(scratch);
    polled
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_util::task::TaskTracker;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    struct Server {
        listener: TcpListener,
        idle: Idle,
    }

    impl Server {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            Self { listener, idle: Idle::default() }
        }

        async fn send(&self, body: &[u8]) -> Result<Response, Fault> {
            let port = self.listener.local_addr().unwrap().port();
            let request = Request::new("POST", ("127.0.0.1", port), "/v1?q", &HeaderMap::new());
            send(&self.idle, &request, body, PATIENCE).await
        }

        /// The other end of a request's connection, once its head has been read.
        async fn accept(&self) -> TcpStream {
            let mut stream = self.listener.accept().await.unwrap().0;
            read_head(&mut stream).await;
            stream
        }
    }

    async fn read_head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    async fn read(response: &mut Response) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        let mut sink = |more: &[u8]| bytes.extend_from_slice(more);
        while poll_fn(|context| response.poll_read(context, &mut sink)).await? == More::Maybe {}
        Ok(bytes)
    }

    #[tokio::test]
    async fn a_connection_is_used_again_after_a_body_that_ended_and_after_no_other() {
        let whole = [
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ];
        for (answer, again) in [
            (whole[0], true),
            (whole[1], true),
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
            ("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi!", false),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi", false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", false),
        ] {
            let server = Server::start().await;
            let serving = async {
                let mut stream = server.accept().await;
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream
            };
            let (response, mut stream) = tokio::join!(server.send(b""), serving);
            let mut response = response.unwrap();
            assert!(matches!(read(&mut response).await.unwrap().as_slice(), b"hi" | b""), "{answer}");
            assert_eq!(server.idle.count(), usize::from(again), "{answer}");
            if again {
                let tracker = TaskTracker::new();
                let answering = tracker.spawn(async move {
                    let head = read_head(&mut stream).await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                    head
                });
                server.send(b"").await.unwrap();
                assert!(answering.await.unwrap().starts_with("POST /v1?q HTTP/1.1\r\nhost: 127.0.0.1:"));
            }
        }
    }

    #[tokio::test]
    async fn what_breaks_off_is_no_body() {
        for answer in [
            "",
            "HTTP/1.1 200",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi!!",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
        ] {
            let server = Server::start().await;
            let serving = async {
                let mut stream = server.accept().await;
                stream.write_all(answer.as_bytes()).await.unwrap();
            };
            let (response, ()) = tokio::join!(server.send(b""), serving);
            let read = match response {
                Ok(mut response) => read(&mut response).await,
                Err(fault) => Err(fault),
            };
            assert_eq!(read, Err(Fault::Broken), "{answer}");
            assert_eq!(server.idle.count(), 0);
        }
    }

    #[tokio::test]
    async fn a_body_without_a_length_ends_with_its_connection() {
        let server = Server::start().await;
        let serving = async { server.accept().await.write_all(b"HTTP/1.1 200 OK\r\n\r\nhi").await.unwrap() };
        let (response, ()) = tokio::join!(server.send(b""), serving);
        assert_eq!(read(&mut response.unwrap()).await.unwrap(), b"hi");
    }

    #[tokio::test]
    async fn an_answer_that_comes_before_the_request_is_read_is_an_answer() {
        let server = Server::start().await;
        let serving = async {
            let mut stream = server.accept().await;
            stream.write_all(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            stream
        };
        let large = vec![b'x'; 64 << 20];
        let (response, _unread) = tokio::join!(server.send(&large), serving);
        assert_eq!(response.unwrap().status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(server.idle.count(), 0, "the rest of the request would be taken for the next");
    }

    #[tokio::test]
    async fn a_server_may_begin_to_answer_before_it_has_read_all() {
        let server = Server::start().await;
        let large = vec![b'x'; 16 << 20];
        let serving = async {
            let mut stream = server.accept().await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n").await.unwrap();
            let mut rest = vec![0; 16 << 20];
            stream.read_exact(&mut rest).await.unwrap();
            stream.write_all(b"0\r\n\r\n").await.unwrap();
            stream
        };
        let reading = async { read(&mut server.send(&large).await.unwrap()).await };
        let (read, _open) = tokio::join!(reading, serving);
        assert_eq!(read.unwrap(), b"hi");
        assert_eq!(server.idle.count(), 1);
    }

    #[tokio::test]
    async fn a_connection_that_the_server_has_closed_is_not_used_again() {
        let server = Server::start().await;
        for _ in 0..2 {
            let serving = async {
                server.accept().await.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            };
            let (response, ()) = tokio::join!(server.send(b""), serving);
            assert_eq!(response.unwrap().status, StatusCode::OK);
        }
    }

    #[tokio::test]
    async fn dropping_a_response_closes_its_connection() {
        let server = Server::start().await;
        let serving = async {
            let mut stream = server.accept().await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n").await.unwrap();
            stream
        };
        let (response, mut stream) = tokio::join!(server.send(b""), serving);
        drop(response);
        assert_eq!(timeout(PATIENCE, stream.read(&mut [0])).await.unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn nobody_there_is_told_from_a_broken_exchange() {
        let server = Server::start().await;
        let Server { idle, listener } = server;
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let request = Request::new("GET", ("localhost", port), "/", &HeaderMap::new());
        assert_eq!(send(&idle, &request, b"", PATIENCE).await.err(), Some(Fault::Unreachable));
    }
}
