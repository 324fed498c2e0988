//! One exchange with an upstream: a request out, a successful response in.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use async_openai::middleware::HttpRequestFactory;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::Request;
use tokio::time::timeout;
use tower::Service;

use super::super::refusal::LONGEST_REFUSAL;
use super::super::transport::{
    InvalidUrl, More, Response, Transport, TransportError, TransportErrorKind, UpstreamRequest,
};
use super::super::{Phase, ReportTerms, Sent, SentMark, UpstreamError};

/// Sends requests over the transport and sorts the failures.
///
/// Takes the place of async-openai's default executor, which repeats a refused request up to three
/// times, sleeps as long as the upstream's `Retry-After` says, and loses status and headers of a
/// refusal whose body it does not know. A retry is the generation's to decide, which knows what may have been billed.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub transport: Transport,
    pub reports: ReportTerms,
}

/// A refusal whose body takes longer is a refusal without a body.
const REFUSAL_TIME: Duration = Duration::from_secs(2);

impl Service<HttpRequestFactory> for Exchange {
    type Response = Response;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, Result<Response, UpstreamError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let unsendable = || UpstreamError::Unreachable { cause: "the request cannot be built".into() };
            let request = request.build().await.map_err(|_| unsendable())?;
            let body = request.body().and_then(reqwest::Body::as_bytes).map(Bytes::copy_from_slice).unwrap_or_default();
            let request = upstream_request(&request).map_err(|_| unsendable())?;
            this.send(&request, body, &SentMark::default()).await
        })
    }
}

impl Exchange {
    /// Sends a request whose parts but the body were made before. Returns successful responses alone.
    pub async fn send(
        &self,
        request: &UpstreamRequest,
        body: Bytes,
        sent: &SentMark,
    ) -> Result<Response, UpstreamError> {
        let response = self.transport.send(request, body.clone(), sent).await?;
        if response.status.is_success() { Ok(response) } else { Err(self.refusal(response, &body).await) }
    }

    /// Reads what the upstream says of the request that it refused.
    async fn refusal(&self, mut response: Response, request: &[u8]) -> UpstreamError {
        let mut body = Vec::new();
        let reading = async {
            while let Ok(More::Maybe) = read(&mut response, &mut |bytes: &[u8]| body.extend_from_slice(bytes)).await {
                if body.len() > LONGEST_REFUSAL {
                    break;
                }
            }
        };
        _ = timeout(REFUSAL_TIME, reading).await;
        let refused = self.reports.refused(response.status.as_u16(), &response.headers, &body, request);
        response.recycle();
        refused
    }
}

/// The same request for the transport, without its body.
pub fn upstream_request(request: &Request) -> Result<UpstreamRequest, InvalidUrl> {
    UpstreamRequest::new(request.method().clone(), request.url().clone(), request.headers().clone())
}

/// Gives `sink` what comes next of the body, as soon as there is any.
pub async fn read(response: &mut Response, sink: &mut (impl FnMut(&[u8]) + Send)) -> Result<More, UpstreamError> {
    Ok(poll_fn(|cx| response.poll_read(cx, sink)).await?)
}

impl From<TransportError> for UpstreamError {
    fn from(TransportError { kind, cause, sent }: TransportError) -> Self {
        match (kind, sent) {
            (TransportErrorKind::ConnectTimeout, _) => Self::Timeout(Phase::Connect),
            // Not processed: a repeat cannot be billed twice.
            (TransportErrorKind::Unreachable, _) | (_, Sent::No) => Self::Unreachable { cause },
            (TransportErrorKind::Disconnected | TransportErrorKind::Protocol, Sent::Maybe) => {
                Self::Disconnected { cause }
            }
        }
    }
}
