//! Who calls: from a credential to a principal, and to what it may do.
//!
//! ```text
//! mod        Gate: which credentials there are, and what becomes of one
//! api_key    random keys, known by their keyed hashes
//! jwt        tokens of an issuer
//! ticket     signed addresses for clients that can set no header
//! scope      what a caller may do
//! ```
//!
//! Knows neither HTTP nor where credentials stand in a request.

mod api_key;
mod jwt;
mod scope;
mod ticket;

use crate::domain::{AllowedModels, GenerationId, Principal, Timestamp};

pub use api_key::{ApiKey, ApiKeys, InvalidHash, KeyHash, NewKey};
pub use jwt::{InvalidJwks, Jwts, Trust};
pub use scope::{Scope, Scopes, UnknownScope};
pub use ticket::{Grant, Tickets};

/// Who is let in, and how.
pub enum Gate {
    /// Everybody, as nobody in particular.
    Open { tickets: Tickets },
    /// Who has one of these.
    Required { keys: ApiKeys, jwts: Option<Jwts>, tickets: Tickets },
}

/// A caller, and what it may do.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    pub principal: Principal,
    pub scopes: Scopes,
    pub models: AllowedModels,
    /// The one generation that a ticket is for.
    pub only: Option<GenerationId>,
    /// Until when it is known, where that has an end.
    pub until: Option<Timestamp>,
}

/// What a request shows.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// An API key, or a JWT.
    Bearer(&'a str),
    ApiKey(&'a str),
    Ticket(&'a str),
}

/// Why a credential is refused: for the operator's log. A caller is told that it is, and not why.
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
}

impl Gate {
    /// Where nobody has to show anything, nothing that is shown is looked at.
    pub fn identify(&self, credential: Option<Credential<'_>>) -> Result<Identity, Refusal> {
        let (keys, jwts, tickets) = match self {
            Self::Open { .. } => return Ok(Identity::anonymous()),
            Self::Required { keys, jwts, tickets } => (keys, jwts, tickets),
        };
        match credential.ok_or(Refusal::Missing)? {
            Credential::Bearer(token) => match jwts {
                Some(jwts) if !ApiKeys::could_be(token) => jwts.identify(token),
                _ => keys.identify(token),
            },
            Credential::ApiKey(key) => keys.identify(key),
            Credential::Ticket(ticket) => Ok(tickets.verify(ticket, Timestamp::now())?.into()),
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

impl Identity {
    /// Everybody, where nobody has to show anything.
    pub const fn anonymous() -> Self {
        Self {
            principal: Principal::Anonymous,
            scopes: Scopes::ALL,
            models: AllowedModels::All,
            only: None,
            until: None,
        }
    }
}
