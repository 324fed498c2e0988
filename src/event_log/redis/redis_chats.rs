//! The generations of chats in Redis.
//!
//! The key of a chat is in another slot than the log of its generation, so it is written after the log is made, and
//! expires by itself.

use super::script;
use super::store::Store;
use crate::domain::{ChatKey, ChatTurn, GenerationId, Principal, TurnKey};
use crate::event_log::{ChatGeneration, ChatState, LogUnavailable, NamedChat};
use crate::redis_client::{CallError, PATIENCE, Patience, Reply, ScriptCall};

/// The fields `id`, `turn` and `closed`.
type StoredChat = (Option<String>, Option<Vec<u8>>, Option<String>);

pub async fn name(
    store: &Store,
    owner: &Principal,
    ChatTurn { chat, turn }: ChatTurn,
    (generation, ended): (GenerationId, Option<GenerationId>),
) -> Result<NamedChat, LogUnavailable> {
    let call = ScriptCall::new(&script::NAME_CHAT, [&store.keys.chat(owner, chat)])
        .arg(generation.to_string())
        .arg(turn.as_ref().map_or(&[][..], |turn| &turn.as_bytes()[..]))
        .arg(ended.map(|ended| ended.to_string()).unwrap_or_default())
        .millis(store.lifetime());
    let reply = send(store, &call).await?;
    let other = std::str::from_utf8(reply.bytes(1)).ok().and_then(|id| id.parse().ok());
    Ok(match (reply.code(), other) {
        ("same", Some(other)) => NamedChat::Same(other),
        (_, earlier) => NamedChat::New { earlier },
    })
}

/// The log of the generation may be gone already.
pub async fn chat(store: &Store, owner: &Principal, chat: ChatKey) -> Result<Option<ChatGeneration>, LogUnavailable> {
    let mut commands = redis::pipe();
    commands.cmd("HMGET").arg(store.keys.chat(owner, chat)).arg(&["id", "turn", "closed"]);
    let ((id, turn, closed),) = store.client.connection.send::<(StoredChat,)>(&commands).await?;
    let state = if closed.is_some() { ChatState::Closed } else { ChatState::Open };
    let turn = turn.and_then(|turn| TurnKey::from_bytes(&turn));
    Ok(id.and_then(|id| id.parse().ok()).map(|generation| ChatGeneration { generation, turn, state }))
}

pub async fn close(
    store: &Store,
    owner: &Principal,
    chat: ChatKey,
    generation: GenerationId,
) -> Result<(), LogUnavailable> {
    let call = ScriptCall::new(&script::CLOSE_CHAT, [&store.keys.chat(owner, chat)]).arg(generation.to_string());
    send(store, &call).await.map(drop)
}

/// Shuts a log to viewers if no process has one. Returns whether it is shut.
pub async fn shut_if_empty(store: &Store, generation: GenerationId) -> Result<bool, LogUnavailable> {
    let keys = store.keys.of(generation);
    let call = ScriptCall::new(&script::SHUT, [&keys.head, &keys.viewers]).number(0).number(0);
    Ok(send(store, &call).await?.code() != "wait")
}

async fn send(store: &Store, call: &ScriptCall) -> Result<Reply, LogUnavailable> {
    store.client.connection.call(call, Patience::For(PATIENCE)).await.map_err(|error| match error {
        CallError::Full => LogUnavailable,
        CallError::Unavailable(unavailable) => unavailable.into(),
    })
}
