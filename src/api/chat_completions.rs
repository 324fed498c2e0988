//! OpenAI's chat completions: `/v1/chat/completions`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;

use super::allowance;
use super::body::RequestBody;
use super::caller::Caller;
use super::connection::Connection;
use super::connection_record::ConnectionKind;
use super::extract::grace_header;
use super::held_json::held_json;
use super::openapi::ChatCompletionBody;
use super::problem::{ErrorCode, FieldError, Problem};
use super::refusal::Dialect;
use super::sse::{event_stream, name_generation};
use super::start::{self, AdmittedRequest, AttachedGeneration, insert_attached};
use super::state::Api;
use super::wire::openai_chat::encoder::{BlockIds, ChatEncoder};
use super::wire::openai_chat::{Completion, usage_json};
use crate::domain::{Done, Event, TokenSource};
use crate::generation::{Delivery, Following};
use crate::json::JsonObject;
use crate::limits::WaitPolicy;

/// Complete a chat, as OpenAI's API does.
///
/// Any OpenAI SDK works with `/v1` of this service as its base URL. With `"stream": true` the response is a stream of
/// chunks that ends with `[DONE]`. The service sends the response head with the first token, or after
/// `generation.head_wait`. A failure before the head is a status; a later one is an `error` in the stream, without
/// `[DONE]`. The header `Tokenrill-Generation` contains the generation's id: the same chunks, with ids, are at
/// `GET /v1/generations/{id}/events?format=openai`.
///
/// Closing the connection stops the model, streaming or not, unless the request sets a grace by the field `grace_ms` or
/// the header. A request with a used `Idempotency-Key` receives the answer of the generation that the key started, from
/// the beginning, as long as that is kept.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    operation_id = "create_chat_completion",
    tag = "openai",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A unique key for this request, so that a retry starts no second generation: 1 to 255 visible ASCII characters"),
        ("Tokenrill-Grace-Ms" = Option<String>, Header, description = "Same as the field `grace_ms`, which takes precedence"),
    ),
    request_body = ChatCompletionBody,
    responses(
        (status = 200, description = "The chunks, or the completion", content(("text/event-stream"), ("application/json")),
            headers(("Tokenrill-Generation" = String, description = "The generation's id"))),
    ),
)]
pub async fn create(State(api): State<Api>, caller: Caller, request: Request) -> Response {
    complete(&api, &caller, request).await.unwrap_or_else(|problem| {
        let mut response = api.refuse(&caller, problem);
        allowance::insert_headers(&mut response, &api, &caller, None, Dialect::OpenAi);
        response
    })
}

async fn complete(api: &Api, caller: &Caller, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let attached = {
        let mut body = RequestBody::new(&head.headers, body, api.body);
        let attached = start(api, caller, &head.headers, &mut body).await;
        body.discard(api, caller).await;
        attached
    };
    let (delivery, AttachedGeneration { mut following, origin, connection }) = attached?;
    // Always present here, because `start` passes a connection kind.
    let Some(connection) = connection else { return Err(displaced()) };
    let start = Arc::clone(following.start());
    let with_headers = |mut response: Response| {
        insert_attached(&mut response, origin);
        allowance::insert_headers(&mut response, api, caller, Some(&start.model), Dialect::OpenAi);
        response
    };
    match delivery {
        Delivery::Stream => {
            // Reasoning models think for longer than proxies wait. After `head_wait` the head is sent without a first
            // token, and heartbeats start.
            let begun = following.wait_for_first_chunk(api.head_wait);
            // Builds the response while the upstream request is in flight.
            let encoder = ChatEncoder::new(Arc::clone(&start), BlockIds::Absent);
            let response = with_headers(event_stream(api.stream(following, encoder, connection)));
            begun.await.map_err(|failed| Problem::from(&*failed))?;
            Ok(response)
        }
        Delivery::Whole => {
            tokio::select! {
                biased;
                () = following.ended() => {}
                () = connection.closed() => return Err(displaced()),
            }
            let mut response = completion(api, caller, following, connection).await?;
            name_generation(&mut response, start.generation);
            Ok(with_headers(response))
        }
    }
}

