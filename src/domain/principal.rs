//! The caller of a request.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The caller of a request: the owner of the generations it starts.
///
/// A principal cannot distinguish another caller's generation from one that never existed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Principal {
    /// Every caller, if the service does not authenticate. The unguessable id of a generation is then the capability,
    /// and generations are not listed.
    #[default]
    Anonymous,
    /// A caller with an API key, by the name of the key.
    Key(Arc<str>),
    /// A caller with a token, by the token's issuer and subject.
    Subject { issuer: Arc<str>, subject: Arc<str> },
}

/// Separates issuer and subject in a qualified name. Neither the name of a key nor a subject contains it.
const SEPARATOR: char = '\n';

impl Principal {
    /// Returns the name of the key, or the subject of the token.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::Key(name) | Self::Subject { subject: name, .. } => Some(name),
        }
    }

    /// Returns the issuer of the token.
    pub fn issuer(&self) -> Option<&str> {
        match self {
            Self::Anonymous | Self::Key(_) => None,
            Self::Subject { issuer, .. } => Some(issuer),
        }
    }

    /// Returns one text for logs and tickets, from which [`Principal::of_qualified_name`] reads the principal.
    pub fn qualified_name(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Anonymous => None,
            Self::Key(name) => Some(Cow::Borrowed(name)),
            Self::Subject { issuer, subject } => Some(Cow::Owned(format!("{issuer}{SEPARATOR}{subject}"))),
        }
    }

    pub fn of_qualified_name(name: &str) -> Self {
        match name.rsplit_once(SEPARATOR) {
            Some((issuer, subject)) => Self::Subject { issuer: issuer.into(), subject: subject.into() },
            None => Self::Key(name.into()),
        }
    }

    /// Returns the bytes of its texts.
    pub fn size(&self) -> usize {
        [self.issuer(), self.name()].into_iter().flatten().map(str::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualified_name_reads_as_the_same_principal() {
        for (principal, qualified) in [
            (Principal::Key("web".into()), "web"),
            (Principal::Subject { issuer: "https://id".into(), subject: "ann".into() }, "https://id\nann"),
        ] {
            assert_eq!(principal.qualified_name().as_deref(), Some(qualified));
            assert_eq!(Principal::of_qualified_name(qualified), principal);
        }
        assert_eq!(Principal::Anonymous.qualified_name(), None);
    }

    #[test]
    fn key_and_subject_with_the_same_name_are_two_principals() {
        let subject = Principal::Subject { issuer: "https://id".into(), subject: "ann".into() };
        assert_ne!(subject, Principal::Key("ann".into()));
        assert_eq!((subject.name(), subject.issuer()), (Some("ann"), Some("https://id")));
    }
}
