//! Why a caller is refused, in problems and in `WWW-Authenticate`.

use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The reason for which a request is unauthenticated. On OpenAI-compatible endpoints this is `error.code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = UnauthenticatedReason)]
pub enum DenialReason {
    /// No credential was sent in a place that is read.
    CredentialMissing,
    /// The credential is malformed, unknown, revoked or not valid yet.
    CredentialInvalid,
    /// The token or ticket has expired.
    TokenExpired,
    /// This service does not accept the token's issuer or audience.
    IssuerUnknown,
}

impl DenialReason {
    /// Returns the name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CredentialMissing => "credential_missing",
            Self::CredentialInvalid => "credential_invalid",
            Self::TokenExpired => "token_expired",
            Self::IssuerUnknown => "issuer_unknown",
        }
    }
}

/// The part of a problem that concerns the credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub reason: Option<DenialReason>,
    /// The value of `WWW-Authenticate` (RFC 6750, section 3).
    pub challenge: HeaderValue,
}
