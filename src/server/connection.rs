use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::iter;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::util::Oneshot;
use tower::{Service, ServiceExt};

use super::accept::Place;
use super::exchange::{InFlight, IncomingBody, Responding, ServedExchange};
use super::socket::WriteBacklog;
use super::stall::{self, Watched};
use super::{Limits, socket};

/// Who sent a request: the other end of the TCP connection, which may be a proxy. In the request's extensions.
///
/// An IPv4 client of an IPv6 listener has its IPv4 address here (not `::ffff:192.0.2.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

/// How every connection is spoken to, and how long it is waited for.
pub(super) struct Protocol {
    http: auto::Builder<Streams>,
    first_request: Duration,
    close: Duration,
}

impl Protocol {
    pub fn new(limits: &Limits, tasks: TaskTracker) -> Self {
        /// Below this, hyper panics.
        const LEAST_BUFFER: usize = 8 * 1024;

        let mut http = auto::Builder::new(Streams { tasks, write_timeout: limits.write_timeout });
        // Not set: `max_headers`. Its default is 100, and setting it costs an allocation per request.
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header)
            .max_buf_size(limits.buffer.max(LEAST_BUFFER));
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.ping_interval)
            .keep_alive_timeout(limits.ping_timeout)
            .max_concurrent_streams(limits.concurrent_streams)
            .max_header_list_size(limits.header_list)
            .max_send_buf_size(limits.send_buffer as usize);
        Self { http, first_request: limits.first_request, close: limits.close }
    }

    /// Serves one connection to its end, which comes at most `limits.close` after `stop`.
    pub async fn serve<S, B>(&self, stream: TcpStream, peer: Peer, place: Place, service: S, stop: CancellationToken)
    where
        S: Service<Request<IncomingBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (seen, place) = (Arc::new(Seen::default()), Arc::new(place));
        let backlog = Arc::new(WriteBacklog::default());
        let (socket, client) = socket::split(stream, Arc::clone(&backlog));
        let requests = Requests { service, peer, place: Arc::clone(&place), seen: Arc::clone(&seen) };
        let mut http = pin!(self.http.serve_connection(TokioIo::new(socket), requests));

        let silence = async {
            sleep(self.first_request).await;
            if seen.request() {
                pending::<()>().await;
            }
        };
        let aside = async {
            tokio::select! {
                // First whether anyone is left, then the deadlines.
                biased;
                () = client.left() => Aside::Left,
                () = stop.cancelled() => Aside::Stop,
                () = silence => Aside::Silent,
                () = place.gives_way(&seen.in_flight, &backlog) => Aside::GivesWay,
            }
        };
        // It is asked when it has been woken, and not with each token that the connection writes.
        let mut aside: FuturesUnordered<_> = iter::once(aside.boxed()).collect();
        let ended = tokio::select! {
            // First what was said; and no random number for each wake-up.
            biased;
            ended = http.as_mut() => ended.map_err(Ended::Failed),
            Some(aside) = aside.next() => match aside {
                Aside::Left => Err(Ended::Left),
                Aside::Silent => Err(Ended::Silent),
                Aside::GivesWay => Err(Ended::GaveWay),
                Aside::Stop => {
                    http.as_mut().graceful_shutdown();
                    tokio::select! {
                        biased;
                        ended = http.as_mut() => ended.map_err(Ended::Failed),
                        () = client.left() => Err(Ended::Left),
                        () = sleep(self.close) => Err(Ended::Cut),
                        () = without_response(&seen, &backlog) => Err(Ended::Incomplete),
                    }
                }
            },
        };
        drop(aside);

        if let Err(ended) = ended {
            tracing::debug!(peer = %peer.0, error = &ended as &dyn Error, "a connection ended early");
            if seen.http10() && ended.broke_a_response_off() {
                return client.reset();
            }
        }
        client.close();
    }
}

/// What HTTP/2 may take after its last response: for the end of that, which waits for its stream's window, and for the client to
/// confirm that the connection ends (RFC 9113, section 6.8).
pub(super) const HTTP2_END: Duration = Duration::from_secs(1);

/// Resolves when the connection carries no response: it is idle, or its client has not sent the whole request. What HTTP holds
/// of a response that has ended is waited for.
async fn without_response(seen: &Seen, backlog: &WriteBacklog) {
    loop {
        seen.in_flight.none().await;
        if seen.http2() {
            sleep(HTTP2_END).await;
        } else if backlog.exists() {
            // HTTP/1.1 ends its connection when the response has been written.
            pending::<()>().await;
        }
        if seen.in_flight.is_none() {
            return;
        }
    }
}

/// What may come to pass beside what is said on a connection.
enum Aside {
    Left,
    Stop,
    Silent,
    GivesWay,
}

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the client left")]
    Left,
    #[error("no request came in time")]
    Silent,
    #[error("it was idle, and there were more connections than may be")]
    GaveWay,
    #[error("a response outlived the server")]
    Cut,
    #[error("the server stopped before the request was complete")]
    Incomplete,
    #[error("the connection failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

