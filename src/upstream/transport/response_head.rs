//! The head of an HTTP/1.1 response.

use std::mem::MaybeUninit;

use httparse::ParserConfig;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, InvalidHeaderName, InvalidHeaderValue,
    TRANSFER_ENCODING,
};
use hyper::http::response::Parts;
use hyper::{Response, StatusCode};

use super::error::TransportError;
use super::framing::Framing;

/// Status, headers and the framing of the body.
pub struct ResponseHead {
    pub parts: Parts,
    pub framing: Framing,
    pub persistence: Persistence,
}

/// Whether the connection may carry another request after this response (RFC 9112, section 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    Persists,
    Closes,
}

const MAX_HEADERS: usize = 100;
/// Maximum size of a head in bytes.
const MAX_HEAD: usize = 32 * 1024;

impl ResponseHead {
    /// Removes the head from `read` and returns it. `None`: the head is incomplete. Skips interim responses (RFC 9110,
    /// section 15.2).
    pub fn take(read: &mut Vec<u8>) -> Result<Option<Self>, TransportError> {
        loop {
            let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
            let mut response = httparse::Response::new(&mut []);
            let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, read, &mut headers);
            let length = match parsed {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) if read.len() < MAX_HEAD => return Ok(None),
                Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                    return Err(TransportError::protocol("the response's head is too large"));
                }
                Err(_) => return Err(not_http()),
            };
            let head = Self::of(&response)?;
            read.drain(..length);
            match head.parts.status {
                StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(TransportError::protocol("the server switched protocols"));
                }
                status if status.is_informational() => {}
                _ => return Ok(Some(head)),
            }
        }
    }

    fn of(response: &httparse::Response<'_, '_>) -> Result<Self, TransportError> {
        let (mut parts, ()) = Response::new(()).into_parts();
        parts.status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(not_http)?;
        parts.headers.reserve(response.headers.len());
        for header in &*response.headers {
            parts
                .headers
                .append(HeaderName::from_bytes(header.name.as_bytes())?, HeaderValue::from_bytes(header.value)?);
        }
        let is_current = response.version == Some(1);
        let framing = framing(parts.status, &parts.headers, is_current)?;
        let closes = members(&parts.headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"close"));
        // Both headers together indicate response splitting (RFC 9112, section 6.3).
        let is_ambiguous = parts.headers.contains_key(TRANSFER_ENCODING) && parts.headers.contains_key(CONTENT_LENGTH);
        let persists = is_current && !closes && !is_ambiguous && framing != Framing::UntilClose;
        let persistence = if persists { Persistence::Persists } else { Persistence::Closes };
        Ok(Self { parts, framing, persistence })
    }
}

/// Returns the framing of the body (RFC 9112, section 6.3). `chunked` is the only supported transfer coding. Some
/// proxies send the field twice.
fn framing(status: StatusCode, headers: &HeaderMap, is_current: bool) -> Result<Framing, TransportError> {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Framing::Ended);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        let is_chunked = |value: &HeaderValue| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        return match is_current && headers.get_all(TRANSFER_ENCODING).iter().all(is_chunked) {
            true => Ok(Framing::chunked()),
            false => Err(TransportError::protocol("the response's Transfer-Encoding is not supported")),
        };
    }
    let mut lengths = members(headers, &CONTENT_LENGTH);
    let Some(length) = lengths.next() else { return Ok(Framing::UntilClose) };
    let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    let is_one = is_number && lengths.all(|other| other == length);
    let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
    length.filter(|_| is_one).map(Framing::of_length).ok_or_else(not_http)
}

/// Returns the members of a list field from all of its lines.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter();
    values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

fn not_http() -> TransportError {
    TransportError::protocol("the response is not HTTP")
}

impl From<InvalidHeaderName> for TransportError {
    fn from(_: InvalidHeaderName) -> Self {
        not_http()
    }
}

impl From<InvalidHeaderValue> for TransportError {
    fn from(_: InvalidHeaderValue) -> Self {
        not_http()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(lines: &str) -> Option<(Framing, Persistence)> {
        let mut read = format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into_bytes();
        let head = ResponseHead::take(&mut read).ok()?.expect("a complete head");
        Some((head.framing, head.persistence))
    }

    #[test]
    fn framing_follows_rfc_9112_and_invalid_framing_is_refused() {
        use Persistence::{Closes, Persists};
        for (lines, expected) in [
            ("", (Framing::UntilClose, Closes)),
            ("Content-Length: 5\r\n", (Framing::of_length(5), Persists)),
            ("content-length: 5, 5\r\ncontent-length: 5\r\n", (Framing::of_length(5), Persists)),
            ("transfer-encoding: Chunked\r\n", (Framing::chunked(), Persists)),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", (Framing::chunked(), Persists)),
            ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", (Framing::chunked(), Closes)),
            ("content-length: 5\r\nconnection: x, Close\r\n", (Framing::of_length(5), Closes)),
        ] {
            assert_eq!(head(lines), Some(expected), "{lines}");
        }
        for bad in [
            "content-length: 5, 6\r\n",
            "content-length: +5\r\n",
            "content-length: \r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: chunked, chunked\r\n",
            "transfer-encoding: identity\r\n",
            "transfer-encoding:\r\n",
        ] {
            assert_eq!(head(bad), None, "{bad}");
        }
    }

    #[test]
    fn complete_head_is_taken_and_the_bytes_after_it_remain() {
        let whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\na: b\r\n\r\nrest";
        let (mut read, mut taken) = (Vec::new(), 0);
        for byte in whole {
            read.push(*byte);
            if taken == 0 {
                taken += usize::from(ResponseHead::take(&mut read).expect("a valid head").is_some());
            }
        }
        assert_eq!((taken, read.as_slice()), (1, &b"rest"[..]));
        let mut endless = [&b"HTTP/1.1 200 OK\r\na: "[..], &vec![b'x'; MAX_HEAD]].concat();
        assert!(ResponseHead::take(&mut endless).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(mut read in prop::collection::vec(any::<u8>(), 0..200)) {
            _ = ResponseHead::take(&mut read);
            let mut read = [&b"HTTP/1.1 200 OK\r\n"[..], &read].concat();
            _ = ResponseHead::take(&mut read);
        }
    }
}
