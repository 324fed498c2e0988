//! The chat of a page that returns: `/v1/ui/chat/{chat_id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::encoder::UiEncoder;
use super::held_parts::held_parts;
use super::request::{LONGEST_ID, check_chat_id};
use super::stream_head;
use super::ui_message::UiMessage;
use super::ui_notes::{continued_message, messages_of};
use super::whole::assistant_message;
use crate::api::caller::Caller;
use crate::api::connection_record::ConnectionKind;
use crate::api::connections::Arrival;
use crate::api::held_json::json_response;
use crate::api::problem::{ErrorCode, FieldError, Problem};
use crate::api::sse::event_stream;
use crate::api::state::Api;
use crate::domain::{ChatKey, EventPosition, GenerationId, Start};
use crate::generation::{ChatGeneration, ChatState, FollowError};
use crate::telemetry::ResumedBy;

/// The id of the chat in the path, which may hold any characters.
pub struct ChatPath(String);

impl<S: Send + Sync> FromRequestParts<S> for ChatPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let chat = path.ok().map(|Path(chat)| chat).filter(|chat| !chat.is_empty() && chat.len() <= LONGEST_ID);
        let detail = format!("must be the id of the chat, a text of at most {LONGEST_ID} bytes");
        chat.map(Self).ok_or_else(|| Problem::invalid(vec![FieldError { pointer: "/chat_id".to_owned(), detail }]))
    }
}

/// The messages of a chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UiChat {
    /// The id of the chat.
    pub id: String,
    /// UI messages of the AI SDK: those of the last request, and the answer so far. Empty if the chat is unknown.
    #[schema(value_type = Vec<Object>)]
    pub messages: Vec<Value>,
    /// Whether an answer is being written.
    pub active: bool,
}

/// Whether a stop found an answer to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UiStop {
    /// The id of the chat.
    pub id: String,
    /// Whether an answer was being written.
    pub stopped: bool,
}

/// Resume a chat.
///
/// What `useChat({ resume: true })` requests: the stream of the answer that is being written, from its beginning. The
/// parts of a message that the answer continues precede it. An answer whose end was sent to no client is replayed once.
/// `204`: there is nothing to resume.
#[utoipa::path(
    get,
    path = "/v1/ui/chat/{chat_id}/stream",
    operation_id = "resume_ui_chat",
    tag = "ai-sdk",
    params(("chat_id" = String, Path, description = "The id of the chat", min_length = 1, max_length = 512, example = "chat_0123456789abcdef")),
    responses(
        (status = 200, description = "The stream", content(("text/event-stream")),
            headers(("Tokenrill-Generation" = String, description = "The generation's id"))),
        (status = 204, description = "No answer is being written, and the last one was read"),
    ),
)]
pub async fn resume(State(api): State<Api>, caller: Caller, ChatPath(chat): ChatPath) -> Result<Response, Problem> {
    check_chat_id(&caller, &chat)?;
    let Some(generation) = open_generation(&api, &caller, &chat).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let following = match api.generations.follow(&caller.principal, generation, EventPosition::START).await {
        Ok(following) => following,
        Err(FollowError::NotFound) => return Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error) => return Err(error.into()),
    };
    let connection = api.connect(&caller, Arrival::Reconnecting, ConnectionKind::Stream)?;
    api.metrics.resumed(ResumedBy::Chat);
    let start = following.start().clone();
    let encoder = UiEncoder::after_parts(start.clone(), continued_parts(&api, &start).await?);
    let mut response = event_stream(api.stream(following, encoder, connection));
    stream_head::mark(response.headers_mut());
    Ok(response)
}

