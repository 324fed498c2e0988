//! Counts the input tokens of a request: `POST /v1/responses/input_tokens`.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::ResponsesBody;
use super::request::{ResponsesHead, parse, parse_len, resolve};
use crate::api::body::RequestBody;
use crate::api::caller::Caller;
use crate::api::problem::Problem;
use crate::api::start::{self, AdmittedRequest};
use crate::api::state::Api;
use crate::generation::NewGeneration;

/// The input tokens of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InputTokens {
    /// `response.input_tokens`.
    pub object: String,
    /// The tokens, as this service counts them.
    #[schema(example = 14)]
    pub input_tokens: u64,
}

/// Count the input tokens of a request.
///
/// Nothing is sent to an upstream: the tokens are counted with the vocabulary of the model's family. Counts as a request
/// of the caller's rate.
#[utoipa::path(
    post,
    path = "/v1/responses/input_tokens",
    operation_id = "count_response_tokens",
    tag = "openai",
    request_body = ResponsesBody,
    responses((status = 200, description = "The tokens", body = InputTokens)),
)]
pub async fn count(State(api): State<Api>, caller: Caller, request: Request) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let mut admitted = AdmittedRequest::admit(&api, &caller, &head.headers).await?;
    let mut body = RequestBody::new(&head.headers, body, api.body);
    let json = admitted.read(&mut body, &api, &caller).await;
    body.discard(&api, &caller).await;
    let fields = start::parse(&api, &json?).await?;
    let resolved = resolve(&api, &caller, ResponsesHead::default(), &fields).await?;
    let (length, sender) = (parse_len(&resolved, &fields), caller.clone());
    // Refuses what would be refused if the request were sent.
    let parsed = api.large_bodies.run(length, move || parse(resolved, &fields, &sender)).await?;
    let NewGeneration { model, fields, .. } = parsed.generation;
    admitted.spend().await;
    let input_tokens = api.generations.count_prompt(model.as_deref(), &caller.models, fields).await?;
    Ok(Json(InputTokens { object: "response.input_tokens".to_owned(), input_tokens }).into_response())
}
