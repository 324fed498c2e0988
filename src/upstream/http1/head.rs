//! What a request and a response begin with.

use std::fmt;
use std::mem::MaybeUninit;

use bytes::{BufMut, Bytes, BytesMut};
use httparse::ParserConfig;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, StatusCode};

use super::body::Body;
use super::{Fault, Origin};

/// A request without its body: what is the same each time that it is sent.
pub struct Request {
    pub origin: Origin,
    /// Up to the length of the body, where it has one.
    head: Box<[u8]>,
    has_body: HasBody,
}

/// Prints no header: one of them is a key.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("origin", &self.origin).finish_non_exhaustive()
    }
}

#[derive(PartialEq)]
enum HasBody {
    Yes,
    No,
}

impl Request {
    /// `host` as an URL has it, an IPv6 address in brackets; `target` is path and query. `Host` is added to the headers
    /// where it is not there; what tells the length of the body is ours to say.
    pub fn new(method: &str, (host, port): (&str, u16), target: &str, headers: &HeaderMap) -> Self {
        let mut head = Vec::new();
        for part in [method, " ", target, " HTTP/1.1"] {
            head.put_slice(part.as_bytes());
        }
        if !headers.contains_key(HOST) {
            head.put_slice(b"\r\nhost: ");
            head.put_slice(host.as_bytes());
            // The scheme's own is not named (RFC 9110, section 4.2.3): some servers know themselves by no other name.
            if port != 80 {
                head.put_slice(b":");
                head.put_slice(itoa::Buffer::new().format(port).as_bytes());
            }
        }
        for (name, value) in headers.iter().filter(|(name, _)| !FRAMING.contains(name)) {
            for part in [b"\r\n", name.as_str().as_bytes(), b": ", value.as_bytes()] {
                head.put_slice(part);
            }
        }
        let has_body = if method == "GET" { HasBody::No } else { HasBody::Yes };
        Self { origin: Origin::new(host, port), head: head.into(), has_body }
    }

    /// Head and body, so that they leave in one write.
    pub fn bytes(&self, body: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(self.head.len() + 64 + body.len());
        out.put_slice(&self.head);
        if self.has_body == HasBody::Yes {
            out.put_slice(b"\r\ncontent-length: ");
            out.put_slice(itoa::Buffer::new().format(body.len()).as_bytes());
        }
        out.put_slice(b"\r\n\r\n");
        out.put_slice(body);
        out.freeze()
    }
}

const FRAMING: [HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

/// The head of a response.
#[derive(Debug)]
pub struct Head {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    /// Whether its server says that another request may follow on the connection.
    pub may_follow: bool,
}

/// As hyper has it.
const MOST_HEADERS: usize = 100;
const LARGEST: usize = 64 * 1024;

impl Head {
    /// Takes the head off `read`, once it is whole. Interim responses (RFC 9110, section 15.2) are passed over.
    pub fn take(read: &mut Vec<u8>) -> Result<Option<Self>, Fault> {
        loop {
            let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
            let (config, mut response) = (ParserConfig::default(), httparse::Response::new(&mut []));
            let length = match config.parse_response_with_uninit_headers(&mut response, read, &mut headers) {
                Ok(httparse::Status::Complete(length)) => length,
                Ok(httparse::Status::Partial) if read.len() < LARGEST => return Ok(None),
                Ok(httparse::Status::Partial) | Err(_) => return Err(Fault::Broken),
            };
            let head = Self::of(&response)?;
            read.drain(..length);
            match head.status {
                StatusCode::SWITCHING_PROTOCOLS => return Err(Fault::Broken),
                status if status.is_informational() => {}
                _ => return Ok(Some(head)),
            }
        }
    }

    fn of(response: &httparse::Response<'_, '_>) -> Result<Self, Fault> {
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Fault::Broken)?;
        let mut headers = HeaderMap::with_capacity(response.headers.len());
        for header in &*response.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Fault::Broken)?;
            headers.append(name, HeaderValue::from_bytes(header.value).map_err(|_| Fault::Broken)?);
        }
        let is_current = response.version == Some(1);
        let body = framing(status, &headers, is_current)?;
        let closes = all(&headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"close"));
        // Both together are how one response is smuggled behind another (RFC 9112, section 6.3).
        let is_ambiguous = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
        let may_follow = is_current && !closes && !is_ambiguous && body != Body::UntilClose;
        Ok(Self { status, headers, body, may_follow })
    }
}

