//! The ports of the logs in Redis beside the logs themselves: requests to end, viewers, chats.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::super::redis_chats;
use super::RedisLogs;
use crate::domain::{CancelReason, ChatKey, ChatTurn, GenerationId, Principal};
use crate::event_log::{
    ChatGeneration, Chats, Control, GenerationEnded, LogUnavailable, NamedChat, ViewerLease, ViewerPresence,
};

impl Control for RedisLogs {
    fn request_end(
        &self,
        generation: GenerationId,
        reason: CancelReason,
    ) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        let logs = Arc::clone(&self.0);
        async move { logs.request_end(generation, reason).await }.boxed()
    }

    fn end_requested(&self, generation: GenerationId) -> BoxFuture<'static, CancelReason> {
        match self.0.owned.get(generation) {
            Some(owned) => async move { owned.end_requested().await }.boxed(),
            None => pending().boxed(),
        }
    }
}

impl ViewerPresence for RedisLogs {
    fn join(&self, generation: GenerationId) -> BoxFuture<'static, Result<ViewerLease, GenerationEnded>> {
        let viewers = self.0.viewers.clone();
        async move { viewers.join(generation).await.map(ViewerLease::new) }.boxed()
    }

    fn shut_when_empty(&self, generation: GenerationId, grace: Duration) -> BoxFuture<'static, ()> {
        let logs = Arc::clone(&self.0);
        async move { logs.shut_when_empty(generation, grace).await }.boxed()
    }
    fn shut_if_empty(&self, generation: GenerationId) -> BoxFuture<'static, Result<bool, LogUnavailable>> {
        let logs = Arc::clone(&self.0);
        async move { redis_chats::shut_if_empty(&logs.store, generation).await }.boxed()
    }
}

impl Chats for RedisLogs {
    fn name(
        &self,
        owner: &Principal,
        turn: ChatTurn,
        generation: GenerationId,
        ended: Option<GenerationId>,
    ) -> BoxFuture<'static, Result<NamedChat, LogUnavailable>> {
        let (logs, owner) = (Arc::clone(&self.0), owner.clone());
        async move { redis_chats::name(&logs.store, &owner, turn, (generation, ended)).await }.boxed()
    }

    fn chat(
        &self,
        owner: &Principal,
        chat: ChatKey,
    ) -> BoxFuture<'static, Result<Option<ChatGeneration>, LogUnavailable>> {
        let (logs, owner) = (Arc::clone(&self.0), owner.clone());
        async move { redis_chats::chat(&logs.store, &owner, chat).await }.boxed()
    }

    fn close_chat(
        &self,
        owner: &Principal,
        chat: ChatKey,
        generation: GenerationId,
    ) -> BoxFuture<'static, Result<(), LogUnavailable>> {
        let (logs, owner) = (Arc::clone(&self.0), owner.clone());
        async move { redis_chats::close(&logs.store, &owner, chat, generation).await }.boxed()
    }
}
