//! Tunnels through an HTTP proxy (`CONNECT`, RFC 9110, section 9.3.6).
//!
//! A tunnel carries requests at `http://` too, so that no proxy buffers, rewrites or retries them. hyper-util's `Tunnel`
//! is not used: its errors lack the status with which a proxy refuses.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use hyper::header::HeaderValue;
use hyper::{StatusCode, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::{poll_read_buf, poll_write_buf};
use url::Url;

use super::error::TransportError;
use super::response_head::ResponseHead;

/// The proxy of an upstream's connections.
#[derive(Clone)]
pub struct Proxy {
    url: Url,
    /// The value of `Proxy-Authorization`.
    authorization: Option<HeaderValue>,
}

/// The text is not the URL of an HTTP proxy. It is not quoted, because it may contain a password.
#[derive(Debug, thiserror::Error)]
#[error("the proxy has no http or https URL with a host")]
pub struct InvalidProxyError;

/// Prints no credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Proxy").field(&self.to_string()).finish()
    }
}

/// Prints scheme, host and port.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

impl Proxy {
    /// Returns the proxy at the URL `proxy`, which may contain a user and a password, for connections to the server of the
    /// URL `server`. `None` if `no_proxy`, in the form of the variable `NO_PROXY`, exempts that server.
    pub fn between(proxy: &str, no_proxy: &str, server: &str) -> Result<Option<Self>, InvalidProxyError> {
        let server: Uri = server.parse().map_err(|_| InvalidProxyError)?;
        let of = |no_proxy: &str| Matcher::builder().all(proxy.to_owned()).no(no_proxy.to_owned()).build();
        let matched = of("").intercept(&server).ok_or(InvalidProxyError)?;
        let url = Url::parse(&matched.uri().to_string()).map_err(|_| InvalidProxyError)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidProxyError);
        }
        let authorization = matched.basic_auth().cloned();
        Ok(of(no_proxy).intercept(&server).map(|_| Self { url, authorization }))
    }

    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Opens a tunnel to a server over a connection to this proxy. Cancel safe: dropping the future closes the connection.
    pub async fn open_tunnel<S>(&self, stream: &mut S, host: &str, port: u16) -> Result<(), TransportError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        write_all(stream, self.connect_request(host, port)).await.map_err(|error| lost(&error))?;
        let mut read = BytesMut::new();
        loop {
            let count = poll_fn(|cx| poll_read_buf(Pin::new(&mut *stream), cx, &mut read)).await;
            if count.map_err(|error| lost(&error))? == 0 {
                return Err(TransportError::unreachable("the proxy closed the connection before a tunnel was open"));
            }
            let mut head = read.to_vec();
            let taken = ResponseHead::take(&mut head)
                .map_err(|_| TransportError::unreachable("the proxy's response is not HTTP"))?;
            match taken.map(|head| head.parts.status) {
                None => {}
                // The server behind the tunnel waits for the client, so these bytes cannot be its own.
                Some(status) if status.is_success() && !head.is_empty() => {
                    return Err(TransportError::unreachable("the proxy sent bytes before the tunnel was used"));
                }
                Some(status) if status.is_success() => return Ok(()),
                Some(status) => return Err(TransportError::unreachable(refusal(status))),
            }
        }
    }

    fn connect_request(&self, host: &str, port: u16) -> Bytes {
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            for part in [b"proxy-authorization: ", authorization.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        head.into()
    }
}

async fn write_all(stream: &mut (impl AsyncWrite + Unpin), mut bytes: Bytes) -> io::Result<()> {
    while !bytes.is_empty() {
        if poll_fn(|cx| poll_write_buf(Pin::new(&mut *stream), cx, &mut bytes)).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await
}

fn lost(error: &io::Error) -> TransportError {
    let cause = match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "the proxy reset the connection",
        _ => "the connection to the proxy was lost",
    };
    TransportError::unreachable(cause)
}

fn refusal(status: StatusCode) -> Cow<'static, str> {
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            "the proxy does not accept the credentials in its URL (407)".into()
        }
        status => format!("the proxy refused a tunnel with status {}", status.as_u16()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(proxy: &str, no_proxy: &str, server: &str) -> Option<Proxy> {
        Proxy::between(proxy, no_proxy, server).unwrap()
    }

    #[test]
    fn credentials_are_decoded_for_the_header_and_never_printed() {
        let proxy = between("http://us%40er:p%3Ass@proxy:3128/", "", "https://a/v1").expect("a proxy");
        let head = proxy.connect_request("a", 443);
        let expected = "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\nproxy-authorization: Basic dXNAZXI6cDpzcw==\r\n\r\n";
        assert_eq!(head, expected);
        assert_eq!(format!("{proxy} {proxy:?}"), "http://proxy:3128 Proxy(\"http://proxy:3128\")");
        assert!(format!("{:?}", proxy.authorization).contains("Sensitive"));
        let open = between("http://proxy", "", "https://a/v1").expect("a proxy");
        assert_eq!(open.connect_request("::1", 80), "CONNECT [::1]:80 HTTP/1.1\r\nhost: [::1]:80\r\n\r\n");
    }

    #[test]
    fn no_proxy_exempts_hosts_domains_and_networks() {
        let exempt = "internal.example, 10.0.0.0/8,::1";
        for (server, is_exempt) in [
            ("https://internal.example/v1", true),
            ("https://a.internal.example/v1", true),
            ("https://notinternal.example/v1", false),
            ("http://10.1.2.3:8000/v1", true),
            ("http://11.1.2.3:8000/v1", false),
            ("http://[::1]:8000/v1", true),
        ] {
            assert_eq!(between("http://proxy", exempt, server).is_none(), is_exempt, "{server}");
        }
        assert!(between("http://proxy", "*", "https://a/v1").is_none());
    }

    #[test]
    fn url_of_another_kind_of_proxy_is_invalid() {
        for proxy in ["", "socks5://proxy:1", "http://"] {
            assert!(Proxy::between(proxy, "", "https://a/v1").is_err(), "{proxy}");
        }
    }
}
