//! OpenAI's chat completions: `/v1/chat/completions`.

mod body;
mod completion;
pub mod encoder;
mod error;
pub mod error_body;
mod merge;
mod neutral_chunks;
mod openapi;
mod request;
mod usage;
mod whole;

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
use super::retry_headers::insert_retry_headers;
pub use error::refusal;

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
use body::{ChatCompletionBody, OPERATION};
use encoder::ChatEncoder;
use openapi::ChatSchemas;

/// OpenAI's chat completions.
pub struct OpenAiChat;

impl Wire for OpenAiChat {
    const NAME: &'static str = "openai";
    const PATH: &'static str = OPERATION.0;
    const STREAM: ConnectionKind = ConnectionKind::Stream;
    const STREAM_HEAD: StreamHead = StreamHead::WithFirstToken;
    const RATE_LIMITS: RateLimitHeaders = RateLimitHeaders::AndOpenAi;
    const REFUSALS: RefusalSchemas = RefusalSchemas { json: "OpenAiError", event: "ChatCompletionEvent" };
    const CODES: &'static [&'static [ErrorCode]] = &[BODY, START, ANSWER];

    type Encoder = ChatEncoder;
    type Head = request::ChatHead;

    fn head(headers: &HeaderMap) -> Result<Self::Head, Problem> {
        request::head(headers)
    }

    fn form(_head: &Self::Head, fields: &JsonObject) -> Result<AnswerForm, Problem> {
        request::form(fields)
    }

    fn parse(
        head: Self::Head,
        form: AnswerForm,
        fields: JsonObject,
        caller: &Caller,
    ) -> Result<ParsedRequest, Problem> {
        request::parse(&head, form, fields, caller)
    }

    fn encoder(start: &Arc<Start>, purpose: StreamPurpose) -> ChatEncoder {
        ChatEncoder::new(Arc::clone(start), purpose.block_ids())
    }

    fn whole(
        api: &Api,
        caller: &Caller,
        answer: WholeAnswer,
    ) -> impl Future<Output = Result<Response, Problem>> + Send {
        whole::respond(api, caller, answer)
    }

    fn writes_errors_of(path: &str) -> bool {
        let is_served = matches!(path, "/v1/chat/completions" | "/v1/embeddings" | "/v1/models");
        is_served || path.starts_with("/v1/models/") || dialect_of_unknown(path) == UnknownPathDialect::OpenAi
    }

    fn refusal(problem: ProblemBody, format: RefusalFormat) -> RefusalBody {
        refusal(&problem, format)
    }

    fn refusal_headers(problem: &ProblemBody, headers: &mut HeaderMap) {
        insert_retry_headers(problem, headers);
    }

    fn routes() -> OpenApiRouter<Api> {
        OpenApiRouter::with_openapi(ChatSchemas::openapi()).routes(routes!(create))
    }

    fn describe(document: &mut Value) {
        openapi::describe(document);
    }
}

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
    serve::<OpenAiChat>(&api, &caller, request).await
}
