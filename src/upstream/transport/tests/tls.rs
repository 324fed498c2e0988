use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

/// A TLS server and a transport that trusts its issuer.
pub struct TlsServer {
    pub listener: TcpListener,
    acceptor: TlsAcceptor,
    pub transport: Transport,
    pub request: UpstreamRequest,
}

impl TlsServer {
    pub async fn start(alpn: &[&str]) -> Self {
        Self::with(alpn, "127.0.0.1", |_| {}).await
    }

    /// Starts a server with a certificate for this name, modified by `change`.
    async fn with(alpn: &[&str], name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_certificate = ca.self_signed(&ca_key).unwrap().der().clone();
        let mut leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut leaf);
        let key = KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        server.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let request = request(&format!("https://{}/v1", listener.local_addr().unwrap()));
        let transport = trusting(&request, ca_certificate);
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(server)), transport, request }
    }

    pub async fn send(&self) -> Result<Response, TransportError> {
        soon(self.transport.send(&self.request, Bytes::new(), &SentMark::default())).await
    }

    pub async fn accept(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        soon(self.acceptor.accept(stream)).await
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn trusting(request: &UpstreamRequest, issuer: CertificateDer<'static>) -> Transport {
    let mut roots = RootCertStore::empty();
    roots.add(issuer).unwrap();
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = connect::tls_config().unwrap().alpn_protocols;
    builder().build_with(request.url(), TERMS, Some(Arc::new(client))).unwrap()
}

async fn cause(transport: &Transport, request: &UpstreamRequest) -> String {
    let mark = SentMark::default();
    let error = soon(transport.send(request, Bytes::new(), &mark)).await.err().unwrap();
    assert_eq!((error.kind, error.sent, mark.get()), (TransportErrorKind::Unreachable, Sent::No, Sent::No), "{error}");
    error.cause.into_owned()
}

#[tokio::test]
async fn each_tls_failure_has_its_own_cause() {
    let expired = |leaf: &mut CertificateParams| leaf.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let not_yet_valid = |leaf: &mut CertificateParams| leaf.not_before = rcgen::date_time_ymd(4000, 1, 1);
    for (server, expected) in [
        (TlsServer::with(&[], "127.0.0.1", expired).await, "certificate expired"),
        (TlsServer::with(&[], "127.0.0.1", not_yet_valid).await, "certificate not valid yet"),
        (TlsServer::with(&[], "other.example", |_| {}).await, "certificate not valid for this name"),
        (TlsServer::with(&["other"], "127.0.0.1", |_| {}).await, "TLS refused by the server: NoApplicationProtocol"),
    ] {
        let (cause, _) = tokio::join!(cause(&server.transport, &server.request), server.accept());
        assert_eq!(cause, expected);
    }

    let server = TlsServer::start(&[]).await;
    let mut stranger = CertificateParams::new(Vec::new()).unwrap();
    for (name, expected) in [
        // The trusted certificate has the issuer's name but another key.
        (None, "certificate signature not valid"),
        (Some("stranger"), "certificate from an unknown issuer"),
    ] {
        if let Some(name) = name {
            stranger.distinguished_name.push(rcgen::DnType::CommonName, name);
        }
        let trusted = stranger.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
        let distrusting = trusting(&server.request, trusted);
        let (cause, _) = tokio::join!(cause(&distrusting, &server.request), server.accept());
        assert_eq!(cause, expected);
    }

    let plain = async {
        let mut stream = server.listener.accept().await.unwrap().0;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        closed(&mut stream).await;
    };
    let (plain, ()) = tokio::join!(cause(&server.transport, &server.request), plain);
    assert_eq!(plain, "TLS to a server that speaks plain HTTP");

    let (closed, ()) = tokio::join!(cause(&server.transport, &server.request), async {
        let mut stream = server.listener.accept().await.unwrap().0;
        // Read the whole ClientHello: closing with unread bytes would reset the connection.
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    });
    assert!(closed.starts_with("closed during the TLS handshake"), "{closed}");
}

#[tokio::test]
async fn stalled_tls_handshake_is_a_connect_timeout() {
    let server = TlsServer::start(&[]).await;
    let terms = ConnectionTerms { connect_timeout: Duration::from_millis(50), ..TERMS };
    let transport = builder().build(server.request.url(), terms).unwrap();
    let error = transport.send(&server.request, Bytes::new(), &SentMark::default()).await.err().unwrap();
    let expected = (TransportErrorKind::ConnectTimeout, "no connection within 50ms", Sent::No);
    assert_eq!((error.kind, &*error.cause, error.sent), expected);
}

#[tokio::test]
async fn http1_over_tls_is_reused_and_closed_when_its_response_is_dropped() {
    let server = TlsServer::start(&["http/1.1"]).await;
    let serving = async {
        let mut stream = server.accept().await.unwrap();
        for _ in 0..2 {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        }
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n").await.unwrap();
        stream
    };
    let asking = async {
        for _ in 0..2 {
            assert_eq!(accepted(server.send().await.unwrap()).await, b"hi");
            assert_eq!(server.transport.connections(), 1);
        }
        let mut response = server.send().await.unwrap();
        let mut bytes = Vec::new();
        read_some(&mut response, &mut bytes).await.unwrap();
        assert_eq!(bytes, b"hi");
        drop(response);
    };
    let (mut stream, ()) = tokio::join!(serving, asking);
    closed(&mut stream).await;
}
