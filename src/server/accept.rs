use std::convert::Infallible;
use std::error::Error;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::body::Body;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::connection::{Peer, Protocol};
use super::connection_slot::ConnectionSlot;
use super::{IncomingBody, ListenerLimits, Threads};

/// Listens on `address`. Connections wait in the backlog until [`serve`] runs.
///
/// Sets `limits.send_buffer`, `limits.write_timeout` and `TCP_NODELAY` (a token never waits for another) on the
/// listener; accepted sockets inherit them.
///
/// # Errors
///
/// An error of the operating system, such as an address in use.
pub fn bind(address: SocketAddr, limits: &ListenerLimits) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.set_send_buffer_size(limits.send_buffer)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(limits.write_timeout))?;
    socket.bind(address)?;
    // `TcpListener::bind` is not used: its backlog is 128.
    socket.listen(limits.backlog)
}

/// Serves HTTP/1.1 and cleartext HTTP/2 (prior knowledge, RFC 9113 section 3.3) on `listener`, from [`bind`], until
/// `stop` is cancelled. Each connection runs on the thread with the fewest connections.
///
/// `service` may be an axum `Router`. Each request carries its [`Peer`] as an extension.
///
/// When `stop` is cancelled, the listener closes, connections without a complete request end at once, and running
/// responses may take `limits.close` to finish. Remaining responses are then cut. When this function returns, no
/// connection and no handler remains. Dropping the future stops in the same way, but in the background.
pub async fn serve<S, B>(
    listener: TcpListener,
    service: S,
    limits: ListenerLimits,
    threads: Threads,
    stop: CancellationToken,
) where
    S: Service<Request<IncomingBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let tasks = TaskTracker::new();
    let protocol = Arc::new(Protocol::new(&limits, tasks.clone()));
    let stop = stop.child_token();
    let _stop_on_drop = stop.clone().drop_guard();

    // Counts open connections: each holds one reference, and this function holds one.
    let open = Arc::new(());
    let over_limit = Arc::new(Notify::new());
    let mut acceptor = Acceptor { listener, exhausted: None, spare: spare() };
    while let Some((stream, address)) = stop.run_until_cancelled(acceptor.next()).await {
        let before = Arc::strong_count(&open) - 1;
        if before >= limits.connections + limits.reserve() {
            acceptor.refuse(&stream);
            continue;
        }
        let counted = limits.open.add();
        let slot = ConnectionSlot {
            open: Arc::clone(&open),
            over_limit: Arc::clone(&over_limit),
            before,
            limit: limits.connections,
        };
        if before >= limits.connections {
            // Must come after this connection is counted: the connection to be evicted checks the count again.
            over_limit.notify_one();
        }
        let protocol = Arc::clone(&protocol);
        let service = service.clone();
        // A child token: each connection polls it at each wake-up, and a shared token would be contended.
        let stop = stop.child_token();
        let on_thread = threads.assign();
        let Some(runtime) = on_thread.other_runtime() else {
            tasks.spawn(async move {
                protocol.serve(stream, Peer::from(address), slot, service, stop).await;
                drop((on_thread, counted));
            });
            continue;
        };
        // Register the socket with the other runtime, so that its I/O events arrive there.
        let Ok(stream) = stream.into_std() else { continue };
        let serving = async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => protocol.serve(stream, Peer::from(address), slot, service, stop).await,
                Err(error) => tracing::warn!(%error, "cannot move a connection to another thread"),
            }
            drop((on_thread, counted));
        };
        tasks.spawn_on(serving, &runtime);
    }
    drop(acceptor);

    // This wait is bounded: each connection ends within `limits.close`, and its handlers end with it.
    tasks.close();
    tasks.wait().await;
}

/// How long the loop pauses when the system has no resources for a connection. That connection keeps the listener
/// readable, so the loop would spin without a pause.
const PAUSE: Duration = Duration::from_millis(50);

/// Failures with less than this time between them are one episode, which is logged once.
const EPISODE: Duration = Duration::from_secs(10);

struct Acceptor {
    listener: TcpListener,
    exhausted: Option<Instant>,
    /// A reserved descriptor. If none is free, it is closed to accept one connection and refuse it with a response.
    spare: Option<File>,
}

/// The response to a refused connection. It is sent without reading a request.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Acceptor {
    /// Waits for the next connection. Errors are logged and retried.
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if removed_one_connection(&error) => {
                    tracing::debug!(%error, "a connection failed before it was accepted");
                }
                Err(error) => {
                    self.warn_once_per_episode("cannot accept connections; retrying", &error);
                    if self.spare.take().is_some()
                        && let Some(Ok((stream, _))) = self.listener.accept().now_or_never()
                    {
                        self.refuse(&stream);
                    }
                    self.spare = spare();
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Sends the refusal if the socket accepts it without waiting.
    fn refuse(&mut self, stream: &TcpStream) {
        _ = stream.try_write(REFUSAL);
        self.warn_once_per_episode("refusing connections", "the connection limit is reached");
    }

    fn warn_once_per_episode(&mut self, message: &'static str, reason: impl Display) {
        if self.exhausted.is_none_or(|last| last.elapsed() > EPISODE) {
            tracing::warn!(%reason, "{message}");
        }
        self.exhausted = Some(Instant::now());
    }
}

