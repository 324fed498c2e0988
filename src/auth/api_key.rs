//! API keys: random, shown once, and then verified by their keyed hashes.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{CredentialError, Identity};
use crate::domain::Lookup;

const PREFIX: &str = "trk_";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// A new key: `trk_`, the key's id in 16 hexadecimal digits, `_`, and 256 random bits in base64url.
pub struct NewKey {
    /// Shown to its owner once, and stored nowhere.
    pub key: String,
    /// For the settings.
    pub hash: KeyHash,
}

/// The id of a key, and HMAC-SHA-256 of the key under that id. The key cannot be found from it by guessing, since it
/// has 256 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash {
    id: [u8; ID_BYTES],
    digest: [u8; 32],
}

/// A key of the settings.
#[derive(Debug, Clone)]
pub struct ApiKey {
    pub hash: KeyHash,
    pub identity: Identity,
}

/// All keys by id. Two keys may have the same owner: the old and the new one during a rotation.
#[derive(Debug, Default)]
pub struct ApiKeys(Lookup<[u8; ID_BYTES], ApiKey>);

/// The text is not the hash of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the hash of a key")]
pub struct InvalidHash;

impl NewKey {
    /// # Errors
    ///
    /// If the operating system returns no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        getrandom::fill(&mut id)?;
        getrandom::fill(&mut secret)?;
        let key = format!("{PREFIX}{}_{}", Hex(&id), URL_SAFE_NO_PAD.encode(secret));
        let digest = mac(&id, &key).finalize().into_bytes().into();
        Ok(Self { key, hash: KeyHash { id, digest } })
    }
}

impl ApiKeys {
    /// Returns whether `text` has the prefix of an API key, which no other credential has.
    pub fn could_be(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn identify(&self, key: &str) -> Result<Identity, CredentialError> {
        let id = key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')).and_then(|(id, _)| parse_id(id));
        let id = id.filter(|_| key.len() == PREFIX.len() + 2 * ID_BYTES + 1 + 43).ok_or(CredentialError::Malformed)?;
        let known = self.0.get(&id).ok_or(CredentialError::UnknownKey)?;
        // Compares in constant time.
        mac(&id, key).verify_slice(&known.hash.digest).map_err(|_| CredentialError::UnknownKey)?;
        Ok(known.identity.clone())
    }
}

impl FromIterator<ApiKey> for ApiKeys {
    fn from_iter<I: IntoIterator<Item = ApiKey>>(keys: I) -> Self {
        Self(keys.into_iter().map(|key| (key.hash.id, key)).collect())
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104)")]
fn mac(id: &[u8], key: &str) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(id).expect("any length").chain_update(key)
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Accepts lower case only, so that a key has exactly one text form.
fn parse_id(text: &str) -> Option<[u8; ID_BYTES]> {
    let valid = text.len() == 2 * ID_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    valid.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(u64::to_be_bytes)
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Hex(&self.id), URL_SAFE_NO_PAD.encode(self.digest))
    }
}

impl FromStr for KeyHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let (id, digest) = text.split_once(':').ok_or(InvalidHash)?;
        let digest = URL_SAFE_NO_PAD.decode(digest).ok().and_then(|digest| digest.try_into().ok());
        Ok(Self { id: parse_id(id).ok_or(InvalidHash)?, digest: digest.ok_or(InvalidHash)? })
    }
}

/// Prints only the id.
impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({})", Hex(&self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Scopes;
    use crate::domain::Principal;

    fn identity(name: &str) -> Identity {
        let principal = Principal::Key(name.into());
        Identity { principal, scopes: Scopes::usual(), ..Identity::anonymous() }
    }

    #[test]
    fn identify_accepts_only_configured_keys() {
        let [web, other, unknown] = [(); 3].map(|()| NewKey::random().expect("random bytes"));
        let keys: ApiKeys = [(&web, "web"), (&other, "other")]
            .into_iter()
            .map(|(key, name)| ApiKey { hash: key.hash, identity: identity(name) })
            .collect();
        assert_eq!(keys.identify(&web.key), Ok(identity("web")));
        assert_eq!(keys.identify(&other.key), Ok(identity("other")));
        assert_eq!(keys.identify(&unknown.key), Err(CredentialError::UnknownKey));
        let (head, tail) = web.key.split_at(21);
        let mixed = format!("{head}{}", other.key.split_at(21).1);
        for wrong in
            [mixed.as_str(), &web.key.to_uppercase(), &format!("{head}{}", tail.to_lowercase()), head, "", "trk_"]
        {
            assert!(keys.identify(wrong).is_err(), "{wrong}");
        }
        for at in 0..web.key.len() {
            let mut bytes = web.key.clone().into_bytes();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            assert!(keys.identify(&String::from_utf8(bytes).expect("ASCII")).is_err(), "at {at}");
        }
    }

    #[test]
    fn hash_round_trips_and_debug_omits_the_digest() {
        let NewKey { key, hash } = NewKey::random().expect("random bytes");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(key.len(), 64);
        assert!(!format!("{hash:?}").contains(':'));
        for wrong in ["", "abc", "0123456789abcdef:", "0123456789abcdef:AAAA", &hash.to_string().to_uppercase()] {
            assert_eq!(wrong.parse::<KeyHash>(), Err(InvalidHash), "{wrong}");
        }
    }
}
