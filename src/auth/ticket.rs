//! Tickets: signed addresses for clients that can set no header, such as `EventSource`.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Identity, Refusal, Scopes};
use crate::domain::{AllowedModels, ChannelName, GenerationId, Principal, Quota, Timestamp};

/// What a ticket is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    Generation(GenerationId),
    Channel(ChannelName),
}

/// What a ticket allows: some things, with one generation of its owner's or one channel, for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    pub resource: Resource,
    pub owner: Principal,
    pub scopes: Scopes,
    /// How many event streams its owner may have open, where there is a limit.
    pub connections: Option<NonZeroU32>,
    /// How many events its owner may publish in a minute, where there is a limit.
    pub publishes_per_minute: Option<NonZeroU32>,
    pub expires_at: Timestamp,
}

/// Signs tickets and knows its own again: HMAC-SHA-256 over the grant as it is written, so that a ticket has
/// one text form.
#[derive(Clone)]
pub struct Tickets {
    secret: [u8; 32],
}

/// The longest that could be ours.
const LONGEST: usize = 2048;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
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
    /// Tickets under a secret that several processes share.
    pub fn new(secret: &[u8]) -> Self {
        Self { secret: mac(b"tokenrill tickets").chain_update(secret).finalize().into_bytes().into() }
    }

    /// Tickets of this process alone.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes.
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
        let written = Written {
            generation,
            channel,
            owner: match &grant.owner {
                Principal::Anonymous => None,
                Principal::Named(name) => Some(name.to_string()),
            },
            scopes: grant.scopes.to_string(),
            connections: grant.connections,
            publishes_per_minute: grant.publishes_per_minute,
            expires_ms: grant.expires_at.millis(),
        };
        let written = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&written).unwrap_or_default());
        let signature = URL_SAFE_NO_PAD.encode(self.mac(&written).finalize().into_bytes());
        format!("{written}.{signature}")
    }

    pub fn verify(&self, ticket: &str, now: Timestamp) -> Result<Grant, Refusal> {
        let (written, signature) =
            ticket.split_once('.').filter(|_| ticket.len() <= LONGEST).ok_or(Refusal::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Refusal::Malformed)?;
        self.mac(written).verify_slice(&signature).map_err(|_| Refusal::Invalid)?;
        let written = URL_SAFE_NO_PAD.decode(written).map_err(|_| Refusal::Malformed)?;
        let written: Written = serde_json::from_slice(&written).map_err(|_| Refusal::Malformed)?;
        let expires_at = Timestamp::from_millis(written.expires_ms);
        if expires_at <= now {
            return Err(Refusal::Expired);
        }
        let resource = match (written.generation, written.channel) {
            (Some(id), None) => Resource::Generation(id.parse().map_err(|_| Refusal::Malformed)?),
            (None, Some(name)) => Resource::Channel(name.parse().map_err(|_| Refusal::Malformed)?),
            _ => return Err(Refusal::Malformed),
        };
        Ok(Grant {
            resource,
            owner: written.owner.map_or(Principal::Anonymous, |name| Principal::Named(name.into())),
            scopes: Scopes::of_claim(written.scopes.split(' ')),
            connections: written.connections,
            publishes_per_minute: written.publishes_per_minute,
            expires_at,
        })
    }

    fn mac(&self, written: &str) -> Hmac<Sha256> {
        mac(&self.secret).chain_update(written)
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
            // A ticket starts no generation.
            quota: Quota {
                connections: grant.connections,
                publishes_per_minute: grant.publishes_per_minute,
                ..Quota::NONE
            },
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
        fn a_ticket_says_what_was_granted_until_it_expires(name in ".{0,100}", expires in 1..u64::from(u32::MAX)) {
            let tickets = Tickets::new(b"a secret");
            let grant = grant(Principal::Named(name.into()), expires);
            let ticket = tickets.issue(&grant);
            prop_assert_eq!(tickets.verify(&ticket, Timestamp::from_millis(expires - 1)), Ok(grant));
            prop_assert_eq!(tickets.verify(&ticket, Timestamp::from_millis(expires)), Err(Refusal::Expired));
            prop_assert!(Tickets::new(b"another").verify(&ticket, Timestamp::from_millis(0)).is_err());
        }

        #[test]
        fn a_channels_ticket_is_for_it_alone(name in "[a-z0-9~_-][a-z0-9.~_-]{0,99}") {
            let tickets = Tickets::new(b"a secret");
            let channel: ChannelName = name.parse().expect("a name");
            let scopes = Scopes::of_channel([ChannelScope::Subscribe], &channel);
            let grant = Grant { resource: Resource::Channel(channel), scopes, ..grant(Principal::Anonymous, 1000) };
            let read = tickets.verify(&tickets.issue(&grant), Timestamp::from_millis(0));
            prop_assert_eq!(read, Ok(grant));
        }

        #[test]
        fn whatever_bit_is_turned_it_is_refused(at in any::<proptest::sample::Index>(), bit in 0..7u8) {
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
