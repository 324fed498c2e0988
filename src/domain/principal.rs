//! The caller of a request.

use std::sync::Arc;

/// The caller of a request: the owner of the generations it starts.
///
/// A principal cannot distinguish another caller's generation from one that never existed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Principal {
    /// Every caller, if the service does not authenticate. The unguessable id of a generation is then the capability,
    /// and generations are not listed.
    #[default]
    Anonymous,
    /// An authenticated caller: the name of its key, or its token's issuer and subject.
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