/// Returns whether `error` removed its connection from the backlog, so that the next one can be accepted at once. Other
/// errors, above all the lack of descriptors or memory, would recur at once.
fn removed_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    use crate::server::Load;
    use crate::server::connection::HTTP2_END;
    use crate::server::fixture::{
        Client, GET, GET_HTTP2, GET_HTTP10, GET_ON_STREAM_3, HALF_POST, HALF_POST_HTTP2, SHORT, Server, Way, listen,
        patient, soon,
    };

    #[tokio::test]
    async fn accepted_sockets_inherit_nodelay_send_buffer_and_user_timeout() {
        let limits = patient();
        let listener = listen(&limits);
        let _client = soon(TcpStream::connect(listener.local_addr().unwrap())).await.unwrap();
        let (accepted, _) = soon(listener.accept()).await.unwrap();

        let socket = socket2::SockRef::from(&accepted);
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * 64 * 1024, "Linux doubles it");
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(limits.write_timeout));
    }

    #[tokio::test]
    async fn backlog_holds_300_connections_until_they_are_served() {
        let limits = patient();
        let listener = listen(&limits);
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        for _ in 0..300 {
            waiting.push(Client(soon(TcpStream::connect(address)).await.unwrap()));
        }

        let mut server = Server::serve(listener, limits);
        for client in &mut waiting {
            client.send(GET).await;
        }
        for _ in &waiting {
            server.call().await.answer("hello");
        }
        for client in &mut waiting {
            client.read_until("hello").await;
        }
    }

    #[tokio::test]
    async fn longest_idle_connection_is_evicted_above_the_limit() {
        let mut server = Server::start(ListenerLimits { connections: 2, ..patient() });
        let mut without_request = server.connect().await;
        let mut after_a_request = server.connect().await;
        after_a_request.send(GET).await;
        server.call().await.answer("hello");
        after_a_request.read_until("hello").await;

        let mut busy = server.connect().await;
        busy.send(GET).await;
        let call = server.call().await;
        assert_eq!(without_request.closed().await.as_deref().unwrap_or_default(), "");
        after_a_request.send(GET).await;
        server.call().await.answer("still here");
        after_a_request.read_until("still here").await;
        call.answer("served");
        busy.read_until("served").await;
    }

    #[tokio::test]
    async fn connections_in_the_reserve_are_crowded_and_further_ones_get_503() {
        let limits = ListenerLimits { connections: 2, ..patient() };
        assert_eq!(limits.reserve(), 1);
        let mut server = Server::start(limits);
        let mut open = Vec::new();
        for load in [Load::Normal, Load::Normal, Load::Crowded] {
            let mut client = server.connect().await;
            client.send(GET).await;
            let call = server.call().await;
            assert_eq!(call.request.extensions().get(), Some(&load));
            open.push((client, call));
        }
        let mut refused = server.connect().await;
        let response = refused.closed().await.unwrap();
        assert!(response.starts_with("HTTP/1.1 503 ") && response.contains("retry-after: 5"), "{response}");

        // Open connections continue, and a disconnect makes room.
        let (mut client, call) = open.remove(0);
        call.answer("hello");
        client.read_until("hello").await;
        client.disconnect(Way::Close).await;
        loop {
            let mut next = server.connect().await;
            next.send(GET).await;
            if timeout(SHORT, next.read_until("503")).await.is_err() {
                break;
            }
        }
    }

    #[tokio::test]
    async fn stop_refuses_new_connections_and_ends_idle_ones_at_once() {
        let mut server = Server::start(patient());
        let mut silent = server.connect().await;
        let mut idle = server.idle_client().await;
        let address = server.address;

        server.stop.cancel();
        assert_eq!(silent.closed().await.unwrap(), "");
        assert_eq!(idle.closed().await.unwrap(), "");
        server.ended().await;
        assert!(soon(TcpStream::connect(address)).await.is_err());
    }

    /// `limits.close` is a minute here: a connection that waits for it fails the test.
    #[tokio::test]
    async fn stop_does_not_wait_for_incomplete_requests() {
        for begun in [
            b"G",
            &b"GET / HTTP/1.1\r\nHo"[..],
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n",
            b"PRI * HTTP/2.0\r\n\r\n",
            GET_HTTP2.get(..33).expect("the preface and SETTINGS"),
            GET_HTTP2.get(..45).expect("some of HEADERS"),
        ] {
            let mut server = Server::start(patient());
            let mut fresh = server.connect().await;
            fresh.send(begun).await;
            let mut idle = server.idle_client().await;
            idle.send(begun).await;
            server.stop.cancel();
            fresh.closed().await.ok();
            idle.closed().await.ok();
            server.ended().await;
        }
        for begun in [HALF_POST.as_bytes(), HALF_POST_HTTP2] {
            let mut server = Server::start(patient());
            let mut client = server.connect().await;
            client.send(begun).await;
            let mut call = server.call().await;
            server.stop.cancel();
            call.dropped().await;
            client.closed().await.ok();
            server.ended().await;
        }
    }

    #[tokio::test]
    async fn stop_does_not_wait_for_an_idle_http2_client_that_ignores_goaway() {
        let mut server = Server::start(patient());
        let mut client = server.connect().await;
        client.send(GET_HTTP2).await;
        server.call().await.answer("hello");
        client.read_until("hello").await;
        server.stop.cancel();
        client.closed().await.ok();
        server.ended().await;
    }

    #[tokio::test]
    async fn stop_waits_for_a_response_that_began_before_the_end_of_its_request() {
        for begun in [HALF_POST.as_bytes(), HALF_POST_HTTP2] {
            let mut server = Server::start(patient());
            let (mut client, events) = server.reading_client(begun).await;
            server.stop.cancel();
            while soon(TcpStream::connect(server.address)).await.is_ok() {}
            events.send("last").await;
            client.read_until("last").await;
            drop(events);
            client.closed().await.ok();
            server.ended().await;
        }
    }

    #[tokio::test]
    async fn stop_waits_for_a_response_beside_an_incomplete_http2_request() {
        let mut server = Server::start(patient());
        let mut client = server.connect().await;
        client.send(HALF_POST_HTTP2).await;
        let mut incomplete = server.call().await;
        client.send(GET_ON_STREAM_3).await;
        let events = server.call().await.stream();
        events.send("first").await;
        client.read_until("first").await;

        server.stop.cancel();
        while soon(TcpStream::connect(server.address)).await.is_ok() {}
        // Longer than a connection without a response stays open.
        sleep(HTTP2_END * 3 / 2).await;
        events.send("last").await;
        client.read_until("last").await;
        drop(events);
        incomplete.dropped().await;
        client.closed().await.ok();
        server.ended().await;
    }

    #[tokio::test]
    async fn stop_waits_for_a_running_response() {
        let mut server = Server::start(patient());
        let (mut client, events) = server.reading_client(GET).await;

        server.stop.cancel();
        // Wait until the server has processed the stop.
        while soon(TcpStream::connect(server.address)).await.is_ok() {}
        events.send("last").await;
        drop(events);
        assert!(client.closed().await.unwrap().ends_with("last\r\n0\r\n\r\n"));
        server.ended().await;
    }

    #[tokio::test]
    async fn stop_cuts_responses_at_the_close_deadline() {
        let mut server = Server::start(ListenerLimits { close: SHORT, ..patient() });
        let (mut http1, events1) = server.reading_client(GET).await;
        let (mut http2, events2) = server.reading_client(GET_HTTP2).await;
        let (mut http10, events10) = server.reading_client(GET_HTTP10).await;
        let mut unanswered = server.connect().await;
        unanswered.send(GET_HTTP2).await;
        let mut call = server.call().await;

        let stopped = Instant::now();
        server.stop.cancel();
        server.ended().await;
        assert!(stopped.elapsed() >= SHORT);

        for events in [events1, events2, events10] {
            events.dropped().await;
        }
        call.dropped().await;
        assert_eq!(http1.closed().await.unwrap(), "", "no last chunk, so no clean end");
        http2.closed().await.unwrap();
        let reset = http10.closed().await.unwrap_err();
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset, "HTTP/1.0 has no other unclean end");
    }

    #[tokio::test]
    async fn dropping_the_server_ends_its_connections() {
        let mut server = Server::start(ListenerLimits { close: SHORT, ..patient() });
        let mut idle = server.idle_client().await;
        let (_client, events) = server.reading_client(GET).await;

        server.task.abort();
        assert_eq!(idle.closed().await.unwrap(), "");
        events.dropped().await;
    }

    #[test]
    fn accept_errors_of_one_connection_are_distinguished_from_exhaustion() {
        let error = io::Error::from_raw_os_error;
        let [econnaborted, econnreset] = [103, 104].map(error);
        assert!(removed_one_connection(&econnaborted) && removed_one_connection(&econnreset));
        // ENFILE, EMFILE, ENOBUFS, ENOMEM
        for exhausted in [23, 24, 105, 12].map(error) {
            assert!(!removed_one_connection(&exhausted), "{exhausted}");
        }
    }
}
