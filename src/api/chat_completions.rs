//! OpenAI's chat completions: `/v1/chat/completions`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::value::RawValue;

use super::allowance;
use super::body::RequestBody;
use super::chat::new_generation;
use super::connection::Connection;
use super::extract::{Caller, grace_header, idempotency_key};
use super::openapi::ChatCompletionBody;
use super::problem::{ErrorCode, FieldError, Problem};
use super::refusal::Dialect;
use super::sse::{event_stream, name_generation};
use super::start::{start_or_join, tell_origin};
use super::state::Api;
use super::wire::OpenAiChat;
use super::wire::openai_chat::{Completion, Ids, usage_json};
use crate::domain::{Done, Event, TokenSource};
use crate::generation::{Delivery, Following, Started};
use crate::json::JsonObject;
use crate::limits::Patience;

/// Complete a chat, as OpenAI's API does.
///
/// Any OpenAI SDK works with `/v1` here as its base URL. With `"stream": true` the answer is chunks,
/// `[DONE]` last. The head is held back for the first token, at most `generation.head_wait`: until then
/// a failure is a status, after that an `error` in the stream, without `[DONE]`. The header
/// `Tokenrill-Generation` names the generation: the same chunks, with ids, are at
/// `GET /v1/generations/{id}/events?format=openai`.
///
/// Closing the connection stops the model, streaming or not, unless a grace is asked for: by the field
/// `grace_ms` or the header. A request with an `Idempotency-Key` that has been used is answered by the
/// generation that it started, from the beginning, as long as that is kept.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    operation_id = "create_chat_completion",
    tag = "openai",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A name of the caller's choice for this request, so that a repeat starts nothing: 1 to 255 visible ASCII characters"),
        ("Tokenrill-Grace-Ms" = Option<String>, Header, description = "As the field `grace_ms`, which wins over it"),
    ),
    request_body = ChatCompletionBody,
    responses(
        (status = 200, description = "The chunks, or the completion", content(("text/event-stream"), ("application/json")),
            headers(("Tokenrill-Generation" = String, description = "The generation's id"))),
    ),
)]
pub async fn create(State(api): State<Api>, caller: Caller, request: Request) -> Response {
    let mut model = None;
    complete(&api, &caller, request, &mut model).await.unwrap_or_else(|problem| {
        let mut response = problem.into_response();
        allowance::tell(&mut response, &api, &caller, model.as_deref(), Dialect::OpenAi);
        response
    })
}

/// Notes the model, once it is known.
async fn complete(
    api: &Api,
    caller: &Caller,
    request: Request,
    model: &mut Option<String>,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let started = {
        let mut body = RequestBody::new(&head.headers, body, api.body);
        let started = start(api, caller, &head.headers, &mut body).await;
        body.discard().await;
        started
    };
    let (delivery, connection, Started { following, origin }) = started?;
    let start = Arc::clone(following.start());
    *model = Some(start.model.clone());
    let told = |mut response: Response| {
        tell_origin(&mut response, origin);
        allowance::tell(&mut response, api, caller, Some(&start.model), Dialect::OpenAi);
        response
    };
    match delivery {
        Delivery::Stream => {
            // One that joins what was there comes back; where the oldest makes room, nobody is refused.
            let connection = connection.map_or_else(|| api.connect(caller, origin.into()), Ok)?;
            // Reasoning models think longer than proxies wait: after a while the head leaves all the same, and
            // heartbeats begin.
            let begun = following.begun(api.head_wait);
            // While the model is asked.
            let format = OpenAiChat { usage: start.usage, ids: Ids::Absent };
            let response = told(event_stream(api.stream(following, format, connection)));
            begun.await.map_err(|failed| Problem::from(&*failed))?;
            Ok(response)
        }
        Delivery::Whole => {
            let mut response = whole(following).await?;
            name_generation(&mut response, start.generation);
            Ok(told(response))
        }
    }
}

async fn start(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    body: &mut RequestBody<'_>,
) -> Result<(Delivery, Option<Connection>, Started), Problem> {
    let (key, grace) = (idempotency_key(headers)?, grace_header(headers)?);
    let body = body.json().await?;
    let fields = body.request()?;
    let delivery = delivery(&fields)?;
    let mut connection = None;
    let started = start_or_join(api, caller, "/v1/chat/completions", key, &body, || {
        if fields.get("input").is_some() {
            return Err(field("/input", "is not a field of chat completions: send messages"));
        }
        let mut asked = new_generation(fields, Dialect::OpenAi, caller)?;
        let new = &mut asked.generation;
        // A channel's subscribers read the tokens as they come.
        new.delivery = if asked.channel.is_some() { Delivery::Stream } else { delivery };
        // SDKs have no other stop than to close the connection.
        new.grace = new.grace.or(grace).or(Some(Duration::ZERO));
        // Nor would they understand a line: they wait as a refusal says.
        if new.patience == (Patience::Waits { at_most: None }) {
            new.patience = Patience::Refuses;
        }
        if delivery == Delivery::Stream {
            connection = api.connect_first(caller)?;
        }
        Ok(asked)
    });
    let started = started.await?;
    Ok((delivery, connection, started))
}

fn delivery(fields: &JsonObject) -> Result<Delivery, Problem> {
    match fields.get("stream") {
        Some("true") => Ok(Delivery::Stream),
        None | Some("false" | "null") => Ok(Delivery::Whole),
        Some(_) => Err(field("/stream", "must be true or false")),
    }
}

fn field(pointer: &str, detail: &str) -> Problem {
    Problem::invalid(vec![FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() }])
}

async fn whole(mut following: Following) -> Result<Response, Problem> {
    let mut completion = Completion::default();
    while let Some(page) = following.next_page().await {
        let page = page.map_err(|_| Problem::history_lost())?;
        // A terminal event is always the last entry of its page.
        match page.last().map(|entry| &entry.event) {
            Some(Event::Failed(failed)) => return Err(Problem::from(&**failed)),
            Some(Event::Cancelled(_)) => return Err(cancelled()),
            // Contains the whole answer: the chunks before it need not be merged.
            Some(Event::Done(done)) if done.trailer.completion_json.is_some() => return Ok(json(as_it_came(done))),
            _ => page.iter().for_each(|entry| completion.apply(entry)),
        }
    }
    Ok(json(completion.into_json()))
}

fn json(completion: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, "application/json")], completion.into()).into_response()
}

/// Returns the completion byte for byte, except for a usage that the upstream did not report.
fn as_it_came(done: &Done) -> String {
    let completion = done.trailer.completion_json.as_deref().unwrap_or_default();
    if done.usage.source == TokenSource::Provider {
        return completion.to_owned();
    }
    match (JsonObject::parse(completion.as_bytes()), RawValue::from_string(usage_json(done))) {
        (Ok(mut members), Ok(usage)) => {
            members.insert("usage", usage);
            members.to_json()
        }
        _ => completion.to_owned(),
    }
}

fn cancelled() -> Problem {
    Problem::new(ErrorCode::Cancelled, "The generation was cancelled before its end.")
}
