//! Responses that are kept: `/v1/responses/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::encoder::ResponsesEncoder;
use super::response_id::{ItemId, generation_of_response, response_id};
use super::response_notes::ResponseInput;
use super::stored_response::StoredResponse;
use crate::api::caller::Caller;
use crate::api::connection_record::ConnectionKind;
use crate::api::connections::Arrival;
use crate::api::held_json::json_response;
use crate::api::problem::Problem;
use crate::api::query::{ApiQuery, PageLimit, QueryParameters};
use crate::api::sse::event_stream;
use crate::api::state::Api;
use crate::api::state_response::respond_in_pieces;
use crate::api::wire::encoder::{BlockIds, Encoder as _};
use crate::domain::{Epoch, EventPosition, GenerationId};
use crate::generation::GenerationState;
use crate::telemetry::ResumedBy;

/// The response in the path. A malformed id is refused like an unknown one.
pub struct ResponsePath(GenerationId);

impl<S: Send + Sync> FromRequestParts<S> for ResponsePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let id = path.ok().and_then(|Path(text)| generation_of_response(&text));
        id.map(Self).ok_or_else(Problem::generation_not_found)
    }
}

/// The query of a response.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RetrieveQuery {
    /// `true`: the response is the stream of its events
    #[serde(default)]
    stream: Option<bool>,
    /// The `sequence_number` after which the stream begins; only with `stream`
    #[serde(default)]
    starting_after: Option<u64>,
}

impl QueryParameters for RetrieveQuery {
    const IGNORED: &'static [&'static str] = &["include", "include[]", "include_obfuscation"];

    fn accepted() -> String {
        "stream and starting_after".to_owned()
    }
}

/// The query of a list of input items.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ItemsQuery {
    /// The most items
    #[serde(default)]
    #[param(inline)]
    limit: PageLimit<20, 100>,
    /// `asc`: oldest first, or `desc`, which is the default
    #[serde(default)]
    #[param(inline)]
    order: Option<ItemOrder>,
    /// The id of the item after which the list begins
    #[serde(default)]
    after: Option<String>,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ItemOrder {
    Asc,
    Desc,
}

impl QueryParameters for ItemsQuery {
    const IGNORED: &'static [&'static str] = &["include", "include[]"];

    fn accepted() -> String {
        "limit, order (asc or desc) and after".to_owned()
    }
}

/// A response that was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeletedResponse {
    #[schema(example = "resp_AAAAAAAAAAAAAAAAAAAAAA")]
    pub id: String,
    /// `response`.
    pub object: String,
    pub deleted: bool,
}

/// Retrieve a response.
///
/// Returns the response as it stands. With `stream=true` its events are sent from the beginning, or after
/// `starting_after`, and then each new one; they have the numbers of the first stream.
#[utoipa::path(
    get,
    path = "/v1/responses/{id}",
    operation_id = "retrieve_response",
    tag = "openai",
    params(("id" = String, Path, description = "The response's id", example = "resp_AAAAAAAAAAAAAAAAAAAAAA"), RetrieveQuery),
    responses((status = 200, description = "The response, or its events", content(("application/json"), ("text/event-stream")))),
)]
pub async fn retrieve(
    State(api): State<Api>,
    caller: Caller,
    ApiQuery(RetrieveQuery { stream, starting_after }): ApiQuery<RetrieveQuery>,
    ResponsePath(id): ResponsePath,
) -> Result<Response, Problem> {
    if stream != Some(true) {
        let response = StoredResponse::load(&api, &caller.principal, id).await?;
        return respond_in_pieces(&api, &caller, response.json(), None).await;
    }
    if let Some(number) = starting_after {
        check_number(&api.generations.inspect(&caller.principal, id).await?, number).await?;
    }
    let following = api.generations.follow(&caller.principal, id, EventPosition::START).await?;
    let arrival = if starting_after.is_some() { Arrival::Reconnecting } else { Arrival::New };
    let connection = api.connect(&caller, arrival, ConnectionKind::Stream)?;
    let start = following.start().clone();
    let encoder = match starting_after {
        Some(number) => {
            api.metrics.resumed(ResumedBy::After);
            ResponsesEncoder::starting_after(start, number)
        }
        None => ResponsesEncoder::new(start, BlockIds::Absent),
    };
    Ok(event_stream(api.stream(following, encoder, connection)))
}

