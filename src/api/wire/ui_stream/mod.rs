//! The AI SDK's UI message stream, for `useChat`: `/v1/ui/chat`.

mod body;
mod chats;
mod conversation;
pub mod encoder;
mod error;
mod held_parts;
mod openapi;
mod provider_parts;
mod request;
mod stream_head;
mod tool_call;
mod ui_message;
mod ui_notes;
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
use body::{OPERATION, UiChatBody};
use encoder::UiEncoder;
use openapi::UiSchemas;

/// The AI SDK's UI message stream.
pub struct UiStream;

impl Wire for UiStream {
    const NAME: &'static str = "ui";
    const PATH: &'static str = OPERATION.0;
    const STREAM: ConnectionKind = ConnectionKind::Stream;
    const STREAM_HEAD: StreamHead = StreamHead::WithFirstToken;
    const RATE_LIMITS: RateLimitHeaders = RateLimitHeaders::Standard;
    const REFUSALS: RefusalSchemas = RefusalSchemas { json: "UiError", event: "UiChunk" };
    const CODES: &'static [&'static [ErrorCode]] = &[BODY, START, ANSWER, &[ErrorCode::ChatIdGuessable]];

    type Encoder = UiEncoder;
    type Head = request::UiHead;

    fn head(headers: &HeaderMap) -> Result<Self::Head, Problem> {
        Ok(request::head(headers))
    }

    fn form(_head: &Self::Head, fields: &JsonObject) -> Result<AnswerForm, Problem> {
        Ok(request::form(fields))
    }

    fn parse(
        _head: Self::Head,
        _form: AnswerForm,
        fields: JsonObject,
        caller: &Caller,
    ) -> Result<ParsedRequest, Problem> {
        request::parse(fields, caller)
    }

    fn stream_headers(headers: &mut HeaderMap) {
        stream_head::mark(headers);
    }

    fn encoder(start: &Arc<Start>, purpose: StreamPurpose) -> UiEncoder {
        UiEncoder::new(Arc::clone(start), purpose.block_ids())
    }

    fn whole(
        api: &Api,
        caller: &Caller,
        answer: WholeAnswer,
    ) -> impl Future<Output = Result<Response, Problem>> + Send {
        whole::respond(api, caller, answer)
    }

    fn refusal(problem: ProblemBody, format: RefusalFormat) -> RefusalBody {
        error::refusal(&problem, format)
    }

    fn routes() -> OpenApiRouter<Api> {
        OpenApiRouter::with_openapi(UiSchemas::openapi())
            .routes(routes!(create))
            .routes(routes!(chats::resume))
            .routes(routes!(chats::stop))
            .routes(routes!(chats::show))
    }

    fn describe(document: &mut Value) {
        openapi::describe(document);
    }
}

/// Send a chat message.
///
/// What `useChat` of the AI SDK sends with an unchanged `DefaultChatTransport({ api: ".../v1/ui/chat" })`: the response is
/// the AI SDK's UI message stream. All other fields are those of `POST /v1/generations`, so that a page sets the model in
/// the transport's `body`. With `"stream": false` the response is the message of the assistant at the end.
///
/// A page that closes the connection can resume for the grace: `GET /v1/ui/chat/{chat_id}/stream`. A repeated request
/// with an equal last message, as two tabs send it, attaches to the answer that is being written. Any other one starts a
/// new answer and stops an older one that has no reader. Errors are one plain sentence.
#[utoipa::path(
    post,
    path = "/v1/ui/chat",
    operation_id = "send_ui_chat",
    tag = "ai-sdk",
    request_body = UiChatBody,
    responses(
        (status = 200, description = "The stream, or the message at the end", content(("text/event-stream"), ("application/json")),
            headers(("Tokenrill-Generation" = String, description = "The generation's id"), ("Tokenrill-Attached" = String, description = "`existing` if the request joined a generation and started none"))),
    ),
)]
pub async fn create(State(api): State<Api>, caller: Caller, request: Request) -> Response {
    serve::<UiStream>(&api, &caller, request).await
}
