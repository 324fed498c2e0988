//! The generations of chats.

use std::sync::Arc;

use super::chat_end::ChatEnd;
use super::following::{FollowError, Following};
use super::service::Generations;
use super::start::StartError;
use crate::domain::{CancelReason, ChatKey, ChatTurn, EventPosition, GenerationId, Principal, Sequence, Start};
use crate::event_log::{ChatGeneration, ChatState, CreateError, LogUnavailable, NamedChat, TailState};

impl Generations {
    /// Returns what closes the chat of a generation; `None` if it has none.
    pub(super) fn chat_end(&self, start: &Arc<Start>) -> Option<ChatEnd> {
        let chat = start.chat?;
        let (log, tasks) = (Arc::clone(&self.0.log), self.0.tasks.clone());
        Some(ChatEnd { log, tasks, start: Arc::clone(start), chat })
    }

    /// Returns the generation of a chat.
    pub async fn chat(&self, principal: &Principal, chat: ChatKey) -> Result<Option<ChatGeneration>, FollowError> {
        Ok(self.0.log.chat(principal, chat).await?)
    }

    /// Closes a chat, if it still has this generation: a client that returns to it finds nothing to read.
    pub async fn close_chat(
        &self,
        principal: &Principal,
        chat: ChatKey,
        generation: GenerationId,
    ) -> Result<(), FollowError> {
        Ok(self.0.log.close_chat(principal, chat, generation).await?)
    }

    /// Follows the running generation of the same turn, if the chat has one.
    pub(super) async fn running_turn(
        &self,
        owner: &Principal,
        turn: Option<ChatTurn>,
    ) -> Result<Option<Following>, StartError> {
        let Some(ChatTurn { chat, turn: turn @ Some(_) }) = turn else { return Ok(None) };
        let known = self.0.log.chat(owner, chat).await.map_err(CreateError::from)?;
        let same = known.filter(|known| known.turn == turn && known.state == ChatState::Open);
        match same {
            Some(ChatGeneration { generation, .. }) => self.follow_running(owner, generation).await,
            None => Ok(None),
        }
    }

    /// Follows a generation that has not ended.
    async fn follow_running(&self, owner: &Principal, id: GenerationId) -> Result<Option<Following>, StartError> {
        if !self.runs(id).await.map_err(CreateError::from)? {
            return Ok(None);
        }
        match self.follow(owner, id, EventPosition::START).await {
            Ok(following) => Ok(Some(following)),
            Err(FollowError::LogUnavailable(unavailable)) => Err(CreateError::from(unavailable).into()),
            // It was erased meanwhile.
            Err(_) => Ok(None),
        }
    }

    /// Makes a generation whose log was just made the one of its chat. If the chat has a running one of the same turn, the
    /// log is removed, and that generation is followed instead. An earlier generation without a viewer is ended.
    pub(super) async fn enter_chat(
        &self,
        owner: &Principal,
        turn: ChatTurn,
        id: GenerationId,
    ) -> Result<Option<Following>, StartError> {
        let joined = self.join_turn(owner, turn, id).await;
        if !matches!(joined, Ok(None)) {
            _ = self.0.log.remove(id).await;
        }
        joined
    }

    async fn join_turn(
        &self,
        owner: &Principal,
        turn: ChatTurn,
        id: GenerationId,
    ) -> Result<Option<Following>, StartError> {
        let mut ended = None;
        loop {
            match self.0.log.name(owner, turn, id, ended).await.map_err(CreateError::from)? {
                NamedChat::New { earlier: None } => return Ok(None),
                NamedChat::New { earlier: Some(earlier) } => {
                    self.end_unviewed(earlier).await;
                    return Ok(None);
                }
                NamedChat::Same(same) => {
                    if let Some(following) = self.follow_running(owner, same).await? {
                        return Ok(Some(following));
                    }
                    ended = Some(same);
                }
            }
        }
    }

    /// Returns whether a generation has not ended.
    pub async fn is_running(&self, principal: &Principal, id: GenerationId) -> Result<bool, FollowError> {
        let log = self.open(principal, id, Sequence::START).await?;
        Ok(log.tail().await.is_ok_and(|tail| tail.state == TailState::Open))
    }

    async fn runs(&self, id: GenerationId) -> Result<bool, LogUnavailable> {
        let Some(log) = self.0.log.open(id, Sequence::START).await? else { return Ok(false) };
        Ok(log.tail().await.is_ok_and(|tail| tail.state == TailState::Open))
    }

    /// Ends a generation without a viewer now instead of at the end of its grace. If the log does not answer, the grace
    /// ends it.
    async fn end_unviewed(&self, id: GenerationId) {
        if self.0.log.shut_if_empty(id).await.unwrap_or(false) {
            _ = self.0.log.request_end(id, CancelReason::Abandoned).await;
        }
    }
}