impl Ended {
    fn broke_a_response_off(&self) -> bool {
        match self {
            Self::Left | Self::Silent | Self::GaveWay | Self::Incomplete => false,
            Self::Cut => true,
            // A user error is the service's: its body ended with one. All others come from the client.
            Self::Failed(error) => error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_user),
        }
    }
}

/// What has come over one connection so far.
#[derive(Default)]
struct Seen {
    request: AtomicBool,
    http10: AtomicBool,
    http2: AtomicBool,
    in_flight: Arc<InFlight>,
}

impl Seen {
    fn note(&self, request: &Request<Incoming>) {
        self.request.store(true, Ordering::Relaxed);
        self.http10.store(request.version() == Version::HTTP_10, Ordering::Relaxed);
        self.http2.store(request.version() == Version::HTTP_2, Ordering::Relaxed);
    }

    fn request(&self) -> bool {
        self.request.load(Ordering::Relaxed)
    }

    fn http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    fn http10(&self) -> bool {
        self.http10.load(Ordering::Relaxed)
    }
}

/// The service as one connection sees it: each request is noted and carries its peer.
struct Requests<S> {
    service: S,
    peer: Peer,
    place: Arc<Place>,
    seen: Arc<Seen>,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Requests<S>
where
    S: Service<Request<IncomingBody>, Response = Response<B>> + Clone,
    B: Body,
{
    type Response = Response<Watched<B>>;
    type Error = S::Error;
    type Future = Responding<Oneshot<S, Request<IncomingBody>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.seen.note(&request);
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.place.load());
        let exchange = ServedExchange::begin(&self.seen.in_flight);
        let request = IncomingBody::of(request, &exchange);
        Responding::new(self.service.clone().oneshot(request), exchange)
    }
}

/// Runs the streams of HTTP/2 connections as tasks that the server waits for.
#[derive(Clone)]
struct Streams {
    tasks: TaskTracker,
    write_timeout: Duration,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.tasks.spawn(stall::bounded(self.write_timeout, stream));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::server::fixture::{
        GET, GET_HTTP2, GET_HTTP10, OK_HTTP2, RESET_HTTP2, SHORT, Server, Way, contains, patient, soon,
    };