/// Stop a chat.
///
/// Stops the answer that is being written: its readers get `abort`, and the model stops at once. `200` also if there is
/// none. `useChat().stop()` only closes its connection, so that the model stops when the grace ends.
#[utoipa::path(
    post,
    path = "/v1/ui/chat/{chat_id}/stop",
    operation_id = "stop_ui_chat",
    tag = "ai-sdk",
    params(("chat_id" = String, Path, description = "The id of the chat", min_length = 1, max_length = 512, example = "chat_0123456789abcdef")),
    responses((status = 200, description = "No answer is being written any more", body = UiStop)),
)]
pub async fn stop(State(api): State<Api>, caller: Caller, ChatPath(chat): ChatPath) -> Result<Json<UiStop>, Problem> {
    check_chat_id(&caller, &chat)?;
    let mut stopped = false;
    if let Some(generation) = open_generation(&api, &caller, &chat).await? {
        stopped = is_running(&api, &caller, generation).await?;
        // First, so that a page that returns meanwhile finds nothing to resume.
        api.generations.close_chat(&caller.principal, ChatKey::of(&chat), generation).await?;
        match api.generations.stop(&caller.principal, generation).await {
            Ok(_) | Err(FollowError::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Json(UiStop { id: chat, stopped }))
}

/// Read a chat.
///
/// The messages of the chat's last request with its answer, for a page that does not keep them itself. They are kept as
/// long as the generation. Refused without authentication, unless the service is reachable only from its own machine.
#[utoipa::path(
    get,
    path = "/v1/ui/chat/{chat_id}",
    operation_id = "read_ui_chat",
    tag = "ai-sdk",
    params(("chat_id" = String, Path, description = "The id of the chat", min_length = 1, max_length = 512, example = "chat_0123456789abcdef")),
    responses((status = 200, description = "The chat", body = UiChat)),
)]
pub async fn show(State(api): State<Api>, caller: Caller, ChatPath(chat): ChatPath) -> Result<Response, Problem> {
    if caller.is_anyone() {
        let detail = "Without authentication, the messages of a chat cannot be read. Set auth.mode and send a key.";
        return Err(Problem::new(ErrorCode::Forbidden, detail));
    }
    let (messages, active) = match api.generations.chat(&caller.principal, ChatKey::of(&chat)).await? {
        Some(ChatGeneration { generation, .. }) => messages(&api, &caller, generation).await?,
        None => (Vec::new(), false),
    };
    json_response(&api, &caller, &UiChat { id: chat, messages, active }, None)
}

/// Returns the generation that a page may resume or stop.
async fn open_generation(api: &Api, caller: &Caller, chat: &str) -> Result<Option<GenerationId>, Problem> {
    let known = api.generations.chat(&caller.principal, ChatKey::of(chat)).await?;
    Ok(known.filter(|known| known.state == ChatState::Open).map(|known| known.generation))
}

async fn is_running(api: &Api, caller: &Caller, generation: GenerationId) -> Result<bool, Problem> {
    match api.generations.is_running(&caller.principal, generation).await {
        Err(FollowError::NotFound) => Ok(false),
        running => Ok(running?),
    }
}

/// Returns the parts that the message of a generation held before.
async fn continued_parts(api: &Api, start: &Arc<Start>) -> Result<Vec<Value>, Problem> {
    if continued_message(start).is_none() {
        return Ok(Vec::new());
    }
    let messages = kept_messages(api, start).await?.unwrap_or_default();
    Ok(messages.last().map(held_parts).unwrap_or_default())
}

/// Returns the UI messages of a generation's request; `None` if another wire has started it.
async fn kept_messages(api: &Api, start: &Arc<Start>) -> Result<Option<Vec<Value>>, Problem> {
    let kept = Arc::clone(start);
    api.large_bodies.run(start.notes_size(), move || Ok(messages_of(&kept))).await
}

/// Returns the messages of a generation's request with its answer, and whether more of the answer follows.
async fn messages(api: &Api, caller: &Caller, generation: GenerationId) -> Result<(Vec<Value>, bool), Problem> {
    let state = match api.generations.inspect(&caller.principal, generation).await {
        Ok(state) => state,
        Err(FollowError::NotFound) => return Ok((Vec::new(), false)),
        Err(error) => return Err(error.into()),
    };
    let (mut answer, mut active) = (UiMessage::default(), true);
    state
        .each_entry(|entry| {
            answer.apply(entry);
            active &= !entry.event.is_terminal();
        })
        .await
        .map_err(|_| Problem::history_lost())?;
    let Some(mut messages) = kept_messages(api, state.start()).await? else { return Ok((Vec::new(), active)) };
    let parts = answer.into_parts();
    let continued = messages.last_mut().filter(|_| continued_message(state.start()).is_some());
    match continued.and_then(|message| message.get_mut("parts")).and_then(Value::as_array_mut) {
        Some(held) => held.extend(parts),
        None => messages.push(assistant_message(state.start(), &parts)),
    }
    Ok((messages, active))
}
