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
use super::exchange::InFlight;
use super::socket::WriteBacklog;
use super::{IncomingBody, Limits, Load, Threads};

/// Listens on `address`. Clients that connect from now on wait in the backlog until [`serve`] runs.
///
/// `limits.send_buffer`, `limits.write_timeout` and `TCP_NODELAY` (a token never waits for another) are set on the
/// listener, from which accepted sockets inherit them.
///
/// # Errors
///
/// The operating system's, such as an address in use.
pub fn bind(address: SocketAddr, limits: &Limits) -> io::Result<TcpListener> {
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
    // Not `TcpListener::bind`: its backlog is 128.
    socket.listen(limits.backlog)
}

/// Serves HTTP/1.1 and cleartext HTTP/2 (prior knowledge, RFC 9113 section 3.3) on `listener`, from [`bind`], until
/// `stop` is cancelled, each connection on that of the `threads` which has the fewest.
///
/// An axum `Router` is such a service as it is. Each request carries its [`Peer`] as an extension.
///
/// On `stop` the listener closes, connections without a whole request end at once, and responses that run have
/// `limits.close` to finish; what is left then is cut. When this returns, no connection and no handler is left. Dropping it stops
/// in the same way, unobserved.
pub async fn serve<S, B>(listener: TcpListener, service: S, limits: Limits, threads: Threads, stop: CancellationToken)
where
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

    // Each connection holds one; one is ours.
    let open = Arc::new(());
    let crowd = Arc::new(Notify::new());
    let mut clients = Clients { listener, exhausted: None, spare: spare() };
    while let Some((stream, address)) = stop.run_until_cancelled(clients.next()).await {
        let before = Arc::strong_count(&open) - 1;
        if before >= limits.connections + limits.reserve() {
            clients.refuse(&stream);
            continue;
        }
        let counted = limits.open.add();
        let place = Place { open: Arc::clone(&open), crowd: Arc::clone(&crowd), before, limit: limits.connections };
        if before >= limits.connections {
            // After it is counted: the connection that gives way looks whether there are still too many.
            crowd.notify_one();
        }
        let protocol = Arc::clone(&protocol);
        let service = service.clone();
        // Its own token: polled at each wake-up, one that is shared would be contended.
        let stop = stop.child_token();
        let on_thread = threads.place();
        let Some(elsewhere) = on_thread.elsewhere() else {
            tasks.spawn(async move {
                protocol.serve(stream, Peer::from(address), place, service, stop).await;
                drop((on_thread, counted));
            });
            continue;
        };
        // Its events shall come there.
        let Ok(stream) = stream.into_std() else { continue };
        let serving = async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => protocol.serve(stream, Peer::from(address), place, service, stop).await,
                Err(error) => tracing::warn!(%error, "a connection could not be handed over"),
            }
            drop((on_thread, counted));
        };
        tasks.spawn_on(serving, &elsewhere);
    }
    drop(clients);

    // Bounded, since each connection ends itself within `limits.close`, and its handlers end with it.
    tasks.close();
    tasks.wait().await;
}

/// A connection that has been idle for less than this does not give way.
const LEAST_IDLE: Duration = Duration::from_secs(1);

/// One connection among those that are open.
pub(super) struct Place {
    open: Arc<()>,
    /// Notified for each connection that is one too many: idle connections wait for it, the oldest first.
    crowd: Arc<Notify>,
    /// How many there were when it came.
    before: usize,
    limit: usize,
}

impl Place {
    /// One that came in a crowd is part of it as long as there is one.
    pub fn load(&self) -> Load {
        if self.before >= self.limit && self.others() >= self.limit { Load::Crowded } else { Load::Normal }
    }

    /// Resolves when this connection gives way to another: it is idle, and there are more than may be.
    pub async fn gives_way(&self, in_flight: &InFlight, backlog: &WriteBacklog) {
        loop {
            // A new connection is idle until its request arrives; a response may still be in HTTP/2's windows.
            let idle_since = in_flight.idle().await;
            sleep(LEAST_IDLE).await;
            self.crowd.notified().await;
            if self.others() < self.limit {
                continue;
            }
            if in_flight.is_idle_since(idle_since) && !backlog.exists() {
                return;
            }
            // A request has come since: the next idle connection gives way.
            self.crowd.notify_one();
        }
    }

    /// This one is not among them, and neither is that of the loop, while there is one.
    fn others(&self) -> usize {
        Arc::strong_count(&self.open).saturating_sub(2)
    }
}

/// How long accepting pauses when the system has nothing to give: the connection that could not be accepted
/// keeps the listener readable, so without a pause the loop would spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Failures that come closer together than this are one episode, which is logged once.
const EPISODE: Duration = Duration::from_secs(10);

struct Clients {
    listener: TcpListener,
    exhausted: Option<Instant>,
    /// Held for the moment at which there is no descriptor left, so that one client can be told.
    spare: Option<File>,
}

