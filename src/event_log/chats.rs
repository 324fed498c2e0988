//! The port that finds the generation of a chat.

use futures_util::future::BoxFuture;

use super::LogUnavailable;
use crate::domain::{ChatKey, ChatTurn, GenerationId, Principal, TurnKey};

/// Which generation each chat has (contract 17).
pub trait Chats: Send + Sync {
    /// Makes a generation, whose log is kept, the one of its owner's chat. If the chat has another one of the same turn,
    /// nothing changes, unless that is `ended`.
    fn name(
        &self,
        owner: &Principal,
        turn: ChatTurn,
        generation: GenerationId,
        ended: Option<GenerationId>,
    ) -> BoxFuture<'static, Result<NamedChat, LogUnavailable>>;

    /// Returns the generation of a chat, whose log may be gone.
    fn chat(
        &self,
        owner: &Principal,
        chat: ChatKey,
    ) -> BoxFuture<'static, Result<Option<ChatGeneration>, LogUnavailable>>;

    /// Closes a chat, if it still has this generation.
    fn close_chat(
        &self,
        owner: &Principal,
        chat: ChatKey,
        generation: GenerationId,
    ) -> BoxFuture<'static, Result<(), LogUnavailable>>;
}

/// The generation of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChatGeneration {
    pub generation: GenerationId,
    pub turn: Option<TurnKey>,
    pub state: ChatState,
}

/// Whether a chat has anything for a client that returns to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatState {
    Open,
    /// Its answer was stopped, or read to its end.
    Closed,
}

/// What [`Chats::name`] has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedChat {
    /// The chat has the new generation now. It had `earlier` before.
    New { earlier: Option<GenerationId> },
    /// The chat has a generation of the same turn.
    Same(GenerationId),
}
