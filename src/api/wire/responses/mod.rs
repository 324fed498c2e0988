//! OpenAI's Responses API: `/v1/responses`.

mod body;
mod chat_fields;
mod chunk_details;
mod earlier;
pub mod encoder;
mod input_items;
mod input_tokens;
mod members;
mod openapi;
mod output_items;
mod request;
mod response_events;
mod response_id;
mod response_notes;
mod response_object;
mod stored;
mod stored_response;
mod tool_fields;
mod unsupported;
mod whole;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::openai_chat;
use super::port::{
    AnswerForm, RefusalBody, RefusalFormat, RefusalSchemas, StreamHead, StreamPurpose, WholeAnswer, Wire,
};
use super::retry_headers::insert_retry_headers;
use crate::api::allowance::RateLimitHeaders;
use crate::api::caller::Caller;
use crate::api::connection_record::ConnectionKind;
use crate::api::openapi::code_groups::{ANSWER, BODY, START};
use crate::api::parsed_request::ParsedRequest;
use crate::api::problem::{ErrorCode, Problem, ProblemBody};
use crate::api::serve::serve;
use crate::api::state::Api;
use crate::domain::Start;
use crate::json::JsonObject;
use body::{OPERATION, ResponsesBody};
use encoder::ResponsesEncoder;
use openapi::ResponsesSchemas;

/// OpenAI's Responses API.
pub struct Responses;

/// Codes for what a request lacks, for what this service does not carry, and for an earlier response that is not kept.
pub const REFERENCES: &[ErrorCode] = &[
    ErrorCode::MissingRequiredParameter,
    ErrorCode::UnsupportedValue,
    ErrorCode::UnsupportedParameter,
    ErrorCode::PreviousResponseNotFound,
];

impl Wire for Responses {
    const NAME: &'static str = "responses";
    const PATH: &'static str = OPERATION.0;
    const STREAM: ConnectionKind = ConnectionKind::Stream;
    const STREAM_HEAD: StreamHead = StreamHead::WithFirstToken;
    const RATE_LIMITS: RateLimitHeaders = RateLimitHeaders::AndOpenAi;
    const REFUSALS: RefusalSchemas = RefusalSchemas { json: "OpenAiError", event: "ResponseEvent" };
    const CODES: &'static [&'static [ErrorCode]] = &[BODY, START, ANSWER, REFERENCES];

    type Encoder = ResponsesEncoder;
    type Head = request::ResponsesHead;

    fn head(headers: &HeaderMap) -> Result<Self::Head, Problem> {
        request::head(headers)
    }

    fn form(_head: &Self::Head, fields: &JsonObject) -> Result<AnswerForm, Problem> {
        request::form(fields)
    }

    fn resolve(
        api: &Api,
        caller: &Caller,
        head: Self::Head,
        fields: &JsonObject,
    ) -> impl Future<Output = Result<Self::Head, Problem>> + Send {
        request::resolve(api, caller, head, fields)
    }

    fn parse_len(head: &Self::Head, fields: &JsonObject) -> usize {
        request::parse_len(head, fields)
    }

    fn parse(
        head: Self::Head,
        _form: AnswerForm,
        fields: JsonObject,
        caller: &Caller,
    ) -> Result<ParsedRequest, Problem> {
        request::parse(head, &fields, caller)
    }

    fn encoder(start: &Arc<Start>, purpose: StreamPurpose) -> ResponsesEncoder {
        ResponsesEncoder::new(Arc::clone(start), purpose.block_ids())
    }

    fn whole(
        api: &Api,
        caller: &Caller,
        answer: WholeAnswer,
    ) -> impl Future<Output = Result<Response, Problem>> + Send {
        whole::respond(api, caller, answer)
    }

    fn refusal(problem: ProblemBody, format: RefusalFormat) -> RefusalBody {
        openai_chat::refusal(&problem, format)
    }

    fn refusal_headers(problem: &ProblemBody, headers: &mut HeaderMap) {
        insert_retry_headers(problem, headers);
    }

    fn routes() -> OpenApiRouter<Api> {
        OpenApiRouter::with_openapi(ResponsesSchemas::openapi())
            .routes(routes!(create))
            .routes(routes!(input_tokens::count))
            .routes(routes!(stored::retrieve, stored::delete))
            .routes(routes!(stored::cancel))
            .routes(routes!(stored::input_items))
    }

    fn describe(document: &mut Value) {
        openapi::describe(document);
    }
}

/// Create a response, as OpenAI's Responses API does.
///
/// Any OpenAI SDK works with `/v1` of this service as its base URL, for any model of any upstream. With `"stream": true`
/// the response is a stream of events with `sequence_number`. With `"background": true` the response comes at once, and
/// the model goes on without a reader. A response is kept as long as its generation: it can be retrieved, followed,
/// continued by `previous_response_id`, cancelled and deleted.
///
/// Closing the connection stops the model, unless it runs in the background or the request sets a grace by the field
/// `grace_ms` or the header. A field that is not carried is refused by name before the model is asked.
#[utoipa::path(
    post,
    path = "/v1/responses",
    operation_id = "create_response",
    tag = "openai",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "A unique key for this request, so that a retry starts no second generation: 1 to 255 visible ASCII characters"),
        ("Tokenrill-Grace-Ms" = Option<String>, Header, description = "Same as the field `grace_ms`, which takes precedence"),
    ),
    request_body = ResponsesBody,
    responses(
        (status = 200, description = "The events, or the response", content(("text/event-stream"), ("application/json")),
            headers(("Tokenrill-Generation" = String, description = "The generation's id"), ("Tokenrill-Attached" = String, description = "`existing` if the request joined a generation and started none"))),
    ),
)]
pub async fn create(State(api): State<Api>, caller: Caller, request: Request) -> Response {
    serve::<Responses>(&api, &caller, request).await
}
