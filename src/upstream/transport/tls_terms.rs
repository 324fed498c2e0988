//! The certificates that an upstream trusts and presents.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, Error as TlsError, RootCertStore};
use rustls_platform_verifier::Verifier;

/// The trusted issuers of an upstream, and the client certificate for it. By default the system's issuers are trusted and
/// no certificate is presented.
#[derive(Clone, Default)]
pub struct TlsTerms {
    issuers: Option<Arc<RootCertStore>>,
    identity: Option<Arc<CertifiedKey>>,
}

/// A text in PEM cannot be used. Contains nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPemError {
    #[error("it is not PEM")]
    Syntax,
    #[error("it contains no certificate (BEGIN CERTIFICATE)")]
    NoCertificate,
    #[error("a certificate in it is not valid")]
    Certificate,
    #[error("it contains no private key without a passphrase (BEGIN PRIVATE KEY)")]
    NoKey,
    #[error("its private key is of an unknown kind")]
    Key,
    #[error("the private key is not that of the first certificate")]
    OtherKey,
}

/// What a TLS connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPurpose {
    /// To an upstream: HTTP/2 or HTTP/1.1, with the client certificate.
    Upstream,
    /// To a proxy: HTTP/1.1, without a client certificate.
    Proxy,
}

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Prints no key.
impl fmt::Debug for TlsTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTerms")
            .field("issuers", &self.issuers.as_ref().map(|issuers| issuers.len()))
            .field("presents_certificate", &self.identity.is_some())
            .finish()
    }
}

impl TlsTerms {
    /// The system's issuers, and no client certificate.
    pub const SYSTEM: Self = Self { issuers: None, identity: None };

    /// Trusts only what these certificates have issued. Errors: not PEM, no certificate, or an invalid one.
    pub fn trusting(self, issuers: &str) -> Result<Self, InvalidPemError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(issuers)? {
            roots.add(certificate).map_err(|_| InvalidPemError::Certificate)?;
        }
        Ok(Self { issuers: Some(Arc::new(roots)), ..self })
    }

    /// Presents this certificate, which its issuers may follow. Errors: not PEM, no certificate, no key without a
    /// passphrase, or a key that is not that of the first certificate.
    pub fn presenting(self, chain: &str, private_key: &str) -> Result<Self, InvalidPemError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(private_key.as_bytes()).map_err(|_| InvalidPemError::NoKey)?;
        let identity = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        let identity = identity.map_err(|error| match error {
            TlsError::InconsistentKeys(_) => InvalidPemError::OtherKey,
            TlsError::InvalidCertificate(_) => InvalidPemError::Certificate,
            _ => InvalidPemError::Key,
        })?;
        Ok(Self { identity: Some(Arc::new(identity)), ..self })
    }

    /// Returns whether these are the terms of an upstream without settings for TLS.
    pub const fn is_default(&self) -> bool {
        self.issuers.is_none() && self.identity.is_none()
    }

    /// Returns the TLS configuration of a client. Without issuers of its own it trusts the system's certificates, or those
    /// that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    pub fn client_config(&self, purpose: TlsPurpose) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = self.verifier(&provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let identity = self.identity.as_ref().filter(|_| purpose == TlsPurpose::Upstream);
        let mut config = match identity {
            Some(identity) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity)))),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = match purpose {
            TlsPurpose::Upstream => vec![HTTP2.into(), HTTP1.into()],
            TlsPurpose::Proxy => vec![HTTP1.into()],
        };
        Ok(config)
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let Some(issuers) = &self.issuers else { return Ok(Arc::new(Verifier::new(Arc::clone(provider))?)) };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::clone(issuers), Arc::clone(provider)).build();
        Ok(verifier.map_err(|error| TlsError::General(error.to_string()))?)
    }
}

/// Returns whether ALPN negotiated HTTP/2.
pub fn is_http2(protocol: Option<&[u8]>) -> bool {
    protocol == Some(HTTP2)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, InvalidPemError> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|_| InvalidPemError::Syntax)?;
    if certificates.is_empty() { Err(InvalidPemError::NoCertificate) } else { Ok(certificates) }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["client".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn unusable_pem_is_refused_with_its_own_reason() {
        let (certificate, key) = made();
        let (_, other) = made();
        let trusted = |pem: &str| TlsTerms::default().trusting(pem).err();
        let presented = |pem: &str, key: &str| TlsTerms::default().presenting(pem, key).err();
        assert_eq!(trusted(&format!("{certificate}{certificate}")), None);
        assert_eq!(trusted(""), Some(InvalidPemError::NoCertificate));
        assert_eq!(trusted(&key), Some(InvalidPemError::NoCertificate));
        assert_eq!(trusted("-----BEGIN CERTIFICATE-----\nAAAA"), Some(InvalidPemError::Syntax));
        assert_eq!(
            trusted("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            Some(InvalidPemError::Certificate)
        );
        assert_eq!(presented(&certificate, &key), None);
        let both = format!("{key}{certificate}");
        assert_eq!(presented(&both, &both), None, "one file with both");
        assert_eq!(presented(&certificate, &certificate), Some(InvalidPemError::NoKey));
        assert_eq!(presented(&certificate, &key.replace("PRIVATE", "ENCRYPTED PRIVATE")), Some(InvalidPemError::NoKey));
        assert_eq!(presented(&certificate, &other), Some(InvalidPemError::OtherKey));
        let unknown = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert_eq!(presented(&certificate, unknown), Some(InvalidPemError::Key));
    }

    #[test]
    fn debug_prints_no_key() {
        let (certificate, key) = made();
        let terms = TlsTerms::default().trusting(&certificate).unwrap().presenting(&certificate, &key).unwrap();
        assert_eq!(format!("{terms:?}"), "TlsTerms { issuers: Some(1), presents_certificate: true }");
    }
}
