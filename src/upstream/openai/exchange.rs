//! One exchange with an upstream: a request out, a successful response in.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use async_openai::middleware::HttpRequestFactory;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use reqwest::Request;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tower::Service;

use super::super::transport::{
    InvalidUrl, More, Response, Transport, TransportError, TransportErrorKind, UpstreamRequest,
};
use super::super::{Phase, Sent, SentMark, UpstreamError};

/// Sends requests over the transport and sorts the failures.
///
/// Takes the place of async-openai's default executor, which repeats a refused request up to three
/// times, sleeps as long as the upstream's `Retry-After` says, and loses status and headers of a
/// refusal whose body it does not know. A retry is the generation's to decide, which knows what may have been billed.
#[derive(Debug, Clone)]
pub struct Exchange(pub Transport);

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
        successful(self.0.send(request, body, sent).await?)
    }
}

/// The same request for the transport, without its body.
pub fn upstream_request(request: &Request) -> Result<UpstreamRequest, InvalidUrl> {
    UpstreamRequest::new(request.method().clone(), request.url().clone(), request.headers().clone())
}

fn successful(mut response: Response) -> Result<Response, UpstreamError> {
    if response.status.is_success() {
        return Ok(response);
    }
    // What has come with it is read, so that the connection can be used again.
    while let Some(Ok(More::Maybe)) = read(&mut response, &mut |_: &[u8]| {}).now_or_never() {}
    let status = response.status.as_u16();
    Err(UpstreamError::Refused { status, retry_after: retry_after(&response.headers), report: None })
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

const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// `Retry-After` in seconds (RFC 9110, section 10.2.3), between 1 second and 1 hour. A date is passed
/// over: it would need the two clocks to agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let digits = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(seconds.parse().unwrap_or(u64::MAX)).clamp(SHORTEST_WAIT, LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_and_kept_within_an_hour() {
        let read =
            |value: &'static str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().expect("value"))]));
        assert_eq!(read("30"), Some(Duration::from_secs(30)));
        assert_eq!(read("0"), Some(Duration::from_secs(1)));
        assert_eq!(read("99999999999999999999999"), Some(LONGEST_WAIT));
        assert_eq!(read("-1"), None);
        assert_eq!(read("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