/// Refuses the number of an event that may be lost. After another process took the generation over, the log has other
/// events under the numbers that follow.
async fn check_number(log: &GenerationState, number: u64) -> Result<(), Problem> {
    if log.position().epoch == Epoch::FIRST {
        return Ok(());
    }
    let mut encoder = ResponsesEncoder::new(Arc::clone(log.start()), BlockIds::Absent);
    let mut first_unknown = None;
    let read = log.each_entry(|entry| {
        if entry.epoch != Epoch::FIRST {
            first_unknown.get_or_insert(encoder.next_number());
        }
        encoder.skip(entry);
    });
    read.await.map_err(|_| Problem::history_lost())?;
    if first_unknown.is_some_and(|first| number >= first) { Err(Problem::history_lost()) } else { Ok(()) }
}

/// Cancel a response.
///
/// Stops the model, in the background or not. A response that has ended does not change.
#[utoipa::path(
    post,
    path = "/v1/responses/{id}/cancel",
    operation_id = "cancel_response",
    tag = "openai",
    params(("id" = String, Path, description = "The response's id", example = "resp_AAAAAAAAAAAAAAAAAAAAAA")),
    responses((status = 200, description = "The response, after the stop", content(("application/json")))),
)]
pub async fn cancel(
    State(api): State<Api>,
    caller: Caller,
    ResponsePath(id): ResponsePath,
) -> Result<Response, Problem> {
    let state = api.generations.stop(&caller.principal, id).await?;
    respond_in_pieces(&api, &caller, StoredResponse::read(state).await?.json(), None).await
}

/// Delete a response.
///
/// Stops it and erases it. Every later request for it is `404`.
#[utoipa::path(
    delete,
    path = "/v1/responses/{id}",
    operation_id = "delete_response",
    tag = "openai",
    params(("id" = String, Path, description = "The response's id", example = "resp_AAAAAAAAAAAAAAAAAAAAAA")),
    responses((status = 200, description = "Erased", body = DeletedResponse)),
)]
pub async fn delete(
    State(api): State<Api>,
    caller: Caller,
    ResponsePath(id): ResponsePath,
) -> Result<Json<DeletedResponse>, Problem> {
    api.generations.erase(&caller.principal, id).await?;
    Ok(Json(DeletedResponse { id: response_id(id), object: "response".to_owned(), deleted: true }))
}

/// List the input items of a response.
///
/// The items of the request alone, newest first unless `order` is `asc`, each with an id of this list. Those of responses
/// that it continued are with these. In place of a reference there is the item that it names.
#[utoipa::path(
    get,
    path = "/v1/responses/{id}/input_items",
    operation_id = "list_response_input_items",
    tag = "openai",
    params(("id" = String, Path, description = "The response's id", example = "resp_AAAAAAAAAAAAAAAAAAAAAA"), ItemsQuery),
    responses((status = 200, description = "The items", content(("application/json")))),
)]
pub async fn input_items(
    State(api): State<Api>,
    caller: Caller,
    ApiQuery(ItemsQuery { limit, order, after }): ApiQuery<ItemsQuery>,
    ResponsePath(id): ResponsePath,
) -> Result<Response, Problem> {
    let state = api.generations.inspect(&caller.principal, id).await?;
    let notes = state.start().notes.clone();
    let read = move || Ok(notes.as_ref().and_then(ResponseInput::of).unwrap_or_default());
    let input = api.large_bodies.run(state.start().notes_size(), read).await?;
    let mut items: Vec<Value> = input.items.into_iter().enumerate().map(|(at, item)| with_id(item, id, at)).collect();
    if order != Some(ItemOrder::Asc) {
        items.reverse();
    }
    let first = match after {
        None => 0,
        Some(after) => items.iter().position(|item| item["id"] == after.as_str()).map_or(items.len(), |at| at + 1),
    };
    let page: Vec<Value> = items.iter().skip(first).take(limit.get()).cloned().collect();
    let id_of = |item: Option<&Value>| item.map(|item| item["id"].clone());
    let list = json!({
        "object": "list", "first_id": id_of(page.first()), "last_id": id_of(page.last()),
        "has_more": first + page.len() < items.len(), "data": page,
    });
    json_response(&api, &caller, &list, None)
}

/// Returns an input item with the members that clients read.
fn with_id(mut item: Value, generation: GenerationId, at: usize) -> Value {
    if let Some(members) = item.as_object_mut() {
        members.entry("type").or_insert_with(|| "message".into());
        members.entry("status").or_insert_with(|| "completed".into());
        members.insert("id".to_owned(), ItemId { prefix: "in", generation, index: at }.to_string().into());
    }
    item
}
