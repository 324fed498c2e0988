//! The one HTTP client for upstreams.
//!
//! ```text
//! mod.rs       sends a request: pool, retries, redirects
//! request.rs   a request without its body
//! connect.rs   name resolution, Happy Eyeballs, TLS
//! proxy.rs     tunnels through an HTTP proxy
//! tls_terms.rs the certificates that are trusted and presented
//! stream.rs    a connection with or without TLS
//! http1.rs     HTTP/1.1, read by the generation's task
//! http1_connection.rs            a connection and the request written to it
//! response_head.rs, framing.rs   the syntax of HTTP/1.1 responses
//! http2.rs     HTTP/2, if ALPN negotiated it, in a separate task
//! idle.rs      pool of idle HTTP/1.1 connections
//! response.rs  a response whose body is streamed
//! decoder.rs   content codings
//! error.rs     transport errors
//! retries.rs   which failed requests may be retried, and how many were, by reason
//! ```

mod connect;
mod decoder;
mod error;
mod framing;
mod http1;
mod http1_connection;
mod http2;
mod idle;
mod proxy;
mod request;
mod response;
mod response_head;
mod retries;
mod stream;
mod tls_terms;

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::LOCATION;
use hyper::http::response::Parts;
use rustls::ClientConfig;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::SentMark;

use connect::{Connected, Connector, TlsConfigs};
use http2::{Lease, Multiplexed, Tasks};
use idle::Idle;
use response::ResponseBody;
use retries::FailedRequest;
use stream::Stream;
use tls_terms::TlsPurpose;

pub use error::{TransportError, TransportErrorKind};
pub use framing::{Framing, InvalidFramingError, More};
pub use proxy::{InvalidProxyError, Proxy};
pub use request::{InvalidUrlError, UpstreamRequest};
pub use response::Response;
pub use response_head::ResponseHead;
pub use retries::{Retries, RetryReason};
pub use tls_terms::{InvalidPemError, TlsTerms};

const MAX_REDIRECTS: usize = 5;
/// Interval of the search for expired idle connections.
const SWEEP: Duration = Duration::from_millis(500);

/// Sends requests to one server over pooled connections. Clones share the pool.
#[derive(Clone)]
pub struct Transport(Arc<ConnectionPool>);

