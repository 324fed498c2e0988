//! A request without its body.

use std::fmt;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Uri};
use url::Url;

use super::decoder;

/// A request that can be sent any number of times.
#[derive(Clone)]
pub struct UpstreamRequest {
    method: Method,
    url: Url,
    target: PathAndQuery,
    /// A configured `Host`, otherwise the URL's host and port.
    authority: Authority,
    headers: HeaderMap,
}

/// A URL whose host cannot be connected to, or whose path cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("the URL has no host that can be connected to")]
pub struct InvalidUrlError;

/// Prints no header and no query: either may contain an API key.
impl fmt::Debug for UpstreamRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

/// Headers that only the transport sets: body length and connection persistence.
const FRAMING: [HeaderName; 3] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

impl UpstreamRequest {
    /// Adds `Host` and `Accept-Encoding` if they are absent.
    pub fn new(method: Method, url: Url, headers: HeaderMap) -> Result<Self, InvalidUrlError> {
        Self::with_headers(method, url, headers).ok_or(InvalidUrlError)
    }

    fn with_headers(method: Method, url: Url, mut headers: HeaderMap) -> Option<Self> {
        for name in FRAMING {
            headers.remove(name);
        }
        // `host_str` has brackets around an IPv6 address. The scheme's default port is omitted (RFC 9110, section
        // 4.2.3): some servers do not recognize their host name with a port.
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str()?),
            None => url.host_str()?.to_owned(),
        };
        headers.entry(HOST).or_insert(HeaderValue::from_str(&host).ok()?);
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static(decoder::ACCEPT_ENCODING));
        let authority = Authority::try_from(headers.get(HOST)?.as_bytes()).ok()?;
        let target = target(&url)?;
        Some(Self { method, url, target, authority, headers })
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the head of the request in HTTP/1.1 (RFC 9112, section 3) for a body of this length.
    pub fn http1_head(&self, body: usize) -> Bytes {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        if body > 0 || self.method != Method::GET {
            head.extend_from_slice(format!("content-length: {body}\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head.into()
    }

    pub fn http2(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut parts = hyper::http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(self.target.clone());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.headers_mut() = self.headers.clone();
        // `:authority` replaces it (RFC 9113, section 8.3.1).
        request.headers_mut().remove(HOST);
        request
    }

    /// Returns the same request to the target of `location`, if it has the same origin.
    pub fn redirected(&self, location: &str) -> Option<Self> {
        let url = self.url.join(location).ok().filter(|url| url.origin() == self.url.origin())?;
        let target = target(&url)?;
        Some(Self { url, target, ..self.clone() })
    }
}

fn target(url: &Url) -> Option<PathAndQuery> {
    let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    PathAndQuery::try_from(target).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str, headers: &[(HeaderName, &'static str)]) -> UpstreamRequest {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        UpstreamRequest::new(Method::POST, url.parse().unwrap(), headers).unwrap()
    }

    #[test]
    fn host_omits_the_default_port_and_framing_headers_are_removed() {
        for (url, host) in [
            ("http://[::1]:80/v1", "[::1]"),
            ("http://[::1]:8000/v1", "[::1]:8000"),
            ("https://a:443/v1", "a"),
            ("http://a:443/v1?q=1", "a:443"),
        ] {
            let head = request(url, &[]).http1_head(0);
            let host = format!("\r\nhost: {host}\r\n");
            assert!(String::from_utf8_lossy(&head).contains(&host), "{url}: {head:?}");
        }
        let own = [(HOST, "b"), (CONTENT_LENGTH, "7"), (TRANSFER_ENCODING, "chunked"), (CONNECTION, "close")];
        let own = request("https://a/v1?q=1", &own);
        let lines = "POST /v1?q=1 HTTP/1.1\r\nhost: b\r\naccept-encoding: gzip, deflate, br, zstd\r\n";
        assert_eq!(own.http1_head(2), format!("{lines}content-length: 2\r\n\r\n"));
        let http2 = own.http2(Bytes::new());
        assert_eq!((http2.uri().to_string().as_str(), http2.headers().get(HOST)), ("https://b/v1?q=1", None));
    }

    #[test]
    fn redirect_to_another_origin_is_not_followed() {
        let request = request("http://a:8000/v1/chat?q=1", &[]);
        for (location, target) in [
            ("/v2/chat", Some("/v2/chat")),
            ("http://a:8000/v1/chat/?q=1", Some("/v1/chat/?q=1")),
            ("other", Some("/v1/other")),
            ("http://a:8001/v1", None),
            ("https://a:8000/v1", None),
            ("//b:8000/v1", None),
            ("http://", None),
        ] {
            let redirected = request.redirected(location).map(|request| request.target.to_string());
            assert_eq!(redirected.as_deref(), target, "{location}");
        }
    }

    #[test]
    fn debug_prints_no_secret() {
        let request = request("http://a/v1?key=hunter2", &[(HeaderName::from_static("x-key"), "hunter2")]);
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
