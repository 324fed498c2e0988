//! Counts the tokens of a request without sending it: `POST /v1/messages/count_tokens`.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::MessagesBody;
use super::error::insert_request_id;
use super::request::{MessagesHead, parse};
use crate::api::body::RequestBody;
use crate::api::caller::Caller;
use crate::api::problem::Problem;
use crate::api::start::{self, AdmittedRequest};
use crate::api::state::Api;
use crate::generation::NewGeneration;

/// The tokens of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MessageTokenCount)]
pub struct TokenCount {
    /// Tokens of the system prompt, the messages and the tools. An estimate: the model's own count can differ.
    pub input_tokens: u64,
}

/// Count the tokens of a message, as Anthropic's API does.
///
/// Nothing is sent to an upstream: the tokens are counted with the vocabulary of the model's family. Counts as a request
/// of the caller's rate.
#[utoipa::path(
    post,
    path = "/v1/messages/count_tokens",
    operation_id = "count_message_tokens",
    tag = "anthropic",
    request_body = MessagesBody,
    responses((status = 200, description = "The tokens", body = TokenCount)),
)]
pub async fn count(State(api): State<Api>, caller: Caller, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let mut admitted = AdmittedRequest::admit(&api, &caller, &head.headers).await?;
    let mut body = RequestBody::new(&head.headers, body, api.body);
    let json = admitted.read(&mut body, &api, &caller).await;
    body.discard(&api, &caller).await;
    let json = json?;
    let mut fields = start::parse(&api, &json).await?;
    if fields.present("max_tokens").is_none() {
        fields.set("max_tokens", &1);
    }
    let (length, sender) = (fields.text_len(), caller.clone());
    // Refuses what would be refused if the message were sent.
    let parsed = api.large_bodies.run(length, move || parse(&MessagesHead::default(), &fields, &sender)).await?;
    let NewGeneration { model, fields, .. } = parsed.generation;
    admitted.spend().await;
    let input_tokens = api.generations.count_prompt(model.as_deref(), &caller.models, fields).await?;
    let mut response = Json(TokenCount { input_tokens }).into_response();
    insert_request_id(&mut response, &caller);
    Ok(response)
}
