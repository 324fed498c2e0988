use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::tls::{TestIssuer, TlsServer, acceptor, trusting};
use super::*;

const OPEN: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
const HI: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

/// A proxy of the tests. What it accepts is a tunnel, whose other end the test plays too.
struct ScriptedConnectProxy {
    listener: TcpListener,
}

impl ScriptedConnectProxy {
    async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// Returns a transport to this URL through the proxy.
    fn transport(&self, scheme: &str, server: &str, tls: TlsTerms) -> Transport {
        let proxy = format!("{scheme}://user:pass@{}", self.listener.local_addr().unwrap());
        let proxy = Proxy::between(&proxy, "", server).unwrap();
        builder().build(&server.parse().unwrap(), ConnectionTerms { proxy, tls, ..TERMS }).unwrap()
    }

    async fn accept(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    /// Accepts a connection and opens its tunnel. Returns the head of the request for it.
    async fn accept_tunnel(&self) -> (String, TcpStream) {
        let mut stream = self.accept().await;
        (open_tunnel(&mut stream).await, stream)
    }
}

async fn open_tunnel(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    let head = read_head(stream).await;
    stream.write_all(OPEN).await.unwrap();
    head
}

async fn send(transport: &Transport, request: &UpstreamRequest) -> Result<Response, TransportError> {
    soon(transport.send(request, Bytes::from_static(b"{}"), &SentMark::default())).await
}

#[tokio::test]
async fn http_requests_go_through_a_reused_tunnel_that_cancelling_closes() {
    let (proxy, request) = (ScriptedConnectProxy::start().await, request("http://upstream.invalid/v1"));
    let transport = proxy.transport("http", request.url().as_str(), TlsTerms::SYSTEM);
    let serving = async {
        let (connect, mut stream) = proxy.accept_tunnel().await;
        assert_eq!(
            connect,
            "CONNECT upstream.invalid:80 HTTP/1.1\r\nhost: upstream.invalid:80\r\n\
             proxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n"
        );
        for _ in 0..2 {
            let head = read_head(&mut stream).await;
            assert!(head.starts_with("POST /v1 HTTP/1.1\r\nhost: upstream.invalid\r\n"), "{head}");
            assert!(!head.contains("proxy-authorization"), "{head}");
            assert_eq!(soon(stream.read_u16()).await.unwrap(), u16::from_be_bytes(*b"{}"));
            stream.write_all(HI).await.unwrap();
        }
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi").await.unwrap();
        stream
    };
    let asking = async {
        for _ in 0..2 {
            assert_eq!(accepted(send(&transport, &request).await.unwrap()).await, b"hi");
        }
        let mut response = send(&transport, &request).await.unwrap();
        read_some(&mut response, &mut Vec::new()).await.unwrap();
    };
    let (mut stream, ()) = tokio::join!(serving, asking);
    closed(&mut stream).await;
}

#[tokio::test]
async fn tls_with_the_upstream_is_inside_the_tunnel_and_cancelling_closes_it() {
    let (proxy, server) = (ScriptedConnectProxy::start().await, TlsServer::start(&["http/1.1"]).await);
    let transport = proxy.transport("http", server.request.url().as_str(), trusting(&server.issuer.pem));
    let serving = async {
        let (connect, stream) = proxy.accept_tunnel().await;
        let expected = format!("CONNECT {} HTTP/1.1\r\n", server.listener.local_addr().unwrap());
        assert!(connect.starts_with(&expected), "{connect}");
        let mut stream = server.accept_over(stream).await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(HI).await.unwrap();
        read_head(&mut stream).await;
        stream
    };
    let asking = async {
        assert_eq!(accepted(send(&transport, &server.request).await.unwrap()).await, b"hi");
        // No head arrives: dropping the request cancels it.
        let mut sending = std::pin::pin!(send(&transport, &server.request));
        poll_fn(|cx| {
            assert!(sending.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    };
    let (mut stream, ()) = tokio::join!(serving, asking);
    closed(&mut stream).await;
}

#[tokio::test]
async fn http2_is_negotiated_through_a_tunnel() {
    let (proxy, server) = (ScriptedConnectProxy::start().await, TlsServer::start(&["h2"]).await);
    let transport = proxy.transport("http", server.request.url().as_str(), trusting(&server.issuer.pem));
    let serving = async {
        let stream = server.accept_over(proxy.accept_tunnel().await.1).await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = soon(connection.accept()).await.unwrap().unwrap();
        respond.send_response(hyper::Response::new(()), true).unwrap();
        let ended = timeout(STEP_TIMEOUT, connection.accept());
        (request.uri().path().to_owned(), ended.await.expect("in time").is_none())
    };
    let asking = async {
        let response = send(&transport, &server.request).await.unwrap();
        assert_eq!((response.status, transport.connections()), (StatusCode::OK, 1));
        drop(response);
        drop(transport);
    };
    let ((path, _), ()) = tokio::join!(serving, asking);
    assert_eq!(path, "/v1");
}

#[tokio::test]
async fn proxy_with_tls_has_the_trusted_issuers_and_sees_no_client_certificate() {
    let (proxy, server) = (ScriptedConnectProxy::start().await, TlsServer::start(&["http/1.1"]).await);
    let of_proxy = TestIssuer::new();
    let proxy_acceptor: TlsAcceptor = acceptor(of_proxy.issue("127.0.0.1", |_| {}), &["http/1.1"], None);
    let (certificate, key) = server.issuer.issue("client", |_| {});
    let issuers = format!("{}{}", of_proxy.pem, server.issuer.pem);
    let tls = trusting(&issuers).presenting(&certificate, &key).unwrap();
    let tunnelled = proxy.transport("https", server.request.url().as_str(), tls.clone());
    let serving = async {
        let mut outside = soon(proxy_acceptor.accept(proxy.accept().await)).await.unwrap();
        assert!(open_tunnel(&mut outside).await.starts_with("CONNECT "));
        let mut inside = server.accept_over(outside).await.unwrap();
        read_head(&mut inside).await;
        inside.write_all(HI).await.unwrap();
        assert!(inside.get_ref().0.get_ref().1.peer_certificates().is_none());
        inside
    };
    let asking = async {
        let response = accepted(send(&tunnelled, &server.request).await.unwrap()).await;
        assert_eq!(response, b"hi");
        assert_eq!(tunnelled.connections(), 1);
        drop(tunnelled);
    };
    let (mut inside, ()) = tokio::join!(serving, asking);
    closed(&mut inside).await;

    // Without TLS inside.
    let clear = request("http://upstream.invalid:8000/v1");
    let transport = proxy.transport("https", clear.url().as_str(), tls);
    let serving = async {
        let mut stream = soon(proxy_acceptor.accept(proxy.accept().await)).await.unwrap();
        assert!(open_tunnel(&mut stream).await.starts_with("CONNECT upstream.invalid:8000 "));
        read_head(&mut stream).await;
        stream.write_all(HI).await.unwrap();
        stream
    };
    let (_stream, response) = tokio::join!(serving, send(&transport, &clear));
    assert_eq!(accepted(response.unwrap()).await, b"hi");
}

#[tokio::test]
async fn fault_of_a_proxy_is_a_connection_fault_with_its_own_cause() {
    let (proxy, request) = (ScriptedConnectProxy::start().await, request("http://upstream.invalid/v1"));
    let transport = proxy.transport("http", request.url().as_str(), TlsTerms::SYSTEM);
    let authentication: &[u8] = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 6\r\n\r\nsecret";
    for (reply, expected) in [
        (authentication, "the proxy does not accept the credentials in its URL (407)"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "the proxy refused a tunnel with status 502"),
        (b"HTTP/1.1 200 OK\r\n\r\nmore", "the proxy sent bytes before the tunnel was used"),
        (b"SSH-2.0-x\r\n", "the proxy's response is not HTTP"),
        (b"HTTP/1.1 2", "the proxy closed the connection before a tunnel was open"),
        (b"", "the proxy closed the connection before a tunnel was open"),
    ] {
        let serving = async {
            let mut stream = proxy.accept().await;
            read_head(&mut stream).await;
            stream.write_all(reply).await.unwrap();
        };
        let (failed, ()) = tokio::join!(send(&transport, &request), serving);
        assert_eq!(fault(failed), expected);
    }
    let secure = proxy.transport("https", request.url().as_str(), TlsTerms::SYSTEM);
    let (failed, ()) = tokio::join!(send(&secure, &request), async {
        let mut stream = proxy.accept().await;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        closed(&mut stream).await;
    });
    assert_eq!(fault(failed), "the proxy: TLS to a server that speaks plain HTTP");
    drop(proxy);
    assert_eq!(fault(send(&transport, &request).await), "the proxy: connection refused");
}

fn fault(failed: Result<Response, TransportError>) -> String {
    let error = failed.err().expect("a fault");
    assert_eq!((error.kind, error.sent), (TransportErrorKind::Unreachable, Sent::No), "{error}");
    error.cause.into_owned()
}

#[tokio::test]
async fn silent_proxy_is_a_connect_timeout_and_its_connection_is_closed() {
    let (proxy, request) = (ScriptedConnectProxy::start().await, request("http://upstream.invalid/v1"));
    let url = format!("http://{}", proxy.listener.local_addr().unwrap());
    let through = Proxy::between(&url, "", request.url().as_str()).unwrap();
    let terms = ConnectionTerms { connect_timeout: Duration::from_millis(50), proxy: through, ..TERMS };
    let transport = builder().build(request.url(), terms).unwrap();
    let error = send(&transport, &request).await.err().expect("a fault");
    assert_eq!((error.kind, error.sent), (TransportErrorKind::ConnectTimeout, Sent::No));
    closed(&mut proxy.accept().await).await;
}
