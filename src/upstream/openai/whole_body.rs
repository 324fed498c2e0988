//! The body of a response to a request for a whole answer.

use serde::de::IgnoredAny;

use super::super::exchange::read;
use super::super::transport::{More, Response};
use super::super::{AttemptErrorKind, MalformedResponseError};

/// The kind of a body, by its first byte.
pub enum WholeBody {
    /// A complete JSON text.
    Json(Vec<u8>),
    /// The beginning of another body, such as an event stream from a server that streams nevertheless.
    Other(Vec<u8>),
}

impl WholeBody {
    /// Reads a JSON text to its end, or the first bytes of any other body.
    ///
    /// A JSON text that is complete when the connection fails is an answer. Errors: the connection failed earlier, or
    /// the text is larger than `max_bytes`.
    pub async fn read(response: &mut Response, max_bytes: usize) -> Result<Self, AttemptErrorKind> {
        let mut body = Vec::new();
        loop {
            let more = read(response, &mut |bytes: &[u8]| body.extend_from_slice(bytes)).await;
            if first_byte(&body).is_some_and(|byte| !matches!(byte, b'{' | b'[')) {
                return Ok(Self::Other(body));
            }
            if body.len() > max_bytes {
                return Err(AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge));
            }
            match more {
                Ok(More::Maybe) => {}
                Ok(More::None) => return Ok(Self::Json(body)),
                Err(_) if serde_json::from_slice::<IgnoredAny>(&body).is_ok() => return Ok(Self::Json(body)),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Returns the first byte after a byte order mark and blanks; `None` if it has not arrived.
fn first_byte(body: &[u8]) -> Option<u8> {
    let mark = "\u{feff}".as_bytes();
    if mark.starts_with(body) {
        return None;
    }
    body.strip_prefix(mark).unwrap_or(body).trim_ascii_start().first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_byte_is_found_after_a_byte_order_mark_and_blanks() {
        for (body, first) in [
            ("", None),
            ("\u{feff}", None),
            (" \r\n", None),
            ("\u{feff} {", Some(b'{')),
            ("data: {", Some(b'd')),
            ("é", Some(0xC3)),
        ] {
            assert_eq!(first_byte(body.as_bytes()), first, "{body:?}");
        }
        assert_eq!(first_byte(&[0xEF, 0xBB]), None);
    }
}