/// What a client is told for whom there is nothing else: no request of it is read.
const REFUSAL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Clients {
    /// The next connection. No error ends the wait for it.
    async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection failed before it was accepted");
                }
                Err(error) => {
                    self.note("cannot accept connections, will keep trying", &error);
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

    /// Tells a client, if it can be told without waiting for it.
    fn refuse(&mut self, stream: &TcpStream) {
        _ = stream.try_write(REFUSAL);
        self.note("refusing connections", "as many are open as may be");
    }

    /// Once for each episode.
    fn note(&mut self, what: &'static str, why: impl Display) {
        if self.exhausted.is_none_or(|last| last.elapsed() > EPISODE) {
            tracing::warn!(%why, "{what}");
        }
        self.exhausted = Some(Instant::now());
    }
}

/// Whether `error` took its connection off the queue, so that the next one can be tried at once. All others,
/// above all the lack of descriptors or memory, are met again by whoever retries at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    use crate::server::connection::HTTP2_END;
    use crate::server::fixture::{
        Client, GET, GET_HTTP2, GET_HTTP10, GET_ON_STREAM_3, HALF_POST, HALF_POST_HTTP2, SHORT, Server, Way, listen,
        patient, soon,
    };

    #[tokio::test]
    async fn accepted_sockets_send_at_once_buffer_little_and_give_up_on_vanished_peers() {
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
    async fn a_crowd_of_300_waits_in_the_backlog_and_all_are_answered() {
        let limits = patient();
        let listener = listen(&limits);
        let address = listener.local_addr().unwrap();
        let mut crowd = Vec::new();
        for _ in 0..300 {
            crowd.push(Client(soon(TcpStream::connect(address)).await.unwrap()));
        }

        let mut server = Server::serve(listener, limits);
        for client in &mut crowd {
            client.send(GET).await;
        }
        for _ in &crowd {
            server.call().await.answer("hello");
        }
        for client in &mut crowd {
            client.read_until("hello").await;
        }
    }

    #[tokio::test]
    async fn the_connection_that_has_been_idle_for_longest_gives_way_when_there_are_too_many() {
        let mut server = Server::start(Limits { connections: 2, ..patient() });
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
    async fn beyond_its_limit_it_has_room_for_who_comes_back_and_tells_all_others() {
        let limits = Limits { connections: 2, ..patient() };
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
        let said = refused.closed().await.unwrap();
        assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("retry-after: 5"), "{said}");

        // Those that were there go on, and one that leaves makes room.
        let (mut client, call) = open.remove(0);
        call.answer("hello");
        client.read_until("hello").await;
        client.leave(Way::Close).await;
        loop {
            let mut next = server.connect().await;
            next.send(GET).await;
            if timeout(SHORT, next.read_until("503")).await.is_err() {
                break;
            }
        }
    }

    #[tokio::test]
    async fn stop_refuses_newcomers_and_ends_idle_and_silent_connections_at_once() {
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

    /// What outlives its deadline would be cut after a minute.
    #[tokio::test]
    async fn stop_does_not_wait_for_requests_that_are_not_complete() {
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
    async fn stop_does_not_wait_for_an_idle_http2_client_that_confirms_nothing() {
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
    async fn stop_lets_a_response_finish_that_began_before_the_end_of_its_request() {
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
    async fn stop_lets_a_response_finish_beside_an_http2_request_that_is_not_complete() {
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
        // Longer than a connection without a response has.
        sleep(HTTP2_END * 3 / 2).await;
        events.send("last").await;
        client.read_until("last").await;
        drop(events);
        incomplete.dropped().await;
        client.closed().await.ok();
        server.ended().await;
    }

    #[tokio::test]
    async fn stop_lets_a_running_response_finish() {
        let mut server = Server::start(patient());
        let (mut client, events) = server.reading_client(GET).await;

        server.stop.cancel();
        // Until it has heard of it.
        while soon(TcpStream::connect(server.address)).await.is_ok() {}
        events.send("last").await;
        drop(events);
        assert!(client.closed().await.unwrap().ends_with("last\r\n0\r\n\r\n"));
        server.ended().await;
    }

    #[tokio::test]
    async fn stop_cuts_what_outlives_its_deadline() {
        let mut server = Server::start(Limits { close: SHORT, ..patient() });
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
    async fn a_server_that_is_dropped_leaves_no_connection() {
        let mut server = Server::start(Limits { close: SHORT, ..patient() });
        let mut idle = server.idle_client().await;
        let (_client, events) = server.reading_client(GET).await;

        server.task.abort();
        assert_eq!(idle.closed().await.unwrap(), "");
        events.dropped().await;
    }

    #[test]
    fn accepting_pauses_unless_the_failure_was_of_one_connection() {
        let error = io::Error::from_raw_os_error;
        let [econnaborted, econnreset] = [103, 104].map(error);
        assert!(is_of_one_connection(&econnaborted) && is_of_one_connection(&econnreset));
        // ENFILE, EMFILE, ENOBUFS, ENOMEM
        for exhausted in [23, 24, 105, 12].map(error) {
            assert!(!is_of_one_connection(&exhausted), "{exhausted}");
        }
    }
}
