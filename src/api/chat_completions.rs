//! OpenAI's chat completions: `/v1/chat/completions`.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::body::RequestBody;
use super::chat::new_generation;
use super::openapi::ChatCompletionBody;
use super::problem::{ErrorCode, FieldError, Problem};
use super::sse::{event_stream, name_generation};
use super::state::Api;
use super::wire::OpenAiChat;
use super::wire::openai_chat::{Completion, Ids};
use crate::domain::{Event, RequestId};
use crate::generation::{Following, NewGeneration};

/// Complete a chat, as OpenAI's API does.
///
/// Any OpenAI SDK works with `/v1` here as its base URL. With `"stream": true` the answer is chunks,
/// `[DONE]` last. The head is held back for the first token, at most `generation.head_wait`: until then
/// a failure is a status, after that an `error` in the stream, without `[DONE]`. The header
/// `Tokenrill-Generation` names the generation: the same chunks, with ids, are at
/// `GET /v1/generations/{id}/events?format=openai`.
///
/// Closing the connection stops the model, streaming or not.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    operation_id = "create_chat_completion",
    tag = "openai",
    request_body = ChatCompletionBody,
    responses(
        (status = 200, description = "The chunks, or the completion", content(("text/event-stream"), ("application/json")),
            headers(("Tokenrill-Generation" = String, description = "The generation's id"))),
    ),
)]
pub async fn create(State(api): State<Api>, request_id: RequestId, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let read = {
        let mut body = RequestBody::new(&head.headers, body, api.body);
        let read = read(&mut body, request_id).await;
        body.discard().await;
        read
    };
    let (delivery, new) = read?;
    let started = api.generations.start(new).await?;
    match delivery {
        Delivery::Stream => stream(&api, started.following).await,
        Delivery::Whole => whole(started.following).await,
    }
}

/// What a chat completion is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Stream,
    Whole,
}

async fn read(body: &mut RequestBody<'_>, request_id: RequestId) -> Result<(Delivery, NewGeneration), Problem> {
    let object = body.json_object().await?;
    let delivery = match object.get("stream") {
        Some(Value::Bool(true)) => Delivery::Stream,
        None | Some(Value::Bool(false) | Value::Null) => Delivery::Whole,
        Some(_) => return Err(field("/stream", "must be true or false")),
    };
    if object.contains_key("input") {
        return Err(field("/input", "is not a field of chat completions: send messages"));
    }
    Ok((delivery, new_generation(object, request_id)?))
}

fn field(pointer: &str, detail: &str) -> Problem {
    Problem::invalid(vec![FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() }])
}

async fn stream(api: &Api, mut following: Following) -> Result<Response, Problem> {
    // Reasoning models think longer than proxies wait: after a while the head leaves all the same, and
    // heartbeats begin.
    following.begun(api.head_wait).await.map_err(|failed| Problem::from(&*failed))?;
    let format = OpenAiChat { usage: following.start().usage, ids: Ids::Absent };
    Ok(event_stream(following, format, api.heartbeat))
}

async fn whole(mut following: Following) -> Result<Response, Problem> {
    let id = following.start().generation;
    let mut completion = Completion::default();
    while let Some(page) = following.next_page().await {
        for entry in page.map_err(|_| Problem::history_lost())? {
            match &entry.event {
                Event::Failed(failed) => return Err(Problem::from(&**failed)),
                Event::Cancelled(_) => return Err(cancelled()),
                Event::Start(_) | Event::Chunk(_) | Event::Done(_) => completion.apply(&entry),
            }
        }
    }
    let mut response = Json(completion.into_json()).into_response();
    name_generation(&mut response, id);
    Ok(response)
}

fn cancelled() -> Problem {
    Problem::new(ErrorCode::Cancelled, "The generation was cancelled before its end.")
}
