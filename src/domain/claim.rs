//! Idempotency: how a repeated request is recognized.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An idempotency key and the fingerprint of its request: a repeat does not start a second generation.
///
/// A claim belongs to its caller: the same key of two callers is two claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub key: IdempotencyKey,
    pub request: Fingerprint,
}

/// `Idempotency-Key`, chosen by the caller: 1 to 255 visible ASCII characters
/// (draft-ietf-httpapi-idempotency-key-header, section 2.1, requires a string and leaves its form to the service).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

/// SHA-256 of a request's path and body as received. Two requests with the same fingerprint are the same request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// The text is not a valid key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an idempotency key")]
pub struct InvalidKey;

const LONGEST_KEY: usize = 255;

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let valid = (1..=LONGEST_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if valid { Ok(Self(text.into())) } else { Err(InvalidKey) }
    }
}

impl IdempotencyKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Fingerprint {
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

/// Prints a length: a key may contain private data of the caller.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({} bytes)", self.0.len())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_of_bounded_length() {
        for good in ["1", "b2f1-77", "\"quoted\"", &"x".repeat(255)] {
            assert!(good.parse::<IdempotencyKey>().is_ok(), "{good}");
        }
        for bad in ["", " ", "a b", "ü", "a\n", &"x".repeat(256)] {
            assert_eq!(bad.parse::<IdempotencyKey>(), Err(InvalidKey), "{bad}");
        }
    }

    #[test]
    fn debug_prints_no_key() {
        let key: IdempotencyKey = "my-secret-order".parse().expect("a key");
        assert!(!format!("{key:?}").contains("secret"));
    }
}