/// How the end of the body is found (RFC 9112, section 6.3).
fn framing(status: StatusCode, headers: &HeaderMap, is_current: bool) -> Result<Body, Fault> {
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        return Ok(Body::Over);
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        let mut codings = all(headers, &TRANSFER_ENCODING);
        let is_chunked = codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        let is_known = is_current && is_chunked && codings.next().is_none();
        return if is_known { Ok(Body::chunked()) } else { Err(Fault::Broken) };
    }
    let mut lengths = all(headers, &CONTENT_LENGTH);
    let Some(length) = lengths.next() else { return Ok(Body::UntilClose) };
    let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    let is_one = is_number && lengths.all(|other| other == length);
    let length = std::str::from_utf8(length).ok().and_then(|length| length.parse().ok());
    length.filter(|_| is_one).map(Body::of_length).ok_or(Fault::Broken)
}

/// The members of a list, over all lines of the field.
fn all<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &str) -> Result<(Body, bool), Fault> {
        let mut read = format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into_bytes();
        Head::take(&mut read).map(|head| head.expect("whole")).map(|head| (head.body, head.may_follow))
    }

    #[test]
    fn the_end_of_a_body_is_found_as_the_standard_says_or_not_at_all() {
        assert_eq!(head(""), Ok((Body::UntilClose, false)));
        assert_eq!(head("Content-Length: 5\r\n"), Ok((Body::of_length(5), true)));
        assert_eq!(head("content-length: 5, 5\r\ncontent-length: 5\r\n"), Ok((Body::of_length(5), true)));
        assert_eq!(head("transfer-encoding: Chunked\r\n"), Ok((Body::chunked(), true)));
        assert_eq!(head("transfer-encoding: chunked\r\ncontent-length: 5\r\n"), Ok((Body::chunked(), false)));
        assert_eq!(head("content-length: 5\r\nconnection: x, Close\r\n"), Ok((Body::of_length(5), false)));
        for bad in [
            "content-length: 5, 6\r\n",
            "content-length: +5\r\n",
            "content-length: \r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: chunked, chunked\r\n",
            "transfer-encoding: identity\r\n",
            "transfer-encoding:\r\n",
        ] {
            assert_eq!(head(bad), Err(Fault::Broken), "{bad}");
        }
    }

    #[test]
    fn a_head_is_taken_when_it_is_whole_and_what_follows_stays() {
        let whole = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\na: b\r\n\r\nrest";
        let (mut read, mut taken) = (Vec::new(), 0);
        for byte in whole {
            read.push(*byte);
            if taken == 0 {
                taken += usize::from(Head::take(&mut read).expect("good").is_some());
            }
        }
        assert_eq!((taken, read.as_slice()), (1, &b"rest"[..]));
        let mut endless = [&b"HTTP/1.1 200 OK\r\na: "[..], &vec![b'x'; LARGEST]].concat();
        assert_eq!(Head::take(&mut endless).err(), Some(Fault::Broken));
    }

    #[test]
    fn a_request_is_one_text() {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("accept"), HeaderValue::from_static("*/*"))]);
        let request = |host, headers| Request::new("POST", host, "/v1", headers);
        let text = "POST /v1 HTTP/1.1\r\nhost: [::1]\r\naccept: */*\r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!(request(("[::1]", 80), &headers).bytes(b"hi"), text);
        assert_eq!(request(("[::1]", 80), &headers).origin.host(), "::1");
        let other = request(("[::1]", 8000), &headers);
        assert!(other.bytes(b"hi").starts_with(b"POST /v1 HTTP/1.1\r\nhost: [::1]:8000\r\n"));
        let own = [(HOST, "a"), (CONTENT_LENGTH, "7"), (TRANSFER_ENCODING, "chunked"), (CONNECTION, "close")];
        let headers = own.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect();
        let own = request(("[::1]", 80), &headers);
        assert_eq!(own.bytes(b"hi"), "POST /v1 HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
        let get = Request::new("GET", ("a", 80), "/", &HeaderMap::new());
        assert_eq!(get.bytes(b""), "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    }
}
