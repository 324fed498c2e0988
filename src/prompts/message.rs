//! The messages that a prompt renders to.

use std::fmt;

/// One message of a chat.
#[derive(Clone, PartialEq, Eq)]
pub struct PromptMessage {
    pub role: Role,
    pub content: String,
}

/// The role of a message's author.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    System,
    User,
    Assistant,
}

impl Role {
    pub(super) const ALL: [Self; 3] = [Self::System, Self::User, Self::Assistant];

    /// Returns the name in requests and in section headings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// Prints the length only, since a message may contain secrets.
impl fmt::Debug for PromptMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PromptMessage({}, {} bytes)", self.role.name(), self.content.len())
    }
}
