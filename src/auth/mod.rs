//! Authentication: resolves a credential to a principal and its permissions.
//!
//! ```text
//! mod            Gate: the accepted credentials, and how each is verified
//! api_key        random keys, verified by their keyed hashes
//! jwt            tokens of an issuer
//! fetched_jwts   tokens of an issuer whose keys are fetched and refreshed
//! fetch          fetches those keys
//! ticket         signed tokens in URLs, for clients that cannot set headers
//! scope          the permissions of a caller
//! ```
//!
//! This module does not know where a request carries its credential.

mod api_key;
mod fetch;
mod fetched_jwts;
mod jwt;
mod scope;
mod ticket;

use std::sync::Arc;

use crate::domain::{AllowedModels, Budget, Principal, Quota, Timestamp};

pub use api_key::{ApiKey, ApiKeys, InvalidHash, KeyHash, NewKey};
pub use fetch::{LONGEST_JWKS, fetch_from};
pub use fetched_jwts::{FetchError, FetchedJwts};
pub use jwt::{InvalidJwks, Jwts, Trust};
pub use scope::{ChannelScope, SCOPES, Scope, Scopes, UnknownScope};
pub use ticket::{Grant, Resource, Tickets};

/// The accepted credentials.
pub enum Gate {
    /// Accepts every request as [`Principal::Anonymous`].
    Open { tickets: Tickets },
    /// Accepts requests with one of these credentials.
    Required { keys: ApiKeys, issuer: Option<Issuer>, tickets: Tickets },
}

/// The trusted issuer of JWTs.
#[derive(Debug)]
pub enum Issuer {
    /// The keys come from the settings.
    Fixed(Jwts),
    /// The keys are fetched from the issuer.
    Fetched(Arc<FetchedJwts>),
}

/// An authenticated caller and its permissions.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    pub principal: Principal,
    pub scopes: Scopes,
    pub models: AllowedModels,
    /// Restricts a ticket to one resource.
    pub only: Option<Resource>,
    /// When the credential expires; `None` if it does not.
    pub until: Option<Timestamp>,
    /// The caller's own limits; an unset limit is the general one.
    pub quota: Quota,
    /// The most that the caller may spend; `None`: any amount.
    pub budget: Option<Budget>,
}

/// The credential of a request.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// An API key, or a JWT.
    Bearer(&'a str),
    ApiKey(&'a str),
    /// A JWT in a cookie. A browser also sends it with requests of foreign pages (CSRF).
    Session(&'a str),
    Ticket(&'a str),
}

/// Why a credential is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("the credential is missing")]
    Missing,
    #[error("the credential is malformed")]
    Malformed,
    #[error("the key is unknown")]
    UnknownKey,
    #[error("the signature is invalid")]
    Invalid,
    #[error("the credential has expired")]
    Expired,
    #[error("the credential is not valid yet")]
    TooEarly,
    #[error("the credential is from another issuer or for another audience")]
    NotForUs,
    /// The credential could not be verified; it may be valid.
    #[error("the issuer's keys could not be fetched")]
    NoKeys,
}

impl Gate {
    /// Verifies a credential. [`Gate::Open`] ignores it.
    pub async fn identify(&self, credential: Option<Credential<'_>>) -> Result<Identity, CredentialError> {
        let (keys, issuer, tickets) = match self {
            Self::Open { .. } => return Ok(Identity::anonymous()),
            Self::Required { keys, issuer, tickets } => (keys, issuer, tickets),
        };
        match (credential.ok_or(CredentialError::Missing)?, issuer) {
            (Credential::Bearer(token), Some(issuer)) if !ApiKeys::could_be(token) => issuer.identify(token).await,
            (Credential::Bearer(key) | Credential::ApiKey(key), _) => keys.identify(key),
            (Credential::Session(token), Some(issuer)) => issuer.identify(token).await,
            (Credential::Session(_), None) => Err(CredentialError::UnknownKey),
            (Credential::Ticket(ticket), _) => Ok(tickets.verify(ticket, Timestamp::now())?.into()),
        }
    }

    /// Whether tokens of an identity provider are accepted.
    pub const fn has_issuer(&self) -> bool {
        matches!(self, Self::Required { issuer: Some(_), .. })
    }

    /// Waits for the first fetch of the issuer's keys. Returns at once if no keys are fetched.
    pub async fn wait_for_keys(&self) -> Result<(), FetchError> {
        match self {
            Self::Required { issuer: Some(Issuer::Fetched(jwts)), .. } => jwts.wait_for_first_fetch().await,
            Self::Open { .. } | Self::Required { .. } => Ok(()),
        }
    }

    /// Returns whether any caller can be authenticated. If the fetched keys of an issuer are the only credentials, none
    /// can before the first successful fetch.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Required { issuer: Some(Issuer::Fetched(jwts)), keys, .. } => {
                jwts.has_been_fetched() || !keys.is_empty()
            }
            Self::Open { .. } | Self::Required { .. } => true,
        }
    }

    /// Returns the issuer whose keys are fetched, so that a reload can keep it.
    pub fn fetched_issuer(&self) -> Option<Arc<FetchedJwts>> {
        match self {
            Self::Required { issuer: Some(Issuer::Fetched(jwts)), .. } => Some(Arc::clone(jwts)),
            Self::Open { .. } | Self::Required { .. } => None,
        }
    }

    pub const fn tickets(&self) -> &Tickets {
        match self {
            Self::Open { tickets } | Self::Required { tickets, .. } => tickets,
        }
    }

    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

impl Issuer {
    async fn identify(&self, token: &str) -> Result<Identity, CredentialError> {
        match self {
            Self::Fixed(jwts) => jwts.identify(token),
            Self::Fetched(jwts) => jwts.identify(token).await,
        }
    }
}

impl Identity {
    /// The identity of every caller if authentication is off.
    pub const fn anonymous() -> Self {
        Self {
            principal: Principal::Anonymous,
            scopes: Scopes::ALL,
            models: AllowedModels::All,
            only: None,
            until: None,
            quota: Quota::NONE,
            budget: None,
        }
    }
}
