//! References to stored prompts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The id of a stored prompt: 1 to 64 characters out of `[a-z0-9_-]`, the first a letter or a digit. It is also the
/// name of the prompt's file without `.md`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PromptId(Box<str>);

/// The version of a prompt's text: the first 12 hexadecimal digits of its SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PromptVersion([u8; PromptVersion::BYTES]);

/// A reference to the current version of a prompt, `id`, or to one version only, `id@version`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PromptReference {
    pub id: PromptId,
    pub version: Option<PromptVersion>,
}

/// The text is not a valid prompt reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a prompt, nor id@version")]
pub struct InvalidReference;

const LONGEST_ID: usize = 64;

impl PromptId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PromptVersion {
    const BYTES: usize = 6;

    /// Returns the version of a text with this SHA-256.
    pub fn of_digest(digest: [u8; 32]) -> Self {
        Self(digest.first_chunk().copied().unwrap_or_default())
    }
}

impl FromStr for PromptId {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let valid = text.len() <= LONGEST_ID
            && text.bytes().next().is_some_and(plain)
            && text.bytes().all(|byte| plain(byte) || byte == b'_' || byte == b'-');
        if valid { Ok(Self(text.into())) } else { Err(InvalidReference) }
    }
}

impl FromStr for PromptVersion {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if !digits || text.len() != 2 * Self::BYTES {
            return Err(InvalidReference);
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| InvalidReference)?;
        let [_, _, bytes @ ..] = number.to_be_bytes();
        Ok(Self(bytes))
    }
}

impl FromStr for PromptReference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        match text.split_once('@') {
            None => Ok(Self { id: text.parse()?, version: None }),
            Some((id, version)) => Ok(Self { id: id.parse()?, version: Some(version.parse()?) }),
        }
    }
}

impl From<PromptId> for PromptReference {
    fn from(id: PromptId) -> Self {
        Self { id, version: None }
    }
}

impl fmt::Display for PromptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PromptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PromptVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PromptVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<PromptReference> for String {
    fn from(reference: PromptReference) -> Self {
        reference.to_string()
    }
}

impl TryFrom<String> for PromptReference {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, InvalidReference> {
        text.parse()
    }
}

impl fmt::Display for PromptReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.id, f)?;
        self.version.map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_reads_back_as_itself() {
        for text in ["a", "translate", "7", "a_b-c", &"x".repeat(64), "translate@0123456789ab", "a@ffffffffffff"] {
            let reference: PromptReference = text.parse().expect(text);
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn a_malformed_reference_is_refused() {
        for text in [
            "",
            "_data",
            "-a",
            "Translate",
            "trans late",
            "../etc/passwd",
            "a.md",
            "ü",
            &"x".repeat(65),
            "@0123456789ab",
            "a@",
            "a@0123456789a",
            "a@0123456789abc",
            "a@0123456789AB",
            "a@+123456789ab",
            "a@0123456789ab@0123456789ab",
        ] {
            assert_eq!(text.parse::<PromptReference>(), Err(InvalidReference), "{text}");
        }
    }

    #[test]
    fn a_version_is_the_beginning_of_the_digest() {
        let digest = std::array::from_fn(|at| u8::try_from(at * 8).expect("a byte"));
        assert_eq!(PromptVersion::of_digest(digest).to_string(), "000810182028");
    }
}
