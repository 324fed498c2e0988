//! Opens connections: name resolution, Happy Eyeballs (RFC 8305), the tunnel of a proxy, TLS.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use url::Url;

use super::error::{TransportError, TransportErrorKind, connect_cause, resolve_cause, tls_cause};
use super::proxy::Proxy;
use super::request::InvalidUrlError;
use super::stream::Stream;
use super::tls_terms::is_http2;

/// Delay before the next address is tried in parallel (RFC 8305, section 8).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// The default of reqwest.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// Connects to the server of one transport.
pub struct Connector {
    host: String,
    port: u16,
    tls: Option<TlsClient>,
    proxy: Option<ProxyConnector>,
    timeout: Duration,
}

/// A TLS configuration, and the name that the certificate must have.
struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
}

struct ProxyConnector {
    proxy: Proxy,
    host: String,
    port: u16,
    tls: Option<TlsClient>,
}

/// The TLS configurations of a transport's connections. `None` connects without TLS.
#[derive(Default)]
pub struct TlsConfigs {
    pub server: Option<Arc<ClientConfig>>,
    pub proxy: Option<Arc<ClientConfig>>,
}

/// A connection and its negotiated protocol.
pub enum Connected {
    Http1(Stream),
    Http2(Stream),
}

impl Connector {
    pub fn new(url: &Url, proxy: Option<Proxy>, tls: TlsConfigs, timeout: Duration) -> Result<Self, InvalidUrlError> {
        let (host, port) = host_and_port(url)?;
        let proxy = proxy.map(|proxy| ProxyConnector::new(proxy, tls.proxy)).transpose()?;
        let tls = tls.server.map(|config| TlsClient::new(config, &host)).transpose()?;
        Ok(Self { host, port, tls, proxy, timeout })
    }

    /// Cancel safe: dropping the future closes all attempts.
    pub async fn connect(&self) -> Result<Connected, TransportError> {
        timeout(self.timeout, self.connect_without_deadline()).await.unwrap_or_else(|_| {
            let cause = format!("no connection within {}", humantime::format_duration(self.timeout));
            Err(TransportError { kind: TransportErrorKind::ConnectTimeout, ..TransportError::unreachable(cause) })
        })
    }

    async fn connect_without_deadline(&self) -> Result<Connected, TransportError> {
        let stream = match &self.proxy {
            None => Stream::Clear(connect_tcp(&self.host, self.port).await?),
            Some(proxy) => proxy.open_tunnel(&self.host, self.port).await?,
        };
        let Some(TlsClient { connector, name }) = &self.tls else { return Ok(Connected::Http1(stream)) };
        let (stream, is_http2) = match stream {
            Stream::Clear(socket) => {
                let stream = connector.connect(name.clone(), socket).await.map_err(|error| tls_fault(&error))?;
                let is_http2 = is_http2(stream.get_ref().1.alpn_protocol());
                (Stream::Tls(Box::new(stream)), is_http2)
            }
            Stream::Tls(tunnel) => {
                let stream = connector.connect(name.clone(), tunnel).await.map_err(|error| tls_fault(&error))?;
                let is_http2 = is_http2(stream.get_ref().1.alpn_protocol());
                (Stream::TlsInTls(Box::new(stream)), is_http2)
            }
            stream @ Stream::TlsInTls(_) => (stream, false),
        };
        Ok(if is_http2 { Connected::Http2(stream) } else { Connected::Http1(stream) })
    }
}

impl TlsClient {
    fn new(config: Arc<ClientConfig>, host: &str) -> Result<Self, InvalidUrlError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| InvalidUrlError)?;
        Ok(Self { connector: TlsConnector::from(config), name })
    }
}

impl ProxyConnector {
    fn new(proxy: Proxy, tls: Option<Arc<ClientConfig>>) -> Result<Self, InvalidUrlError> {
        let (host, port) = host_and_port(proxy.url())?;
        let tls = tls.map(|config| TlsClient::new(config, &host)).transpose()?;
        Ok(Self { proxy, host, port, tls })
    }

