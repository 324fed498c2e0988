//! Chats: conversations of a front end that ask for the answer in progress by an id of their own.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Names a chat of a caller. The same id of two callers is two chats.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChatKey([u8; 32]);

/// Names what a request adds to its chat. Two requests of a chat with the same key are the same request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TurnKey([u8; 32]);

/// The place of a generation in a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatTurn {
    pub chat: ChatKey,
    /// `None` if a repeat of the request starts another generation.
    pub turn: Option<TurnKey>,
}

impl ChatKey {
    /// Returns the key of a chat with this id, which may contain any characters.
    pub fn of(id: &str) -> Self {
        Self(Sha256::digest(id).into())
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl TurnKey {
    /// Returns the key of a turn that these bytes determine.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads a key that was stored.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Prints no digest: the id of a chat can be a capability.
impl fmt::Debug for ChatKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChatKey")
    }
}

impl fmt::Debug for TurnKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TurnKey")
    }
}
