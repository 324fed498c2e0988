//! One exchange with an upstream: a request out, a successful response in.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use async_openai::middleware::HttpRequestFactory;
use futures_util::future::BoxFuture;
use reqwest::header::HeaderMap;
use reqwest::{Request, StatusCode};
use tokio::task::coop::consume_budget;
use tower::Service;

use super::super::http1::{self, Fault, Idle, More};
use super::super::{Phase, UpstreamError};

/// Sends a request once and sorts the failures: in the clear over our own HTTP/1.1, with TLS over reqwest, which
/// speaks HTTP/2 too.
///
/// Takes the place of async-openai's default executor, which repeats a refused request up to three
/// times, sleeps as long as the upstream's `Retry-After` says, and loses status and headers of a
/// refusal whose body it does not know. A repeat belongs to whoever knows what has been billed.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub http: reqwest::Client,
    pub idle: Idle,
    /// How long a connection in the clear may take to stand; reqwest's own has the same limit.
    pub connect: Duration,
}

impl Service<HttpRequestFactory> for Exchange {
    type Response = Incoming;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, Result<Incoming, UpstreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let request = request
                .build()
                .await
                .map_err(|_| UpstreamError::Unreachable { cause: "the request cannot be built".into() })?;
            match in_the_clear(&request) {
                Some(clear) => {
                    let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
                    this.send(&clear, body).await
                }
                None => Ok(Incoming::Encrypted(this.http.execute(request).await?)),
            }
        })
    }
}

impl Exchange {
    /// As the service does, for a request in the clear that was made before.
    pub async fn send(&self, request: &http1::Request, body: &[u8]) -> Result<Incoming, UpstreamError> {
        Ok(Incoming::Clear(http1::send(&self.idle, request, body, self.connect).await?))
    }
}

/// The same request for our own HTTP/1.1, where it needs no TLS.
pub fn in_the_clear(request: &Request) -> Option<http1::Request> {
    let url = Some(request.url()).filter(|url| url.scheme() == "http")?;
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    let place = (url.host_str()?, url.port_or_known_default()?);
    Some(http1::Request::new(request.method().as_str(), place, &target, request.headers()))
}

impl From<Fault> for UpstreamError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unreachable => Self::Unreachable { cause: "no connection".into() },
            Fault::ConnectTimeout => Self::Timeout(Phase::Connect),
            // The request may have arrived: a repeat could be billed again.
            Fault::Broken => Self::Disconnected { cause: "the connection broke".into() },
        }
    }
}

impl From<reqwest::Error> for UpstreamError {
    fn from(error: reqwest::Error) -> Self {
        match error {
            error if error.is_connect() && error.is_timeout() => Self::Timeout(Phase::Connect),
            error if error.is_connect() => Self::Unreachable { cause: "no connection".into() },
            _ => Self::Disconnected { cause: "the connection broke".into() },
        }
    }
}

/// A response whose body is still to come.
pub enum Incoming {
    Clear(http1::Response),
    Encrypted(reqwest::Response),
}

impl Incoming {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Clear(response) => response.status,
            Self::Encrypted(response) => response.status(),
        }
    }

    pub fn headers(&self) -> &HeaderMap {
        match self {
            Self::Clear(response) => &response.headers,
            Self::Encrypted(response) => response.headers(),
        }
    }

    /// Gives `sink` what comes next of the body, whose bytes are not kept: a piece pins the buffer of its read.
    ///
    /// Gives way now and then even where there are always more: an upstream that talks without a pause would keep its
    /// generation from every deadline and every stop.
    pub async fn read(&mut self, sink: &mut (impl FnMut(&[u8]) + Send)) -> Result<More, UpstreamError> {
        match self {
            // Its socket gives way by itself.
            Self::Clear(response) => Ok(poll_fn(|context| response.poll_read(context, sink)).await?),
            Self::Encrypted(response) => {
                consume_budget().await;
                let Some(bytes) = response.chunk().await? else { return Ok(More::None) };
                sink(&bytes);
                Ok(More::Maybe)
            }
        }
    }
}
