//! A TLS proxy in front of an upstream, with a new self-signed certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// Terminates TLS on its own port and forwards the bytes in plain TCP, including closes. It ends with the test.
pub struct Tls {
    pub address: SocketAddr,
    /// The certificate in PEM, for clients that are to trust it.
    pub certificate: String,
}

impl Tls {
    pub async fn before(upstream: SocketAddr) -> Self {
        Self::with(upstream, WebPkiClientVerifier::no_client_auth()).await
    }

    /// Requires a certificate that this issuer, in PEM, has issued, or that is this one itself.
    pub async fn requiring(upstream: SocketAddr, issuer: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let issuer = CertificateDer::from_pem_slice(issuer.as_bytes()).expect("a certificate");
        roots.add(issuer).expect("a valid one");
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().expect("an issuer");
        Self::with(upstream, verifier).await
    }

    #[expect(clippy::disallowed_methods, reason = "it ends with the test's runtime")]
    async fn with(upstream: SocketAddr, clients: Arc<dyn ClientCertVerifier>) -> Self {
        let made = rcgen::generate_simple_self_signed([upstream.ip().to_string()]).expect("a certificate");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_der());
        let key = PrivateKeyDer::try_from(key).expect("a key");
        let config = ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![made.cert.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("a certificate and its key")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate sends an alert and closes.
                    let Ok(mut outside) = acceptor.accept(socket).await else { return };
                    let mut inside = TcpStream::connect(upstream).await.expect("the model listens");
                    inside.set_nodelay(true).expect("no delay");
                    _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        Self { address, certificate }
    }

    pub fn base_url(&self) -> String {
        format!("https://{}/v1", self.address)
    }
}
