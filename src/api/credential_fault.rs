//! The faults of a credential, and the problem that the caller receives for each.

use std::fmt;

use super::denial::DenialReason;
use super::problem::{ErrorCode, Problem};

/// The fault of a request's credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialFault {
    Missing,
    /// No credential, and this service accepts a session cookie.
    MissingCookie,
    /// No credential, and the request looks like that of an `EventSource`.
    MissingTicket,
    InApiKeyHeader,
    InQuery,
    NoScheme,
    OtherScheme,
    Repeated,
    NotText,
    Placeholder,
    ProviderKey,
    NoKey,
    UnknownKey,
    TokensNotAccepted,
    NoToken,
    UnknownSigner,
    BadSignature,
    ExpiredToken,
    NotYetValid,
    OtherIssuer,
    BadTicket,
    ExpiredTicket,
}

impl CredentialFault {
    pub const fn reason(self) -> DenialReason {
        match self {
            Self::Missing | Self::MissingCookie | Self::MissingTicket | Self::InApiKeyHeader | Self::InQuery => {
                DenialReason::CredentialMissing
            }
            Self::ExpiredToken | Self::ExpiredTicket => DenialReason::TokenExpired,
            Self::OtherIssuer | Self::TokensNotAccepted => DenialReason::IssuerUnknown,
            Self::NoScheme
            | Self::OtherScheme
            | Self::Repeated
            | Self::NotText
            | Self::Placeholder
            | Self::ProviderKey
            | Self::NoKey
            | Self::UnknownKey
            | Self::NoToken
            | Self::UnknownSigner
            | Self::BadSignature
            | Self::NotYetValid
            | Self::BadTicket => DenialReason::CredentialInvalid,
        }
    }

    /// Returns what happened, without a full stop, in characters that are allowed in a quoted string (RFC 9110, section
    /// 5.6.4).
    const fn description(self) -> &'static str {
        match self {
            Self::Missing | Self::MissingCookie | Self::MissingTicket => "No credential was sent",
            Self::InApiKeyHeader => "The key is in the header api-key, which is not read",
            Self::InQuery => "The key is in the query, which is not read",
            Self::NoScheme => "`Bearer ` is missing before the key in the header Authorization",
            Self::OtherScheme => "The header Authorization has another scheme than Bearer",
            Self::Repeated => "The credential was sent twice",
            Self::NotText => "The credential contains invalid characters",
            Self::Placeholder => "The credential is empty or a placeholder such as undefined or null",
            Self::ProviderKey => "This looks like a model provider's key",
            Self::NoKey => "This is not a key of this service",
            Self::UnknownKey => "The key is unknown or was revoked",
            Self::TokensNotAccepted => "This service accepts no tokens of an identity provider",
            Self::NoToken => "The token is malformed or lacks a claim",
            Self::UnknownSigner => "The token is signed with an unknown key",
            Self::BadSignature => "The signature of the token is wrong",
            Self::ExpiredToken => "The token has expired",
            Self::NotYetValid => "The token is not valid yet",
            Self::OtherIssuer => "The token is of another issuer or for another service",
            Self::BadTicket => "The ticket is not valid",
            Self::ExpiredTicket => "The ticket has expired",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Missing | Self::InApiKeyHeader | Self::InQuery | Self::OtherScheme => {
                "Send the key or token as `Authorization: Bearer KEY`, or a key as `X-Api-Key: KEY`."
            }
            Self::MissingCookie => {
                "Send the session cookie (with fetch: `credentials: \"include\"`), or a key or token as `Authorization: \
                 Bearer KEY`."
            }
            Self::MissingTicket => {
                "Send the key or token as `Authorization: Bearer KEY`. An EventSource cannot send headers: create a \
                 ticket with POST /v1/tickets, and open its `url`."
            }
            Self::NoScheme => "Send it as `Authorization: Bearer KEY`.",
            Self::Repeated => "Send one credential, once.",
            Self::NotText => "Send the key or token exactly as it was issued.",
            Self::Placeholder => "Check where the page or program reads its key from.",
            Self::ProviderKey => "Keys of this service begin with `trk_`: ask its operator for one.",
            Self::NoKey | Self::TokensNotAccepted => "Send a key of this service, which begins with `trk_`.",
            Self::UnknownKey => "Ask the operator of this service for a key.",
            Self::NoToken => "Send a JWT with `iss`, `aud`, `sub` and `exp`, or a key of this service.",
            Self::UnknownSigner | Self::BadSignature | Self::OtherIssuer => {
                "Send a token that the identity provider of this service issued for it."
            }
            Self::ExpiredToken => "Get a new one and repeat the request.",
            Self::NotYetValid => "Check the clock of the issuer.",
            Self::BadTicket => "Create one with POST /v1/tickets.",
            Self::ExpiredTicket => "Create a new one with POST /v1/tickets.",
        }
    }
}

impl fmt::Display for CredentialFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

impl From<CredentialFault> for Problem {
    fn from(fault: CredentialFault) -> Self {
        let reason = fault.reason();
        let challenge = match reason {
            // Without a credential the challenge has no error code (RFC 6750, section 3.1).
            DenialReason::CredentialMissing => "Bearer".to_owned(),
            DenialReason::CredentialInvalid | DenialReason::TokenExpired | DenialReason::IssuerUnknown => {
                format!("Bearer error=\"invalid_token\", error_description=\"{}\"", fault.description())
            }
        };
        let detail = format!("{}. {}", fault.description(), fault.remedy());
        Self::new(ErrorCode::Unauthenticated, detail).denied(Some(reason), &challenge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_description_fits_a_quoted_string() {
        for fault in [CredentialFault::NoScheme, CredentialFault::Placeholder, CredentialFault::ExpiredToken] {
            assert!(fault.description().bytes().all(|byte| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~')));
            assert!(Problem::from(fault).denial.is_some());
        }
    }

    #[test]
    fn reason_name_equals_its_json() {
        for reason in [
            DenialReason::CredentialMissing,
            DenialReason::CredentialInvalid,
            DenialReason::TokenExpired,
            DenialReason::IssuerUnknown,
        ] {
            assert_eq!(serde_json::to_value(reason).expect("JSON"), reason.name());
        }
    }
}
