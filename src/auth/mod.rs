//! Who calls: from a credential to a principal, and to what it may do.
//!
//! ```text
//! mod            Gate: which credentials there are, and what becomes of one
//! api_key        random keys, known by their keyed hashes
//! jwt            tokens of an issuer
//! fetched_jwts   tokens of an issuer whose keys change
//! fetch          gets those keys
//! ticket         signed addresses for clients that can set no header
//! scope          what a caller may do
//! ```
//!
//! Does not know where credentials stand in a request.

mod api_key;
mod fetch;
mod fetched_jwts;
mod jwt;
mod scope;
mod ticket;

use std::sync::Arc;

use crate::domain::{AllowedModels, Principal, Quota, Timestamp};

pub use api_key::{ApiKey, ApiKeys, InvalidHash, KeyHash, NewKey};
pub use fetch::{LONGEST_JWKS, fetch_from};
pub use fetched_jwts::{FetchError, FetchedJwts};
pub use jwt::{InvalidJwks, Jwts, Trust};
pub use scope::{ChannelScope, SCOPES, Scope, Scopes, UnknownScope};
pub use ticket::{Grant, Resource, Tickets};

/// Who is let in, and how.
pub enum Gate {
    /// Everybody, as nobody in particular.
    Open { tickets: Tickets },
    /// Who has one of these.
    Required { keys: ApiKeys, issuer: Option<Issuer>, tickets: Tickets },
}

/// Whose tokens are good.
#[derive(Debug)]
pub enum Issuer {
    /// One whose keys are in the settings.
    Fixed(Jwts),
    /// One that publishes its keys.
    Fetched(Arc<FetchedJwts>),
}

/// A caller, and what it may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    pub principal: Principal,
    pub scopes: Scopes,
    pub models: AllowedModels,
    /// The one thing that a ticket is for.
    pub only: Option<Resource>,
    /// Until when it is known, where that has an end.
    pub until: Option<Timestamp>,
    /// How much it may take, where that is not what everybody may.
    pub quota: Quota,
}

/// What a request shows.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// An API key, or a JWT.
    Bearer(&'a str),
    ApiKey(&'a str),
    /// A JWT in a cookie, which a browser sends whatever page asks it to.
    Session(&'a str),
    Ticket(&'a str),
}

/// Why a credential is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no credential")]
    Missing,
    #[error("it is of no form that is known here")]
    Malformed,
    #[error("nobody has this key")]
    UnknownKey,
    #[error("its signature is not ours")]
    Invalid,
    #[error("its time is over")]
    Expired,
    #[error("its time has not come")]
    TooEarly,
    #[error("it is of another issuer, or for another service")]
    NotForUs,
    /// Nothing is said of the credential.
    #[error("the issuer's keys could not be had")]
    NoKeys,
}

impl Gate {
    /// Where nobody has to show anything, nothing that is shown is looked at.
    pub async fn identify(&self, credential: Option<Credential<'_>>) -> Result<Identity, Refusal> {
        let (keys, issuer, tickets) = match self {
            Self::Open { .. } => return Ok(Identity::anonymous()),
            Self::Required { keys, issuer, tickets } => (keys, issuer, tickets),
        };
        match (credential.ok_or(Refusal::Missing)?, issuer) {
            (Credential::Bearer(token), Some(issuer)) if !ApiKeys::could_be(token) => issuer.identify(token).await,
            (Credential::Bearer(key) | Credential::ApiKey(key), _) => keys.identify(key),
            (Credential::Session(token), Some(issuer)) => issuer.identify(token).await,
            (Credential::Session(_), None) => Err(Refusal::UnknownKey),
            (Credential::Ticket(ticket), _) => Ok(tickets.verify(ticket, Timestamp::now())?.into()),
        }
    }

    /// Whether tokens of an identity provider are accepted.
    pub const fn has_issuer(&self) -> bool {
        matches!(self, Self::Required { issuer: Some(_), .. })
    }

    /// Waits until the issuer's keys are there, where they have to be fetched.
    pub async fn fetched(&self) -> Result<(), FetchError> {
        match self {
            Self::Required { issuer: Some(Issuer::Fetched(jwts)), .. } => jwts.first().await,
            Self::Open { .. } | Self::Required { .. } => Ok(()),
        }
    }

    /// Whether anybody can be known: not before the issuer's keys were there for the first time, where there are no
    /// other credentials.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Required { issuer: Some(Issuer::Fetched(jwts)), keys, .. } => {
                jwts.has_been_fetched() || !keys.is_empty()
            }
            Self::Open { .. } | Self::Required { .. } => true,
        }
    }

    /// The issuer whose keys are fetched, to be kept where the settings are read again.
    pub fn fetching(&self) -> Option<Arc<FetchedJwts>> {
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
    async fn identify(&self, token: &str) -> Result<Identity, Refusal> {
        match self {
            Self::Fixed(jwts) => jwts.identify(token),
            Self::Fetched(jwts) => jwts.identify(token).await,
        }
    }
}

impl Identity {
    /// Everybody, where nobody has to show anything.
    pub const fn anonymous() -> Self {
        Self {
            principal: Principal::Anonymous,
            scopes: Scopes::ALL,
            models: AllowedModels::All,
            only: None,
            until: None,
            quota: Quota::NONE,
        }
    }
}
