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

use super::connection_slot::ConnectionSlot;
use super::exchange::{InFlight, IncomingBody, ServedExchange};
use super::responding::Responding;
use super::socket::WriteBacklog;
use super::stall::{self, Watched};
use super::{ListenerLimits, socket};

/// The TCP peer that sent a request; it may be a proxy. Set in the request's extensions.
///
/// For an IPv4 client of an IPv6 listener this is the IPv4 address (not `::ffff:192.0.2.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

/// The HTTP settings and deadlines of all connections.
pub(super) struct Protocol {
    http: auto::Builder<StreamExecutor>,
    first_request: Duration,
    close: Duration,
}

impl Protocol {
    pub fn new(limits: &ListenerLimits, tasks: TaskTracker) -> Self {
        /// hyper panics below this value.
        const MIN_BUFFER: usize = 8 * 1024;

        let mut http = auto::Builder::new(StreamExecutor { tasks, write_timeout: limits.write_timeout });
        // `max_headers` is not set: its default is 100, and setting it costs an allocation per request.
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header)
            .max_buf_size(limits.buffer.max(MIN_BUFFER));
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(limits.ping_interval)
            .keep_alive_timeout(limits.ping_timeout)
            .max_concurrent_streams(limits.concurrent_streams)
            .max_header_list_size(limits.header_list)
            .max_send_buf_size(limits.send_buffer as usize);
        Self { http, first_request: limits.first_request, close: limits.close }
    }

    /// Serves one connection until it ends, at most `limits.close` after `stop` is cancelled.
    pub async fn serve<S, B>(
        &self,
        stream: TcpStream,
        peer: Peer,
        slot: ConnectionSlot,
        service: S,
        stop: CancellationToken,
    ) where
        S: Service<Request<IncomingBody>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (seen, slot) = (Arc::new(Seen::default()), Arc::new(slot));
        let backlog = Arc::new(WriteBacklog::default());
        let (socket, client) = socket::split(stream, Arc::clone(&backlog));
        let requests = Requests { service, peer, slot: Arc::clone(&slot), seen: Arc::clone(&seen) };
        let mut http = pin!(self.http.serve_connection(TokioIo::new(socket), requests));

        let no_request = async {
            sleep(self.first_request).await;
            if seen.request() {
                pending::<()>().await;
            }
        };
        let event = async {
            tokio::select! {
                // Check for a disconnect before the deadlines.
                biased;
                () = client.disconnected() => EndEvent::Disconnected,
                () = stop.cancelled() => EndEvent::Stop,
                () = no_request => EndEvent::NoRequest,
                () = slot.evicted(&seen.in_flight, &backlog) => EndEvent::Evicted,
            }
        };
        // `FuturesUnordered` polls the future only when it was woken, not with each token that the connection writes.
        let mut event: FuturesUnordered<_> = iter::once(event.boxed()).collect();
        let ended = tokio::select! {
            // Poll HTTP before the events. `biased` also saves a random number at each wake-up.
            biased;
            ended = http.as_mut() => ended.map_err(Ended::Failed),
            Some(event) = event.next() => match event {
                EndEvent::Disconnected => Err(Ended::Disconnected),
                EndEvent::NoRequest => Err(Ended::NoRequest),
                EndEvent::Evicted => Err(Ended::Evicted),
                EndEvent::Stop => {
                    http.as_mut().graceful_shutdown();
                    tokio::select! {
                        biased;
                        ended = http.as_mut() => ended.map_err(Ended::Failed),
                        () = client.disconnected() => Err(Ended::Disconnected),
                        () = sleep(self.close) => Err(Ended::Cut),
                        () = without_response(&seen, &backlog) => Err(Ended::Incomplete),
                    }
                }
            },
        };
        drop(event);

        if let Err(ended) = ended {
            tracing::debug!(peer = %peer.0, error = &ended as &dyn Error, "a connection ended early");
            if seen.http10() && ended.cut_a_response() {
                return client.reset();
            }
        }
        client.close();
    }
}