    /// Opens a tunnel to this server, whose name only the proxy resolves.
    async fn open_tunnel(&self, host: &str, port: u16) -> Result<Stream, TransportError> {
        let of_proxy = |error: TransportError| TransportError::unreachable(format!("the proxy: {}", error.cause));
        let mut socket = connect_tcp(&self.host, self.port).await.map_err(of_proxy)?;
        let Some(TlsClient { connector, name }) = &self.tls else {
            self.proxy.open_tunnel(&mut socket, host, port).await?;
            return Ok(Stream::Clear(socket));
        };
        let stream = connector.connect(name.clone(), socket).await;
        let mut stream = Box::new(stream.map_err(|error| of_proxy(tls_fault(&error)))?);
        self.proxy.open_tunnel(&mut stream, host, port).await?;
        Ok(Stream::Tls(stream))
    }
}

fn host_and_port(url: &Url) -> Result<(String, u16), InvalidUrlError> {
    let host = url.host_str().ok_or(InvalidUrlError)?.trim_matches(['[', ']']).to_owned();
    Ok((host, url.port_or_known_default().ok_or(InvalidUrlError)?))
}

async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, TransportError> {
    let found = lookup_host((host, port)).await;
    let found = found.map_err(|error| TransportError::unreachable(resolve_cause(&error)))?;
    let socket = connect_any(interleave(found.collect())).await;
    let socket = socket.map_err(|error| TransportError::unreachable(connect_cause(&error)))?;
    configure(&socket);
    Ok(socket)
}

fn tls_fault(error: &io::Error) -> TransportError {
    TransportError::unreachable(tls_cause(error))
}

/// Alternates the address families and otherwise keeps the resolver's order (RFC 8305, section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_ipv6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

/// Returns the first connection that succeeds. Each failure, and each `ATTEMPT_DELAY` without a success, starts the
/// next attempt; earlier attempts continue.
///
/// hyper-util's `HttpConnector` is not used: it waits out its delay even if the first address family refused. That
/// would add 250 ms to each connection to a `localhost` that listens on IPv4 only.
async fn connect_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        if let Some(address) = addresses.next() {
            attempts.push(TcpStream::connect(address));
        }
        let has_more = addresses.len() > 0;
        let delay = async {
            match has_more {
                true => sleep(ATTEMPT_DELAY).await,
                false => pending().await,
            }
        };
        tokio::select! {
            biased;
            attempt = attempts.next() => match attempt {
                Some(Ok(stream)) => return Ok(stream),
                // Report the first failure: it belongs to the address that the resolver prefers.
                Some(Err(error)) => _ = failure.get_or_insert(error),
                None => return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
            },
            () = delay => {}
        }
    }
}

fn configure(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    // Without TCP_NODELAY the second part of a request waits for the acknowledgement of the first.
    _ = socket.set_tcp_nodelay(true);
    // Detects a server that vanished without closing the connection, also while the connection is idle.
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE).with_interval(TCP_KEEPALIVE).with_retries(3);
    _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    {
        _ = socket.set_tcp_user_timeout(Some(TCP_KEEPALIVE * 2));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_of_two_families_are_tried_in_turn_beginning_with_the_resolvers_first() {
        let parse = |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let found = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]);
        let mixed = parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]);
        assert_eq!(interleave(found), mixed);
        assert_eq!(interleave(Vec::new()), []);
    }

    #[tokio::test]
    async fn an_address_that_refuses_does_not_delay_the_next() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let begun = std::time::Instant::now();
        let addresses = vec![closed, closed, listener.local_addr().unwrap()];
        assert!(connect_any(addresses).await.is_ok());
        assert!(begun.elapsed() < ATTEMPT_DELAY);
        assert_eq!(connect_any(vec![closed]).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(connect_any(Vec::new()).await.is_err());
    }

    /// The kernel drops a SYN if the backlog is full. The attempt then neither fails nor succeeds.
    #[tokio::test]
    async fn an_address_that_does_not_respond_delays_the_next_by_one_attempt_delay() {
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(1).unwrap();
        let address = silent.local_addr().unwrap();
        let mut queued = Vec::new();
        while let Ok(Ok(stream)) = timeout(ATTEMPT_DELAY, TcpStream::connect(address)).await {
            queued.push(stream);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let begun = std::time::Instant::now();
        assert!(connect_any(vec![address, listener.local_addr().unwrap()]).await.is_ok());
        assert!(begun.elapsed() >= ATTEMPT_DELAY);
    }
}
