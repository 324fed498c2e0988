//! Embeddings: `/v1/embeddings`, in OpenAI's form. The upstream's answer is passed on byte for byte and not kept.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::allowance::{self, RateLimitHeaders};
use super::body::RequestBody;
use super::body_memory::UnfinishedBody;
use super::caller::Caller;
use super::chat_fields::steers;
use super::connection_record::ConnectionKind;
use super::connections::Arrival;
use super::parsed_request::{LONGEST_MODEL, STEERS};
use super::problem::{ErrorCode, FieldError, Problem};
use super::start::{self, AdmittedRequest};
use super::state::Api;
use crate::domain::FieldKind;
use crate::generation::{AnswerRoom, NewEmbedding, NoRoomError};
use crate::json::JsonObject;

/// A request for embeddings. Other members are forwarded to the model's server unchanged.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub struct EmbeddingsBody {
    /// The model, as in a chat: the name of a model of an upstream, or of several targets.
    #[schema(min_length = 1, max_length = 512)]
    model: Option<String>,
    /// The texts: a string, a list of strings, a list of tokens, or a list of lists of tokens.
    // `describe_requests` completes the schema.
    #[schema(value_type = Object)]
    input: Value,
    /// `float` (default) or `base64`, as the model's server supports them.
    encoding_format: Option<String>,
    /// The length of the vectors, if the model supports several.
    #[schema(minimum = 1)]
    dimensions: Option<u32>,
}

/// Embeddings, as the model's server sent them. The members that are always present are listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EmbeddingList {
    #[schema(value_type = Vec<Object>)]
    pub data: Vec<Value>,
}

/// Embed texts, as OpenAI's API does.
///
/// The request is sent to the target of the model with only `model` changed, and the answer is returned byte for byte. It
/// is limited, is in the ledger, and is not kept. Closing the connection closes that of the upstream. `Idempotency-Key`
/// has no effect. The vectors of the model `demo` are sums of hashed words: texts with the same words are near each other,
/// and no other meaning is in them.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    operation_id = "create_embeddings",
    tag = "openai",
    request_body = EmbeddingsBody,
    responses((status = 200, description = "The embeddings", body = EmbeddingList)),
)]
pub async fn create(State(api): State<Api>, caller: Caller, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut body = RequestBody::new(&head.headers, body, api.body);
    let embedded = embed(&api, &caller, &mut body).await;
    body.discard(&api, &caller).await;
    let (mut response, model) = match embedded {
        Ok((json, model)) => {
            let json_type = HeaderValue::from_static("application/json");
            (([(CONTENT_TYPE, json_type)], json).into_response(), Some(model))
        }
        Err(problem) => (api.refuse(&caller, problem), None),
    };
    allowance::insert_headers(&mut response, &api, &caller, model.as_deref(), RateLimitHeaders::AndOpenAi).await;
    response
}

/// Returns the answer, and the model that was asked.
async fn embed(api: &Api, caller: &Caller, body: &mut RequestBody<'_>) -> Result<(Bytes, String), Problem> {
    // Without the headers: nothing is kept that an `Idempotency-Key` could name.
    let mut admitted = AdmittedRequest::admit(api, caller, &HeaderMap::new()).await?;
    let json = admitted.read(body, api, caller).await?;
    let fields = start::parse(api, &json).await?;
    drop(json);
    check(&fields, caller)?;
    let model: Option<String> = fields.read("model");
    let connection = body.take_connection().filter(|connection| connection.set_kind(ConnectionKind::Wait));
    let connection = match connection {
        Some(connection) => Some(connection),
        None => api.connect_before_start(caller, ConnectionKind::Wait)?,
    };
    let new = NewEmbedding {
        owner: caller.principal.clone(),
        spender: caller.spender.clone(),
        request: admitted.into_permit(),
        model: model.clone(),
        allowed: caller.models.clone(),
        fields,
        request_id: caller.request_id,
    };
    let embedding = match api.generations.admit_embedding(new).await {
        Ok(embedding) => embedding,
        Err(error) => return Err(Box::pin(start::refusal(api, caller, model.as_deref(), error)).await),
    };
    // With `close-oldest`, the oldest stream is closed only now, so that none closes for a refused request.
    let connection = match connection {
        Some(connection) => connection,
        None => api.connect(caller, Arrival::New, ConnectionKind::Wait)?,
    };
    let asked = embedding.model().to_owned();
    let memory = Arc::new(api.body_memory.begin(caller.spender.account.clone()));
    let answer = tokio::select! {
        biased;
        answer = embedding.run(Arc::clone(&memory) as Arc<dyn AnswerRoom>) => answer,
        () = connection.closed() => return Err(displaced(api)),
    };
    let answer = Bytes::from(answer.map_err(|failed| Problem::from(&failed))?);
    // Counts until the client has received it.
    drop(memory);
    let answer = api.body_memory.hold_bytes(&caller.spender.account, answer)?;
    Ok((answer, asked))
}

/// The service ends, or needs the connection for a caller below its share.
fn displaced(api: &Api) -> Problem {
    if api.generations.is_draining() {
        return Problem::shutting_down();
    }
    let detail = "Too many requests are in flight, and you have your share of them. Try again in a few seconds.";
    Problem::new(ErrorCode::Overloaded, detail)
}

/// The fields of OpenAI's API, which do not select a model or a server.
const KNOWN: [&str; 5] = ["model", "input", "encoding_format", "dimensions", "user"];

/// Checks what does not depend on the model: the model's server checks the rest.
fn check(fields: &JsonObject, caller: &Caller) -> Result<(), Problem> {
    let mut errors = Vec::new();
    let mut fail = |name: &str, detail: &str| {
        errors.push(FieldError { pointer: format!("/{name}"), detail: detail.to_owned() });
    };
    let name_kind = FieldKind::NonEmptyText;
    if fields.present("model").is_some_and(|model| !name_kind.admits(model) || model.len() > LONGEST_MODEL) {
        fail("model", "must be the name of a model, of at most 512 bytes");
    }
    match fields.present("input") {
        Some(input) if input.starts_with(['"', '[']) && !is_empty(input) => {}
        Some(_) => fail("input", "must be a string or a list of strings or tokens, and not empty"),
        None => fail("input", "is missing: send a string or a list of strings or tokens"),
    }
    for (name, _) in fields.iter() {
        if name == "extra_body" || steers(name) {
            fail(name, STEERS);
        } else if caller.models.are_limited() && !KNOWN.contains(&name) {
            fail(name, "is not allowed for a key with a list of models: it may select another model");
        }
    }
    errors.truncate(MOST_ERRORS);
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
}

/// The most errors that are reported.
const MOST_ERRORS: usize = 16;

/// Returns whether the JSON text is `""` or `[]`, with any blanks.
fn is_empty(json: &str) -> bool {
    json == "\"\"" || (json.starts_with('[') && json.trim_start_matches('[').trim_start().starts_with(']'))
}

impl AnswerRoom for UnfinishedBody {
    fn grow_to(&self, bytes: usize) -> Result<(), NoRoomError> {
        UnfinishedBody::grow_to(self, bytes).map_err(|_| NoRoomError)
    }
}