/// How long an HTTP/2 connection may take after its last response: to send the end of the response, which waits for its
/// stream's window, and for the client to confirm the end of the connection (RFC 9113, section 6.8).
pub(super) const HTTP2_END: Duration = Duration::from_secs(1);

/// Resolves when the connection carries no response: it is idle, or its client has not sent the whole request. Waits
/// for bytes of an ended response that HTTP still holds.
async fn without_response(seen: &Seen, backlog: &WriteBacklog) {
    loop {
        seen.in_flight.none().await;
        if seen.http2() {
            sleep(HTTP2_END).await;
        } else if backlog.exists() {
            // HTTP/1.1 ends the connection itself when the response has been written.
            pending::<()>().await;
        }
        if seen.in_flight.is_none() {
            return;
        }
    }
}

/// Events that end a connection other than the end of HTTP.
enum EndEvent {
    Disconnected,
    Stop,
    NoRequest,
    Evicted,
}

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the client disconnected")]
    Disconnected,
    #[error("no request arrived in time")]
    NoRequest,
    #[error("the connection was idle, and the connection limit was exceeded")]
    Evicted,
    #[error("a response did not finish in time after the server stopped")]
    Cut,
    #[error("the server stopped before the request was complete")]
    Incomplete,
    #[error("the connection failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

impl Ended {
    fn cut_a_response(&self) -> bool {
        match self {
            Self::Disconnected | Self::NoRequest | Self::Evicted | Self::Incomplete => false,
            Self::Cut => true,
            // A user error comes from the service: its response body failed. All others come from the client.
            Self::Failed(error) => error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_user),
        }
    }
}

/// Whether a connection has had a request, its HTTP version, and its requests in flight.
#[derive(Default)]
struct Seen {
    request: AtomicBool,
    http10: AtomicBool,
    http2: AtomicBool,
    in_flight: Arc<InFlight>,
}

impl Seen {
    fn record(&self, request: &Request<Incoming>) {
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

/// Wraps the service for one connection: records each request and adds its peer and load as extensions.
struct Requests<S> {
    service: S,
    peer: Peer,
    slot: Arc<ConnectionSlot>,
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
        self.seen.record(&request);
        request.extensions_mut().insert(self.peer);
        request.extensions_mut().insert(self.slot.load());
        let exchange = ServedExchange::begin(&self.seen.in_flight);
        let request = IncomingBody::of(request, &exchange);
        Responding::new(self.service.clone().oneshot(request), exchange)
    }
}

/// Runs the streams of HTTP/2 connections as tracked tasks, for which the server waits.
#[derive(Clone)]
struct StreamExecutor {
    tasks: TaskTracker,
    write_timeout: Duration,
}

impl<F> Executor<F> for StreamExecutor
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
    async fn connection_without_a_request_is_closed() {
        let server = Server::start(ListenerLimits { first_request: SHORT, ..patient() });
        for sent in ["", "PRI * HTTP/2.0\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTT"] {
            let connected = Instant::now();
            let mut client = server.connect().await;
            client.send(sent).await;
            client.closed().await.unwrap();
            assert!(connected.elapsed() >= SHORT, "{sent:?}");
        }
    }

    #[tokio::test]
    async fn a_slow_request_head_is_refused() {
        let server = Server::start(ListenerLimits { header: SHORT, ..patient() });
        let mut client = server.connect().await;
        client.send("GET / HTTP/1.1\r\nHo").await;
        client.closed().await.unwrap();
    }

    #[tokio::test]
    async fn an_idle_kept_alive_connection_is_closed() {
        let mut server = Server::start(ListenerLimits { header: SHORT, ..patient() });
        let mut idle = server.idle_client().await;
        assert_eq!(idle.closed().await.unwrap(), "");
    }

