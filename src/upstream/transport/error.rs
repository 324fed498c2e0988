//! Errors of the transport: a request without a response, or an incomplete response.

use std::borrow::Cow;
use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::super::Sent;

/// A request failed without a response, or a response is incomplete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct TransportError {
    pub kind: TransportErrorKind,
    /// A phrase for operators, such as "connection refused". Holds no header, no body and no path.
    pub cause: Cow<'static, str>,
    /// [`Sent::No`] also if the server reported that it did not process the request.
    pub sent: Sent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportErrorKind {
    /// No connection: name resolution, TCP or TLS failed.
    Unreachable,
    /// No connection within `connect_timeout`.
    ConnectTimeout,
    /// The connection ended before the response did.
    Disconnected,
    /// The server's bytes are not HTTP, or use a feature that this client does not support.
    Protocol,
}

/// The progress of a request when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// Nothing was written.
    Nothing,
    /// Some of the request was written.
    Server,
    /// Some of the response was read.
    Response,
}

impl Reached {
    const fn sent(self) -> Sent {
        match self {
            Self::Nothing => Sent::No,
            Self::Server => Sent::Maybe,
            Self::Response => Sent::Yes,
        }
    }
}

impl TransportError {
    pub fn new(kind: TransportErrorKind, cause: impl Into<Cow<'static, str>>, sent: Sent) -> Self {
        Self { kind, cause: cause.into(), sent }
    }

    pub fn protocol(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(TransportErrorKind::Protocol, cause, Sent::Yes)
    }

    pub fn unreachable(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(TransportErrorKind::Unreachable, cause, Sent::No)
    }

    /// The server closed the connection without an I/O error.
    pub fn closed(reached: Reached) -> Self {
        let cause = match reached {
            Reached::Nothing | Reached::Server => "closed before a response",
            Reached::Response => "closed before the end of the response",
        };
        Self::new(TransportErrorKind::Disconnected, cause, reached.sent())
    }

    pub fn of_io(error: &io::Error, reached: Reached) -> Self {
        // TLS 1.3: the client has finished the handshake and sent the request before the server checks its certificate.
        // A server that sends this alert has read no request.
        if let Some(alert) = refused_certificate(error).filter(|_| reached < Reached::Response) {
            return Self::unreachable(format!("the server refused the client certificate: {alert:?}"));
        }
        let cause = match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset",
            io::ErrorKind::TimedOut => "connection timed out",
            _ => return Self::closed(reached),
        };
        Self::new(TransportErrorKind::Disconnected, cause, reached.sent())
    }

    pub fn of_http2(error: &hyper::Error, reached: Reached) -> Self {
        if let Some(reason) = source::<h2::Error>(error).and_then(h2::Error::reason) {
            let cause = format!("HTTP/2 stream ended: {}", reason.description());
            return Self::new(TransportErrorKind::Disconnected, cause, reached.sent());
        }
        source::<io::Error>(error).map_or_else(|| Self::closed(reached), |error| Self::of_io(error, reached))
    }
}

/// Returns whether the server reported that it did not process the request: `REFUSED_STREAM`, or a GOAWAY whose last
/// stream is lower (RFC 9113, sections 6.8 and 8.7). h2 reports a remote GOAWAY only to streams above its last stream.
pub fn is_not_processed(error: &hyper::Error) -> bool {
    source::<h2::Error>(error).is_some_and(|error| {
        let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (is_refused || error.is_go_away())
    })
}

/// Returns whether an HTTP/2 request failed because its connection failed, not only its stream.
pub fn is_connection_lost(error: &hyper::Error) -> bool {
    source::<h2::Error>(error).is_none_or(h2::Error::is_io)
}

/// Returns the first error of type `E` in the chain of sources.
fn source<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// Describes why a TCP connection failed.
pub fn connect_cause(error: &io::Error) -> Cow<'static, str> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "connection reset".into(),
        io::ErrorKind::HostUnreachable => "no route to host".into(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".into(),
        io::ErrorKind::TimedOut => "connection timed out".into(),
        kind => kind.to_string().into(),
    }
}

/// Describes why a host name was not resolved.
pub fn resolve_cause(error: &io::Error) -> Cow<'static, str> {
    // std exposes the resolver's code (EAI_AGAIN) only in the error's text.
    match error.to_string().contains("Temporary failure") {
        true => "no such host: temporary failure in name resolution".into(),
        false => "no such host".into(),
    }
}

/// Describes why a TLS handshake failed.
pub fn tls_cause(error: &io::Error) -> Cow<'static, str> {
    let Some(tls) = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "closed during the TLS handshake".into(),
            io::ErrorKind::ConnectionReset => "connection reset during the TLS handshake".into(),
            kind => format!("TLS handshake failed: {kind}").into(),
        };
    };
    match tls {
        TlsError::InvalidCertificate(certificate) => certificate_cause(certificate).into(),
        TlsError::InvalidMessage(_) => "TLS to a server that speaks plain HTTP".into(),
        TlsError::AlertReceived(alert) => format!("TLS refused by the server: {alert:?}").into(),
        TlsError::PeerIncompatible(_) => "no TLS version or cipher suite in common".into(),
        _ => "TLS handshake failed".into(),
    }
}

/// Returns the alert with which a server refuses the client certificate, or that there is none.
fn refused_certificate(error: &io::Error) -> Option<AlertDescription> {
    let Some(TlsError::AlertReceived(alert)) = error.get_ref()?.downcast_ref() else { return None };
    let is_about_certificate = matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    );
    is_about_certificate.then_some(*alert)
}

fn certificate_cause(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => "certificate from an unknown issuer",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate not valid yet",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "certificate not valid for this name"
        }
        CertificateError::BadSignature => "certificate signature not valid",
        CertificateError::Revoked => "certificate revoked",
        _ => "certificate not valid",
    }
}