    #[tokio::test]
    async fn a_connection_on_which_no_request_begins_is_closed() {
        let server = Server::start(Limits { first_request: SHORT, ..patient() });
        for said in ["", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTT"] {
            let connected = Instant::now();
            let mut client = server.connect().await;
            client.send(said).await;
            client.closed().await.unwrap();
            assert!(connected.elapsed() >= SHORT, "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_slow_request_head_is_refused() {
        let server = Server::start(Limits { header: SHORT, ..patient() });
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nHo").await;
        client.closed().await.unwrap();
    }

    #[tokio::test]
    async fn an_idle_kept_alive_connection_is_closed() {
        let mut server = Server::start(Limits { header: SHORT, ..patient() });
        let mut idle = server.idle_client().await;
        assert_eq!(idle.closed().await.unwrap(), "");
    }

    #[tokio::test]
    async fn an_open_response_outlives_every_deadline() {
        let mut server = Server::start(Limits { first_request: SHORT, header: SHORT, ..patient() });
        let (mut http1, events1) = server.reading_client(GET).await;
        let (mut http2, events2) = server.reading_client(GET_HTTP2).await;

        // Both came later and had the same deadlines, so those of the open responses have passed too.
        let mut silent = server.connect().await;
        silent.closed().await.unwrap();
        let mut idle = server.idle_client().await;
        idle.closed().await.unwrap();

        events1.send("second").await;
        http1.read_until("second").await;
        events2.send("second").await;
        http2.read_until("second").await;
    }

    #[tokio::test]
    async fn http1_requests_follow_one_another_and_carry_their_peer() {
        let mut server = Server::start(patient());
        let mut client = server.connect().await;
        for text in ["one", "two"] {
            client.send(GET).await;
            let call = server.call().await;
            assert_eq!(call.request.version(), Version::HTTP_11);
            assert_eq!(call.request.extensions().get(), Some(&Peer(client.0.local_addr().unwrap())));
            call.answer(text);
            let response = client.read_until("0\r\n\r\n").await;
            assert!(response.starts_with(b"HTTP/1.1 200 OK\r\n") && contains(&response, text.as_bytes()));
        }
    }

    #[tokio::test]
    async fn http2_is_spoken_to_those_who_begin_with_it() {
        let mut server = Server::start(patient());
        let mut client = server.connect().await;
        client.send(GET_HTTP2).await;
        let call = server.call().await;
        assert_eq!(call.request.version(), Version::HTTP_2);
        assert_eq!(call.request.extensions().get(), Some(&Peer(client.0.local_addr().unwrap())));
        call.answer("hello");
        assert!(contains(&client.read_until("hello").await, OK_HTTP2));
    }

    #[tokio::test]
    async fn a_client_that_leaves_takes_its_waiting_handler_along() {
        let mut server = Server::start(patient());
        for request in [GET.as_bytes(), GET_HTTP10.as_bytes(), GET_HTTP2] {
            let mut client = server.connect().await;
            client.send(request).await;
            let mut call = server.call().await;
            drop(client);
            call.dropped().await;
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_takes_its_response_along() {
        let mut server = Server::start(patient());
        for request in [GET.as_bytes(), GET_HTTP10.as_bytes(), GET_HTTP2] {
            let (client, events) = server.reading_client(request).await;
            drop(client);
            events.dropped().await;
        }
    }

    #[tokio::test]
    async fn a_client_that_closes_its_sending_half_has_left() {
        let mut server = Server::start(patient());
        let (client, events) = server.reading_client(GET).await;
        let _reading_on = client.leave(Way::HalfClose).await;
        events.dropped().await;
    }

    #[tokio::test]
    async fn bytes_that_nobody_reads_hide_no_client_that_leaves() {
        let mut server = Server::start(patient());
        for unread in ["\r\n", "x", "GET / HTT", GET] {
            for way in [Way::Close, Way::Reset, Way::HalfClose] {
                let mut waiting = server.connect().await;
                waiting.send([GET, unread].concat()).await;
                let mut call = server.call().await;
                let _reading_on = waiting.leave(way).await;
                call.dropped().await;

                let (reading, events) = server.reading_client([GET, unread].concat()).await;
                let _reading_on = reading.leave(way).await;
                events.dropped().await;
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_not_waited_for_at_the_end() {
        let mut server = Server::start(patient());
        let (client, events) = server.reading_client([GET, "x"].concat()).await;
        server.stop.cancel();
        // Until it has heard of it.
        while soon(TcpStream::connect(server.address)).await.is_ok() {}

        client.leave(Way::Close).await;
        events.dropped().await;
        server.ended().await;
    }

    #[tokio::test]
    async fn urgent_data_is_not_the_end() {
        let mut server = Server::start(patient());
        let (mut client, events) = server.reading_client(GET).await;
        socket2::SockRef::from(&client.0).send_out_of_band(b"!").unwrap();
        events.send("second").await;
        client.read_until("second").await;
    }

    #[tokio::test]
    async fn requests_that_come_at_once_are_all_answered() {
        let mut server = Server::start(patient());
        let mut client = server.connect().await;
        client.send([GET, "\r\n", GET, GET].concat()).await;
        for text in ["one", "two", "three"] {
            server.call().await.answer(text);
            assert!(contains(&client.read_until("0\r\n\r\n").await, text.as_bytes()));
        }
    }

    #[tokio::test]
    async fn a_flood_behind_a_request_stays_in_the_network_until_the_response_has_ended() {
        let mut server = Server::start(patient());
        let (mut client, events) = server.reading_client(GET).await;
        soon(async { while timeout(SHORT, client.send(vec![b'x'; 64 * 1024])).await.is_ok() {} }).await;

        events.send("last").await;
        drop(events);
        client.read_until("last\r\n0\r\n\r\n").await;
    }

    #[tokio::test]
    async fn an_http2_stream_that_is_reset_ends_alone() {
        let mut server = Server::start(patient());
        let (mut client, events) = server.reading_client(GET_HTTP2).await;
        client.send(RESET_HTTP2).await;
        events.dropped().await;

        let ping = b"\0\0\x08\x06\0\0\0\0\0tokenril";
        client.send(ping).await;
        client.read_until("tokenril").await;
    }

    #[tokio::test]
    async fn a_response_that_breaks_off_never_looks_complete() {
        let mut server = Server::start(patient());

        let (mut http1, events) = server.reading_client(GET).await;
        events.break_off().await;
        assert_eq!(http1.closed().await.unwrap(), "", "no last chunk");

        let (mut http2, events) = server.reading_client(GET_HTTP2).await;
        events.break_off().await;
        http2.read_until(b"\0\0\x04\x03\0\0\0\0\x01").await;

        let (mut http10, events) = server.reading_client(GET_HTTP10).await;
        events.break_off().await;
        let reset = http10.closed().await.unwrap_err();
        assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_request_head_that_is_too_large_is_refused() {
        let server = Server::start(patient());
        let many = "a: b\r\n".repeat(101);
        let long = format!("a: {}\r\n", "b".repeat(32 * 1024));
        for headers in [many, long] {
            let mut client = server.connect().await;
            client.send(format!("GET / HTTP/1.1\r\n{headers}\r\n")).await;
            client.read_until("HTTP/1.1 431 ").await;
        }
    }

    #[test]
    fn an_ipv4_peer_has_its_ipv4_address() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:80".parse().unwrap();
        assert_eq!(Peer::from(mapped), Peer("192.0.2.1:80".parse().unwrap()));
    }
}
