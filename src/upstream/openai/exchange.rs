//! One exchange with an upstream: a request out, a successful response in.

use std::task::{Context, Poll};
use std::time::Duration;

use async_openai::error::OpenAIError;
use async_openai::middleware::{HttpRequestFactory, ReqwestService};
use futures_util::future::BoxFuture;
use reqwest::Response;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use tower::Service;

use super::super::{Phase, UpstreamError};

/// Sends a request once and sorts the failures.
///
/// Takes the place of async-openai's default executor, which repeats a refused request up to three
/// times, sleeps as long as the upstream's `Retry-After` says, and loses status and headers of a
/// refusal whose body it does not know. A repeat belongs to whoever knows what has been billed.
#[derive(Debug, Clone)]
pub struct Exchange(ReqwestService);

impl Exchange {
    pub fn new(http: reqwest::Client) -> Self {
        Self(ReqwestService::new(http))
    }
}

impl Service<HttpRequestFactory> for Exchange {
    type Response = Response;
    type Error = UpstreamError;
    type Future = BoxFuture<'static, Result<Response, UpstreamError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        self.0.poll_ready(context).map_err(|_| UpstreamError::Unreachable)
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(async move {
            let response = response.await.map_err(|error| match error {
                OpenAIError::Reqwest(error) if error.is_connect() && error.is_timeout() => {
                    UpstreamError::Timeout(Phase::Connect)
                }
                OpenAIError::Reqwest(error) if error.is_connect() => UpstreamError::Unreachable,
                // The request may have arrived: a repeat could be billed again.
                _ => UpstreamError::Disconnected,
            })?;
            // A redirect is not followed: it would carry the key to a host that no setting names.
            if response.status().is_success() {
                return Ok(response);
            }
            Err(UpstreamError::Refused {
                status: response.status().as_u16(),
                retry_after: retry_after(response.headers()),
            })
        })
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
