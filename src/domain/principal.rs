//! Who calls.

use std::sync::Arc;

/// The caller of a request: the owner of the generations it starts.
///
/// Somebody else's generation and one that was never there are the same to a principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Principal {
    /// Everybody, where nobody is authenticated: an id that cannot be guessed is the capability then,
    /// and nothing is listed.
    #[default]
    Anonymous,
    /// An authenticated caller, by the name of its key or its token's issuer and subject.
    Named(Arc<str>),
}

impl Principal {
    /// Returns the name, for logs.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Anonymous => None,
            Self::Named(name) => Some(name),
        }
    }
}
