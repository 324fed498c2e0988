//! One exchange with an upstream: sends a request and returns a successful response.

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
    InvalidUrlError, More, Response, Transport, TransportError, TransportErrorKind, UpstreamRequest,
};
use super::super::{AttemptError, AttemptErrorKind, Phase, ReportTerms, Sent, SentMark};

/// Sends requests over the transport and classifies the failures.
///
/// Replaces the default executor of async-openai, which retries a refused request up to three times, sleeps for the
/// `Retry-After` of the upstream, and loses status and headers of a refusal with an unknown body. The generation
/// decides about retries, because it knows what may have been billed.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub transport: Transport,
    pub reports: ReportTerms,
}

/// Time for the body of a refusal; only the bytes that arrive within it are read.
const REFUSAL_TIME: Duration = Duration::from_secs(2);

impl Service<HttpRequestFactory> for Exchange {
    type Response = Response;
    type Error = AttemptError;
    type Future = BoxFuture<'static, Result<Response, AttemptError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let unsendable = || {
                let cause = "the request cannot be built".into();
                AttemptError::new(AttemptErrorKind::Unreachable { cause }, Sent::No)
            };
            let request = request.build().await.map_err(|_| unsendable())?;
            let body = request.body().and_then(reqwest::Body::as_bytes).map(Bytes::copy_from_slice).unwrap_or_default();
            let request = upstream_request(&request).map_err(|_| unsendable())?;
            this.send(&request, body, &SentMark::default()).await
        })
    }
}

impl Exchange {
    /// Sends a prepared request with `body`. A response without a success status is an error.
    pub async fn send(
        &self,
        request: &UpstreamRequest,
        body: Bytes,
        sent: &SentMark,
    ) -> Result<Response, AttemptError> {
        let response = self.transport.send(request, body.clone(), sent).await?;
        if response.status.is_success() {
            Ok(response)
        } else {
            Err(AttemptError::in_response(self.refusal(response, &body).await))
        }
    }

    /// Reads the error in the response to a refused request.
    async fn refusal(&self, mut response: Response, request: &[u8]) -> AttemptErrorKind {
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

/// Converts a request for the transport, without its body.
pub fn upstream_request(request: &Request) -> Result<UpstreamRequest, InvalidUrlError> {
    UpstreamRequest::new(request.method().clone(), request.url().clone(), request.headers().clone())
}

/// Waits for the next bytes of the body and passes them to `sink`.
pub async fn read(response: &mut Response, sink: &mut (impl FnMut(&[u8]) + Send)) -> Result<More, AttemptErrorKind> {
    poll_fn(|cx| response.poll_read(cx, sink)).await.map_err(|error| AttemptError::from(error).kind)
}

impl From<TransportError> for AttemptError {
    fn from(TransportError { kind, cause, sent }: TransportError) -> Self {
        let kind = match (kind, sent) {
            (TransportErrorKind::ConnectTimeout, _) => AttemptErrorKind::Timeout(Phase::Connect),
            // The upstream has not processed the request, so a retry cannot be billed twice.
            (TransportErrorKind::Unreachable, _) | (_, Sent::No) => AttemptErrorKind::Unreachable { cause },
            (TransportErrorKind::Disconnected | TransportErrorKind::Protocol, Sent::Maybe | Sent::Yes) => {
                AttemptErrorKind::Disconnected { cause }
            }
        };
        Self { kind, sent }
    }
}
