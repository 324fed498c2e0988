//! Tickets: signed tokens in URLs, for clients that cannot set headers, such as `EventSource`.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{CredentialError, Identity, Scopes};
use crate::domain::{AllowedModels, ChannelName, GenerationId, Principal, Quota, Timestamp};

/// The resource that a ticket grants access to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    Generation(GenerationId),
    Channel(ChannelName),
}

/// The permissions of a ticket: scopes for one generation of its owner or for one channel, until it expires.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    pub resource: Resource,
    pub owner: Principal,
    pub scopes: Scopes,
    /// The owner's limit of open event streams, if any.
    pub connections: Option<NonZeroU32>,
    /// The owner's limit of published events per minute, if any.
    pub publishes_per_minute: Option<NonZeroU32>,
    pub expires_at: Timestamp,
}

/// Signs and verifies tickets: HMAC-SHA-256 over the encoded grant, so that a ticket has exactly one text form.
#[derive(Clone)]
pub struct Tickets {
    secret: [u8; 32],
}

/// No issued ticket is longer, in bytes.
const MAX_TICKET_BYTES: usize = 2048;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    owner: Option<String>,
    scopes: String,
    connections: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    publishes_per_minute: Option<NonZeroU32>,
    expires_ms: u64,
}

impl Tickets {
    /// Signs with a secret that several processes share.
    pub fn new(secret: &[u8]) -> Self {
        Self { secret: mac(b"tokenrill tickets").chain_update(secret).finalize().into_bytes().into() }
    }

    /// Signs with a random secret: only this process accepts its tickets.
    ///
    /// # Errors
    ///
    /// If the operating system returns no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(Self { secret })
    }

    pub fn issue(&self, grant: &Grant) -> String {
        let (generation, channel) = match &grant.resource {
            Resource::Generation(id) => (Some(id.to_string()), None),
            Resource::Channel(name) => (None, Some(name.to_string())),
        };
        let payload = Payload {
            generation,
            channel,
            owner: grant.owner.qualified_name().map(Cow::into_owned),
            scopes: grant.scopes.to_string(),
            connections: grant.connections,
            publishes_per_minute: grant.publishes_per_minute,
            expires_ms: grant.expires_at.millis(),
        };
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&payload).unwrap_or_default());
        let signature = URL_SAFE_NO_PAD.encode(self.mac(&payload).finalize().into_bytes());
        format!("{payload}.{signature}")
    }

    pub fn verify(&self, ticket: &str, now: Timestamp) -> Result<Grant, CredentialError> {
        let (payload, signature) =
            ticket.split_once('.').filter(|_| ticket.len() <= MAX_TICKET_BYTES).ok_or(CredentialError::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| CredentialError::Malformed)?;
        self.mac(payload).verify_slice(&signature).map_err(|_| CredentialError::Invalid)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| CredentialError::Malformed)?;
        let payload: Payload = serde_json::from_slice(&payload).map_err(|_| CredentialError::Malformed)?;
        let expires_at = Timestamp::from_millis(payload.expires_ms);
        if expires_at <= now {
            return Err(CredentialError::Expired);
        }
        let resource = match (payload.generation, payload.channel) {
            (Some(id), None) => Resource::Generation(id.parse().map_err(|_| CredentialError::Malformed)?),
            (None, Some(name)) => Resource::Channel(name.parse().map_err(|_| CredentialError::Malformed)?),
            _ => return Err(CredentialError::Malformed),
        };
        Ok(Grant {
            resource,
            owner: payload.owner.as_deref().map_or(Principal::Anonymous, Principal::of_qualified_name),
            scopes: Scopes::of_claim(payload.scopes.split(' ')),
            connections: payload.connections,
            publishes_per_minute: payload.publishes_per_minute,
            expires_at,
        })
    }

    fn mac(&self, payload: &str) -> Hmac<Sha256> {
        mac(&self.secret).chain_update(payload)
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("any length")
}

impl From<Grant> for Identity {
    fn from(grant: Grant) -> Self {
        Self {
            principal: grant.owner,
            scopes: grant.scopes,
            models: AllowedModels::These(Arc::default()),
            only: Some(grant.resource),
            until: Some(grant.expires_at),
            // The other limits are for starting generations, which a ticket does not allow.
            quota: Quota {
                connections: grant.connections,
                publishes_per_minute: grant.publishes_per_minute,
                ..Quota::NONE
            },
            // A ticket starts nothing.
            budget: None,
        }
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::{ChannelScope, Scope};

    fn grant(owner: Principal, expires: u64) -> Grant {
        let scopes = [Scope::Follow].into_iter().collect();
        let connections = NonZeroU32::new(5);
        Grant {
            resource: Resource::Generation(GenerationId::random()),
            owner,
            scopes,
            connections,
            publishes_per_minute: NonZeroU32::new(7),
            expires_at: Timestamp::from_millis(expires),
        }
    }

    proptest! {
        #[test]
        fn ticket_round_trips_until_it_expires(name in ".{0,100}(\n.{1,100})?", expires in 1..u64::from(u32::MAX)) {
            let tickets = Tickets::new(b"a secret");
            let grant = grant(Principal::of_qualified_name(&name), expires);
            let ticket = tickets.issue(&grant);
            prop_assert_eq!(tickets.verify(&ticket, Timestamp::from_millis(expires - 1)), Ok(grant));
            prop_assert_eq!(tickets.verify(&ticket, Timestamp::from_millis(expires)), Err(CredentialError::Expired));
            prop_assert!(Tickets::new(b"another").verify(&ticket, Timestamp::from_millis(0)).is_err());
        }

        #[test]
        fn channel_ticket_round_trips(name in "[a-z0-9~_-][a-z0-9.~_-]{0,99}") {
            let tickets = Tickets::new(b"a secret");
            let channel: ChannelName = name.parse().expect("a name");
            let scopes = Scopes::of_channel([ChannelScope::Subscribe], &channel);
            let grant = Grant { resource: Resource::Channel(channel), scopes, ..grant(Principal::Anonymous, 1000) };
            let read = tickets.verify(&tickets.issue(&grant), Timestamp::from_millis(0));
            prop_assert_eq!(read, Ok(grant));
        }

        #[test]
        fn ticket_with_a_flipped_bit_is_refused(at in any::<proptest::sample::Index>(), bit in 0..7u8) {
            let tickets = Tickets::random().expect("random bytes");
            let mut bytes = tickets.issue(&grant(Principal::Anonymous, 1000)).into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                prop_assert!(tickets.verify(&text, Timestamp::from_millis(0)).is_err(), "{}", text);
            }
        }
    }
}
