//! The body of a response to a request for a whole answer.

use super::super::transport::{More, Response};
use super::super::{Malformed, UpstreamError};
use super::exchange::read;

/// What came, as its first bytes show.
pub enum WholeBody {
    /// All of a JSON text.
    Json(Vec<u8>),
    /// The beginning of something else, such as an event stream from a server that streams all the same.
    Other(Vec<u8>),
}

impl WholeBody {
    /// Reads until it is known what comes, and a JSON text to its end.
    ///
    /// Errors: the connection broke, or the text is larger than `max_bytes`.
    pub async fn read(response: &mut Response, max_bytes: usize) -> Result<Self, UpstreamError> {
        let mut body = Vec::new();
        while read(response, &mut |bytes: &[u8]| body.extend_from_slice(bytes)).await? == More::Maybe {
            if first_byte(&body).is_some_and(|byte| !matches!(byte, b'{' | b'[')) {
                return Ok(Self::Other(body));
            }
            if body.len() > max_bytes {
                return Err(UpstreamError::Malformed(Malformed::EventTooLarge));
            }
        }
        Ok(Self::Json(body))
    }
}

fn first_byte(body: &[u8]) -> Option<u8> {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body).trim_ascii_start().first().copied()
}