async fn start(
    api: &Api,
    caller: &Caller,
    headers: &HeaderMap,
    body: &mut RequestBody<'_>,
) -> Result<(Delivery, AttachedGeneration), Problem> {
    let grace = grace_header(headers)?;
    let mut admitted = AdmittedRequest::admit(api, caller, headers).await?;
    let json = admitted.read(body, api, caller).await?;
    let fields = start::parse(api, &json).await?;
    let delivery = delivery(&fields)?;
    let connection = body.take_connection();
    let mut pending = admitted.with_body("/v1/chat/completions", &json, connection, Some(kind(delivery)));
    drop(json);
    if let Some(attached) = start::join(api, caller, &mut pending).await? {
        return Ok((delivery, attached));
    }
    if fields.get("input").is_some() {
        return Err(field("/input", "is not a field of chat completions: send messages"));
    }
    let mut parsed = start::check(api, caller, fields, Dialect::OpenAi).await?;
    let new = &mut parsed.generation;
    // Subscribers of a channel read the tokens as they arrive.
    new.delivery = if parsed.channel.is_some() { Delivery::Stream } else { delivery };
    // SDKs can stop a generation only by closing the connection.
    new.grace = new.grace.or(grace).or(Some(Duration::ZERO));
    // SDKs do not know `queued` events. A refusal makes them wait for its `Retry-After`.
    if new.wait_policy == (WaitPolicy::Waits { at_most: None }) {
        new.wait_policy = WaitPolicy::Refuses;
    }
    Ok((delivery, start::start(api, caller, parsed, pending).await?))
}

const fn kind(delivery: Delivery) -> ConnectionKind {
    match delivery {
        Delivery::Stream => ConnectionKind::Stream,
        Delivery::Whole => ConnectionKind::Wait,
    }
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

/// Responds with the completion of a generation that has ended.
async fn completion(
    api: &Api,
    caller: &Caller,
    mut following: Following,
    connection: Connection,
) -> Result<Response, Problem> {
    let mut completion = Completion::default();
    while let Some(page) = following.next_page().await {
        let page = page.map_err(|_| Problem::history_lost())?;
        // A terminal event is always the last entry of its page.
        match page.last().map(|entry| &entry.event) {
            Some(Event::Failed(failed)) => return Err(Problem::from(&**failed)),
            Some(Event::Cancelled(_)) => return Err(cancelled()),
            // Contains the whole answer: the chunks before it need not be merged.
            Some(Event::Done(done)) if done.trailer.completion_json.is_some() => {
                return Ok(json(api, caller, original_completion(done), connection));
            }
            _ => page.iter().for_each(|entry| completion.apply(entry)),
        }
    }
    Ok(json(api, caller, vec![completion.into_json().into()], connection))
}

/// Builds the response with a completion. It counts as a connection while it is sent, and as memory of its caller. If
/// the caller's memory is used up it does not count: the answer was billed, so it is not refused.
fn json(api: &Api, caller: &Caller, completion: Vec<Bytes>, connection: Connection) -> Response {
    let length: usize = completion.iter().map(Bytes::len).sum();
    held_json(completion, (connection, api.body_memory.hold(&caller.spender.account, length).ok()))
}

/// The completion of a log entry, shared with the log.
struct LoggedCompletion(Arc<str>);

impl AsRef<[u8]> for LoggedCompletion {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Returns the upstream's completion byte for byte and without copying it. If the upstream reported no usage, inserts
/// the counted one.
fn original_completion(done: &Done) -> Vec<Bytes> {
    let Some(text) = &done.trailer.completion_json else { return Vec::new() };
    let whole = Bytes::from_owner(LoggedCompletion(Arc::clone(text)));
    if done.usage.source == TokenSource::Provider {
        return vec![whole];
    }
    let usage = usage_json(done);
    match JsonObject::from_text(Arc::new(Arc::clone(text))) {
        Ok(members) => with_usage(&members, &whole, usage),
        Err(_) => vec![whole],
    }
}

/// Returns the members of a completion, with `usage` replaced in its position or appended.
fn with_usage(members: &JsonObject, whole: &Bytes, usage: String) -> Vec<Bytes> {
    let (mut pieces, mut usage) = (Vec::new(), Some(usage));
    let name =
        |at: usize, name: &str| Bytes::from(format!("{}{}:", if at == 0 { '{' } else { ',' }, Value::from(name)));
    for (at, (member, json)) in members.iter().enumerate() {
        pieces.push(name(at, member));
        pieces.push(match usage.take_if(|_| member == "usage") {
            Some(usage) => usage.into(),
            None => whole.slice_ref(json.as_bytes()),
        });
    }
    if let Some(usage) = usage {
        pieces.extend([name(members.len(), "usage"), usage.into()]);
    }
    pieces.push(Bytes::from_static(b"}"));
    pieces
}

fn cancelled() -> Problem {
    Problem::new(ErrorCode::Cancelled, "The generation was cancelled before its end.")
}

/// Not an error that clients retry by themselves: the upstream was called, and its tokens may be billed.
fn displaced() -> Problem {
    let detail = "The service ended this request to make room for those of other callers. The model was stopped.";
    Problem::new(ErrorCode::Cancelled, detail)
}
