use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

/// An issuer of certificates.
pub struct TestIssuer {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A TLS server and a transport that trusts its issuer.
pub struct TlsServer {
    pub listener: TcpListener,
    acceptor: TlsAcceptor,
    pub issuer: TestIssuer,
    pub transport: Transport,
    pub request: UpstreamRequest,
}

impl TestIssuer {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut certificate = CertificateParams::new(Vec::new()).unwrap();
        certificate.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = certificate.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(certificate, key), pem }
    }

    /// Issues a certificate for this name, modified by `change`. Returns it and its key in PEM.
    pub fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let (mut certificate, key) =
            (CertificateParams::new(vec![name.to_owned()]).unwrap(), KeyPair::generate().unwrap());
        change(&mut certificate);
        (certificate.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// Returns a server with this certificate and key. `clients` is the issuer of the certificates that it requires of its
/// clients.
pub fn acceptor((certificate, key): (String, String), alpn: &[&str], clients: Option<&TestIssuer>) -> TlsAcceptor {
    let server = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let server = match clients {
        None => server.with_no_client_auth(),
        Some(issuer) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(issuer.pem.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            server.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut server = server.with_single_cert(vec![certificate], key).unwrap();
    server.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(server))
}

impl TlsServer {
    pub async fn start(alpn: &[&str]) -> Self {
        Self::with(alpn, "127.0.0.1", |_| {}).await
    }

    /// Starts a server with a certificate for this name, modified by `change`.
    async fn with(alpn: &[&str], name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let issuer = TestIssuer::new();
        let acceptor = acceptor(issuer.issue(name, change), alpn, None);
        Self::serving(issuer, acceptor).await
    }

    /// Starts a server that requires certificates of its own issuer.
    async fn requiring_certificates() -> Self {
        let issuer = TestIssuer::new();
        let acceptor = acceptor(issuer.issue("127.0.0.1", |_| {}), &["http/1.1"], Some(&issuer));
        Self::serving(issuer, acceptor).await
    }

    async fn serving(issuer: TestIssuer, acceptor: TlsAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let request = request(&format!("https://{}/v1", listener.local_addr().unwrap()));
        let transport = with_tls(&request, trusting(&issuer.pem));
        Self { listener, acceptor, issuer, transport, request }
    }

    pub async fn send(&self) -> Result<Response, TransportError> {
        self.send_over(&self.transport).await
    }

    async fn send_over(&self, transport: &Transport) -> Result<Response, TransportError> {
        soon(transport.send(&self.request, Bytes::new(), &SentMark::default())).await
    }

    pub async fn accept(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        self.accept_over(stream).await
    }

    /// Accepts TLS on a connection that reached the server another way.
    pub async fn accept_over<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> std::io::Result<TlsStream<S>> {
        soon(self.acceptor.accept(stream)).await
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

pub fn trusting(issuer: &str) -> TlsTerms {
    TlsTerms::SYSTEM.trusting(issuer).unwrap()
}

fn with_tls(request: &UpstreamRequest, tls: TlsTerms) -> Transport {
    builder().build(request.url(), ConnectionTerms { tls, ..TERMS }).unwrap()
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
        let trusted = stranger.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        let distrusting = with_tls(&server.request, trusting(&trusted));
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

#[tokio::test]
async fn client_certificate_is_presented_to_a_server_that_requires_one() {
    let server = TlsServer::requiring_certificates().await;
    let (certificate, key) = server.issuer.issue("client", |_| {});
    let tls = trusting(&server.issuer.pem).presenting(&certificate, &key).unwrap();
    let transport = with_tls(&server.request, tls);
    let serving = async {
        let mut stream = server.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        stream.get_ref().1.peer_certificates().map(|chain| chain[0].clone().into_owned())
    };
    let (presented, response) = tokio::join!(serving, server.send_over(&transport));
    assert_eq!(presented, Some(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()));
    assert_eq!(accepted(response.unwrap()).await, b"hi");
}

#[tokio::test]
async fn refused_client_certificate_is_a_connection_fault_with_the_alert_as_its_cause() {
    let server = TlsServer::requiring_certificates().await;
    let mut other = CertificateParams::new(vec!["client".to_owned()]).unwrap();
    other.distinguished_name.push(rcgen::DnType::CommonName, "stranger");
    let key = KeyPair::generate().unwrap();
    let other = other.self_signed(&key).unwrap().pem();
    for (tls, expected) in [
        (trusting(&server.issuer.pem), "CertificateRequired"),
        (trusting(&server.issuer.pem).presenting(&other, &key.serialize_pem()).unwrap(), "UnknownCA"),
    ] {
        let transport = with_tls(&server.request, tls);
        let refusing = async {
            let (stream, _) = soon(server.listener.accept()).await.unwrap();
            let refused = server.acceptor.accept(stream).into_fallible();
            let Err((_, mut stream)) = soon(refused).await else { panic!("accepted") };
            // Closing with unread bytes would reset the connection and lose the alert.
            stream.shutdown().await.unwrap();
            closed(&mut stream).await;
        };
        let (failed, ()) = tokio::join!(server.send_over(&transport), refusing);
        let error = failed.err().expect("refused");
        let expected = format!("the server refused the client certificate: {expected}");
        assert_eq!((error.kind, error.sent, &*error.cause), (TransportErrorKind::Unreachable, Sent::No, &*expected));
    }
}