    #[tokio::test]
    async fn open_response_is_not_ended_by_request_deadlines() {
        let mut server = Server::start(ListenerLimits { first_request: SHORT, header: SHORT, ..patient() });
        let (mut http1, events1) = server.reading_client(GET).await;
        let (mut http2, events2) = server.reading_client(GET_HTTP2).await;

        // These connections are newer and have the same deadlines. If theirs have passed, so have the others'.
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
    async fn consecutive_http1_requests_carry_their_peer() {
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
    async fn http2_preface_selects_http2() {
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
    async fn disconnect_drops_the_waiting_handler() {
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
    async fn disconnect_drops_the_response_body() {
        let mut server = Server::start(patient());
        for request in [GET.as_bytes(), GET_HTTP10.as_bytes(), GET_HTTP2] {
            let (client, events) = server.reading_client(request).await;
            drop(client);
            events.dropped().await;
        }
    }

    #[tokio::test]
    async fn half_close_counts_as_a_disconnect() {
        let mut server = Server::start(patient());
        let (client, events) = server.reading_client(GET).await;
        let _reading_on = client.disconnect(Way::HalfClose).await;
        events.dropped().await;
    }

    #[tokio::test]
    async fn disconnect_behind_unread_bytes_is_detected() {
        let mut server = Server::start(patient());
        for unread in ["\r\n", "x", "GET / HTT", GET] {
            for way in [Way::Close, Way::Reset, Way::HalfClose] {
                let mut waiting = server.connect().await;
                waiting.send([GET, unread].concat()).await;
                let mut call = server.call().await;
                let _reading_on = waiting.disconnect(way).await;
                call.dropped().await;

                let (reading, events) = server.reading_client([GET, unread].concat()).await;
                let _reading_on = reading.disconnect(way).await;
                events.dropped().await;
            }
        }
    }

    #[tokio::test]
    async fn stop_does_not_wait_for_a_disconnected_client() {
        let mut server = Server::start(patient());
        let (client, events) = server.reading_client([GET, "x"].concat()).await;
        server.stop.cancel();
        // Wait until the server has processed the stop.
        while soon(TcpStream::connect(server.address)).await.is_ok() {}

        client.disconnect(Way::Close).await;
        events.dropped().await;
        server.ended().await;
    }

    #[tokio::test]
    async fn urgent_data_is_not_a_disconnect() {
        let mut server = Server::start(patient());
        let (mut client, events) = server.reading_client(GET).await;
        socket2::SockRef::from(&client.0).send_out_of_band(b"!").unwrap();
        events.send("second").await;
        client.read_until("second").await;
    }

    #[tokio::test]
    async fn pipelined_requests_are_all_answered() {
        let mut server = Server::start(patient());
        let mut client = server.connect().await;
        client.send([GET, "\r\n", GET, GET].concat()).await;
        for text in ["one", "two", "three"] {
            server.call().await.answer(text);
            assert!(contains(&client.read_until("0\r\n\r\n").await, text.as_bytes()));
        }
    }

    #[tokio::test]
    async fn bytes_behind_a_request_are_not_read_until_its_response_has_ended() {
        let mut server = Server::start(patient());
        let (mut client, events) = server.reading_client(GET).await;
        soon(async { while timeout(SHORT, client.send(vec![b'x'; 64 * 1024])).await.is_ok() {} }).await;

        events.send("last").await;
        drop(events);
        client.read_until("last\r\n0\r\n\r\n").await;
    }

    #[tokio::test]
    async fn http2_stream_reset_ends_only_that_stream() {
        let mut server = Server::start(patient());
        let (mut client, events) = server.reading_client(GET_HTTP2).await;
        client.send(RESET_HTTP2).await;
        events.dropped().await;

        let ping = b"\0\0\x08\x06\0\0\0\0\0tokenril";
        client.send(ping).await;
        client.read_until("tokenril").await;
    }

    #[tokio::test]
    async fn aborted_response_never_looks_complete() {
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