struct ConnectionPool {
    connector: Connector,
    keepalive: Duration,
    idle: Idle,
    multiplexed: Multiplexed,
    tasks: Tasks,
    retries: Arc<Retries>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// How a transport's connections are opened, and how long they are kept.
#[derive(Debug, Clone)]
pub struct ConnectionTerms {
    /// Limit for name resolution, TCP, the tunnel of a proxy and TLS together.
    pub connect_timeout: Duration,
    /// How long an idle connection stays open.
    pub keepalive: Duration,
    /// `None` connects to the server itself.
    pub proxy: Option<Proxy>,
    pub tls: TlsTerms,
}

impl ConnectionTerms {
    /// Connects to the server itself and trusts the system's certificates.
    pub const fn direct(connect_timeout: Duration, keepalive: Duration) -> Self {
        Self { connect_timeout, keepalive, proxy: None, tls: TlsTerms::SYSTEM }
    }
}

/// Builds the transports of all upstreams and holds their shared state.
pub struct TransportBuilder {
    tasks: Tasks,
    retries: Arc<Retries>,
    tls: OnceLock<Arc<ClientConfig>>,
}

/// Why a transport cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TransportBuildError {
    #[error(transparent)]
    Url(#[from] InvalidUrlError),
    #[error("the system's trusted certificates cannot be used: {0}")]
    Tls(#[from] rustls::Error),
}

impl TransportBuilder {
    /// Connection tasks are spawned on `tracker` and end when `stop` is cancelled.
    pub fn new(tracker: TaskTracker, stop: CancellationToken) -> Self {
        Self { tasks: Tasks { tracker, stop }, retries: Arc::default(), tls: OnceLock::new() }
    }

    /// Returns the counters of retried requests, over all transports.
    pub fn retries(&self) -> Arc<Retries> {
        Arc::clone(&self.retries)
    }

    /// Builds a transport to the server of this URL. Must be called within a tokio runtime.
    pub fn build(&self, url: &Url, terms: ConnectionTerms) -> Result<Transport, TransportBuildError> {
        let is_https = |url: &Url| url.scheme() == "https";
        let server = is_https(url).then(|| self.tls(&terms.tls)).transpose()?;
        let proxy_url = terms.proxy.as_ref().map(Proxy::url).filter(|url| is_https(url));
        let proxy = proxy_url.map(|_| terms.tls.client_config(TlsPurpose::Proxy).map(Arc::new)).transpose()?;
        Ok(self.build_with(url, terms, TlsConfigs { server, proxy })?)
    }

    fn build_with(&self, url: &Url, terms: ConnectionTerms, tls: TlsConfigs) -> Result<Transport, InvalidUrlError> {
        let inner = Arc::new(ConnectionPool {
            connector: Connector::new(url, terms.proxy, tls, terms.connect_timeout)?,
            keepalive: terms.keepalive,
            idle: Idle::default(),
            multiplexed: Multiplexed::default(),
            tasks: self.tasks.clone(),
            retries: Arc::clone(&self.retries),
        });
        let (stop, swept) = (self.tasks.stop.clone(), Arc::downgrade(&inner));
        self.tasks.tracker.spawn(async move { _ = stop.run_until_cancelled(sweep(swept)).await });
        Ok(Transport(inner))
    }

    /// Returns the TLS configuration for an upstream. All upstreams without settings for TLS share one: reading the
    /// system's certificates takes tens of milliseconds.
    fn tls(&self, terms: &TlsTerms) -> Result<Arc<ClientConfig>, rustls::Error> {
        if !terms.is_default() {
            return Ok(Arc::new(terms.client_config(TlsPurpose::Upstream)?));
        }
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(terms.client_config(TlsPurpose::Upstream)?);
        Ok(Arc::clone(self.tls.get_or_init(|| config)))
    }
}

/// Closes expired idle connections until the transport is dropped.
async fn sweep(transport: Weak<ConnectionPool>) {
    let mut due = interval(SWEEP);
    loop {
        due.tick().await;
        let Some(transport) = transport.upgrade() else { return };
        transport.idle.expire();
        transport.multiplexed.expire(transport.keepalive);
    }
}

/// A connection (HTTP/1.1) or a stream on one (HTTP/2) for one request.
enum UpstreamConnection {
    Http1(Stream),
    Http2(Lease),
}

impl Transport {
    /// Sends a request and returns its response with any status, before its body.
    ///
    /// If a reused connection ends before any byte of the response, the request is retried once on a new connection,
    /// provided that the server did not process it ([`RetryReason`]). At most five redirects with 307 or 308 to the
    /// same origin are followed; a redirect to another origin would send the API key to another host.
    ///
    /// Cancel safe: dropping the future or the response closes an HTTP/1.1 connection and resets an HTTP/2 stream.
    pub async fn send(
        &self,
        request: &UpstreamRequest,
        body: Bytes,
        sent: &SentMark,
    ) -> Result<Response, TransportError> {
        let mut response = self.send_to_target(request, &body, sent).await?;
        let mut redirected = None;
        for _ in 0..MAX_REDIRECTS {
            let Some(next) = redirect(redirected.as_ref().unwrap_or(request), &response) else { break };
            drop(response);
            response = self.send_to_target(&next, &body, sent).await?;
            redirected = Some(next);
        }
        Ok(response)
    }

    /// Returns the number of idle HTTP/1.1 connections and of HTTP/2 connections.
    pub fn connections(&self) -> usize {
        self.0.idle.count() + self.0.multiplexed.count()
    }

    async fn send_to_target(
        &self,
        request: &UpstreamRequest,
        body: &Bytes,
        sent: &SentMark,
    ) -> Result<Response, TransportError> {
        if let Some(reused) = self.reuse() {
            match self.send_over(reused, request, body, sent).await {
                Ok((parts, body)) => return Response::new(parts, body),
                Err(FailedRequest { retry: Some(reason), .. }) => self.0.retries.add(reason),
                Err(FailedRequest { error, retry: None }) => return Err(error),
            }
        }
        let fresh = self.connect().await?;
        let (parts, body) = self.send_over(fresh, request, body, sent).await.map_err(|failure| failure.error)?;
        Response::new(parts, body)
    }

    async fn send_over(
        &self,
        connection: UpstreamConnection,
        request: &UpstreamRequest,
        body: &Bytes,
        sent: &SentMark,
    ) -> Result<(Parts, ResponseBody), FailedRequest> {
        let ConnectionPool { idle, keepalive, multiplexed, .. } = &*self.0;
        match connection {
            UpstreamConnection::Http1(stream) => {
                let keep = (idle.clone(), *keepalive);
                let request = (request.http1_head(body.len()), body.clone());
                let (parts, body) = http1::send(stream, request, sent.clone(), keep).await?;
                Ok((parts, ResponseBody::Http1(Box::new(body))))
            }
            UpstreamConnection::Http2(lease) => {
                let (parts, body) = http2::send(lease, request.http2(body.clone()), sent, multiplexed).await?;
                Ok((parts, ResponseBody::Http2(body)))
            }
        }
    }

    fn reuse(&self) -> Option<UpstreamConnection> {
        let http1 = || self.0.idle.take().map(UpstreamConnection::Http1);
        self.0.multiplexed.take().map(UpstreamConnection::Http2).or_else(http1)
    }

    async fn connect(&self) -> Result<UpstreamConnection, TransportError> {
        Ok(match self.0.connector.connect().await? {
            Connected::Http1(stream) => UpstreamConnection::Http1(stream),
            Connected::Http2(stream) => {
                UpstreamConnection::Http2(self.0.multiplexed.open(stream, &self.0.tasks).await?)
            }
        })
    }
}

/// Returns the request for a redirect that keeps the method and body (307, 308) and stays on the same origin.
fn redirect(request: &UpstreamRequest, response: &Response) -> Option<UpstreamRequest> {
    let is_repeatable = matches!(response.status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let location = response.headers.get(LOCATION).filter(|_| is_repeatable)?;
    request.redirected(location.to_str().ok()?)
}

#[cfg(test)]
mod tests;
