//! Anthropic's Messages API: `/v1/messages`.

mod body;
mod chat_form;
mod chat_messages;
mod content_state;
mod count_tokens;
pub mod encoder;
mod error;
mod error_body;
mod message;
mod message_blocks;
mod message_stop;
mod openapi;
mod provider_blocks;
mod request;
mod whole;
mod whole_message;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::port::{
    AnswerForm, RefusalBody, RefusalFormat, RefusalSchemas, StreamHead, StreamPurpose, WholeAnswer, Wire,
};
use crate::api::allowance::RateLimitHeaders;
use crate::api::caller::Caller;
use crate::api::connection_record::ConnectionKind;
use crate::api::not_offered::{UnknownPathDialect, dialect_of_unknown};
use crate::api::openapi::code_groups::{ANSWER, BODY, START};
use crate::api::parsed_request::ParsedRequest;
use crate::api::problem::{ErrorCode, Problem, ProblemBody};
use crate::api::serve::serve;
use crate::api::state::Api;
use crate::domain::Start;
use crate::json::JsonObject;
use body::{MessagesBody, OPERATION};
use encoder::MessagesEncoder;
use openapi::MessagesSchemas;

/// Anthropic's Messages API.
pub struct Messages;

impl Wire for Messages {
    const NAME: &'static str = "messages";
    const PATH: &'static str = OPERATION.0;
    const STREAM: ConnectionKind = ConnectionKind::Stream;
    const STREAM_HEAD: StreamHead = StreamHead::WithFirstToken;
    const RATE_LIMITS: RateLimitHeaders = RateLimitHeaders::Standard;
    const REFUSALS: RefusalSchemas = RefusalSchemas { json: "MessagesError", event: "MessageEvent" };
    const CODES: &'static [&'static [ErrorCode]] = &[BODY, START, ANSWER];

    type Encoder = MessagesEncoder;
    type Head = request::MessagesHead;

    fn head(headers: &HeaderMap) -> Result<Self::Head, Problem> {
        request::head(headers)
    }

    fn form(_head: &Self::Head, fields: &JsonObject) -> Result<AnswerForm, Problem> {
        request::form(fields)
    }

    fn parse(
        head: Self::Head,
        _form: AnswerForm,
        fields: JsonObject,
        caller: &Caller,
    ) -> Result<ParsedRequest, Problem> {
        request::parse(&head, &fields, caller)
    }

    fn encoder(start: &Arc<Start>, purpose: StreamPurpose) -> MessagesEncoder {
        MessagesEncoder::new(Arc::clone(start), purpose.block_ids())
    }

    fn whole(
        api: &Api,
        caller: &Caller,
        answer: WholeAnswer,
    ) -> impl Future<Output = Result<Response, Problem>> + Send {
        whole::respond(api, caller, answer)
    }

    fn writes_errors_of(path: &str) -> bool {
        let is_served = path.strip_prefix(Self::PATH).is_some_and(|below| below.is_empty() || below.starts_with('/'));
        is_served || dialect_of_unknown(path) == UnknownPathDialect::Anthropic
    }

    fn refusal(problem: ProblemBody, format: RefusalFormat) -> RefusalBody {
        error::refusal(&problem, format)
    }

    fn refusal_headers(problem: &ProblemBody, headers: &mut HeaderMap) {
        error::refusal_headers(problem, headers);
    }

    fn routes() -> OpenApiRouter<Api> {
        OpenApiRouter::with_openapi(MessagesSchemas::openapi())
            .routes(routes!(create))
            .routes(routes!(count_tokens::count))
    }

    fn describe(document: &mut Value) {
        openapi::describe(document);
    }
}

/// Create a message, as Anthropic's API does.
///
/// Anthropic's SDKs work with this service as their base URL, whatever the upstream of the model is. With
/// `"stream": true` the response is a stream of events. The service sends the response head with the first token, or
/// after `generation.head_wait`. A failure before the head is a status; a later one is an `error` event. The header
/// `Tokenrill-Generation` contains the generation's id: the same events, with ids, are at
/// `GET /v1/generations/{id}/events?format=messages`.
///
/// Closing the connection stops the model, streaming or not, unless the request sets a grace by the field `grace_ms` or
/// the header.
///
/// A target with Anthropic's API receives the request as it came, apart from the model and the limits. For any other
/// target it is converted to a chat completion; the response is `400` if that cannot carry a part of it.
#[utoipa::path(
    post,
    path = "/v1/messages",
    operation_id = "create_message",
    tag = "anthropic",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A unique key for this request, so that a retry starts no second generation: 1 to 255 visible ASCII characters"),
        ("Tokenrill-Grace-Ms" = Option<String>, Header, description = "Same as the field `grace_ms`, which takes precedence"),
    ),
    request_body = MessagesBody,
    responses(
        (status = 200, description = "The events, or the message", content(("text/event-stream"), ("application/json")),
            headers(("Tokenrill-Generation" = String, description = "The generation's id"), ("request-id" = String, description = "The id of the request"))),
    ),
)]
pub async fn create(State(api): State<Api>, caller: Caller, request: Request) -> Response {
    let mut response = serve::<Messages>(&api, &caller, request).await;
    error::insert_request_id(&mut response, &caller);
    response
}
