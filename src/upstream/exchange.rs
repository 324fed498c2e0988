//! One exchange with an upstream: sends a request and returns a successful response.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::attempt_error::{AttemptError, AttemptErrorKind, MalformedResponseError, Phase, Sent};
use super::attempt_terms::SentMark;
use super::refusal::{LONGEST_REFUSAL, ReportTerms};
use super::transport::{More, Response, Transport, TransportError, TransportErrorKind, UpstreamRequest};

/// Sends requests over the transport and classifies the failures.
///
/// Sends each request once. The loop of the attempts decides about retries, because it knows what may have been billed.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub transport: Transport,
    pub reports: ReportTerms,
}

/// Time for the body of a refusal; only the bytes that arrive within it are read.
const REFUSAL_TIME: Duration = Duration::from_secs(2);

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

/// Waits for the next bytes of the body and passes them to `sink`.
pub async fn read(response: &mut Response, sink: &mut (impl FnMut(&[u8]) + Send)) -> Result<More, AttemptErrorKind> {
    poll_fn(|cx| response.poll_read(cx, sink)).await.map_err(|error| AttemptError::from(error).kind)
}

/// Reads a body of at most `max_bytes` to its end.
pub async fn read_to_end(response: &mut Response, max_bytes: usize) -> Result<Vec<u8>, AttemptErrorKind> {
    let mut body = Vec::new();
    while read(response, &mut |bytes: &[u8]| body.extend_from_slice(bytes)).await? == More::Maybe {
        if body.len() > max_bytes {
            Err(AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge))?;
        }
    }
    Ok(body)
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
