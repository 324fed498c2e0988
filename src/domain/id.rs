//! Ids that cannot be guessed.

use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

const RANDOM_BYTES: usize = 16;
const TEXT_BYTES: usize = 22;

/// Defines a kind of id: a prefix and random bits, with one text form.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name([u8; RANDOM_BYTES]);

        impl $name {
            pub fn random() -> Self {
                Self(random_bits())
            }

            /// Returns the id as a number. Numbers sort as ids do, which their texts do not.
            pub const fn to_bits(self) -> u128 {
                u128::from_be_bytes(self.0)
            }

            pub const fn from_bits(bits: u128) -> Self {
                Self(bits.to_be_bytes())
            }

            /// Displays the id without its prefix.
            pub fn bare(self) -> impl fmt::Display {
                fmt::from_fn(move |f| encode("", &self.0, f))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                decode(text, $prefix).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                encode($prefix, &self.0, f)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id! {
    /// Identifies one generation: `gen_` and 128 random bits in base64url without padding (RFC 4648, section 5), 26
    /// characters out of `[A-Za-z0-9_-]`. Never reused.
    ///
    /// It cannot be guessed: without authentication the id is the capability. An id has exactly one text form: a text
    /// whose unused last bits are set is refused.
    GenerationId, "gen_"
}

id! {
    /// Identifies one HTTP request in responses and logs: `req_` and 128 random bits, as [`GenerationId`].
    RequestId, "req_"
}

id! {
    /// Identifies one open event stream: `conn_` and 128 random bits, as [`GenerationId`].
    ConnectionId, "conn_"
}

id! {
    /// Identifies one process among those that serve together: `rep_` and 128 random bits, as [`GenerationId`].
    ReplicaId, "rep_"
}

/// The text is not an id of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this service")]
pub struct InvalidId;

/// Ids generated at a time: each request takes three, and each would be a system call.
const DRAWN: usize = 32;

thread_local! {
    /// Random bits that are not used yet.
    static DRAWS: RefCell<Vec<[u8; RANDOM_BYTES]>> = const { RefCell::new(Vec::new()) };
}

#[expect(
    clippy::expect_used,
    reason = "a system without randomness must not hand out guessable ids, and nothing else can be done there"
)]
fn random_bits() -> [u8; RANDOM_BYTES] {
    DRAWS.with_borrow_mut(|draws| {
        draws.pop().unwrap_or_else(|| {
            let mut drawn = [[0; RANDOM_BYTES]; DRAWN];
            getrandom::fill(drawn.as_flattened_mut()).expect("the operating system's random source");
            let [bits, rest @ ..] = drawn;
            draws.extend(rest);
            bits
        })
    })
}

fn encode(prefix: &str, bits: &[u8; RANDOM_BYTES], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut text = [0; TEXT_BYTES];
    let length = URL_SAFE_NO_PAD.encode_slice(bits, &mut text).map_err(|_| fmt::Error)?;
    let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok()).ok_or(fmt::Error)?;
    f.write_str(prefix)?;
    f.write_str(text)
}

fn decode(text: &str, prefix: &str) -> Result<[u8; RANDOM_BYTES], InvalidId> {
    let text = text.strip_prefix(prefix).filter(|text| text.len() == TEXT_BYTES).ok_or(InvalidId)?;
    let bits = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidId)?;
    bits.try_into().map_err(|_| InvalidId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_itself() {
        let id = GenerationId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 26);
        assert!(id.to_string().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
    }

    #[test]
    fn an_id_has_one_text_form_only() {
        // 22 characters hold 132 bits: the last character carries four that must be zero.
        assert!("gen_AAAAAAAAAAAAAAAAAAAAAA".parse::<GenerationId>().is_ok());
        assert_eq!("gen_AAAAAAAAAAAAAAAAAAAAAB".parse::<GenerationId>(), Err(InvalidId));
    }

    #[test]
    fn a_text_that_is_not_an_id_of_this_kind_is_refused() {
        for text in [
            "",
            "gen_",
            "gen_AAAA",
            "req_AAAAAAAAAAAAAAAAAAAAAA",
            "gen_AAAAAAAAAAAAAAAAAAAAA/",
            "gen_AAAAAAAAAAAAAAAAAAAAAAAA",
            "Gen_AAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(text.parse::<GenerationId>(), Err(InvalidId), "{text}");
        }
    }
}
