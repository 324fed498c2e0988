//! The native wire: `/v1/generations`.

mod body;
pub mod data;
pub mod encoder;
mod error;
mod openapi;
mod request;
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
use crate::api::openapi::code_groups::{BODY, START};
use crate::api::parsed_request::ParsedRequest;
use crate::api::problem::{ErrorCode, Problem, ProblemBody};
use crate::api::serve::serve;
use crate::api::snapshot::SnapshotBody;
use crate::api::state::Api;
use crate::domain::{EventId, Start};
use crate::json::JsonObject;
use body::{NewGenerationBody, OPERATION};
use encoder::NativeEncoder;
use openapi::NativeSchemas;

pub use data::{
    CancelledData, DeltaData, DoneData, EVENTS, FailedData, FinishedChoice, PartData, QueuedData, RestartData,
    StartData, TextData, ToolCallData,
};

/// The native wire: named events with ids.
pub struct Native;

impl Wire for Native {
    const NAME: &'static str = "native";
    const PATH: &'static str = OPERATION.0;
    const STREAM: ConnectionKind = ConnectionKind::ResumableStream;
    const STREAM_HEAD: StreamHead = StreamHead::AtOnce;
    const RATE_LIMITS: RateLimitHeaders = RateLimitHeaders::Standard;
    const REFUSALS: RefusalSchemas = RefusalSchemas { json: "Problem", event: "GenerationEvent" };
    const CODES: &'static [&'static [ErrorCode]] =
        &[BODY, START, &[ErrorCode::GenerationNotFound, ErrorCode::NotAcceptable]];

    type Encoder = NativeEncoder;
    type Head = request::NativeHead;

    fn head(headers: &HeaderMap) -> Result<Self::Head, Problem> {
        request::head(headers)
    }

    fn resumes_after(headers: &HeaderMap) -> Result<Option<EventId>, Problem> {
        request::resumes_after(headers)
    }

    fn form(head: &Self::Head, fields: &JsonObject) -> Result<AnswerForm, Problem> {
        request::form(head, fields)
    }

    fn parse(
        _head: Self::Head,
        form: AnswerForm,
        fields: JsonObject,
        caller: &Caller,
    ) -> Result<ParsedRequest, Problem> {
        request::parse(form, fields, caller)
    }

    fn encoder(start: &Arc<Start>, _purpose: StreamPurpose) -> NativeEncoder {
        NativeEncoder::new(start.generation)
    }

    fn whole(
        api: &Api,
        caller: &Caller,
        answer: WholeAnswer,
    ) -> impl Future<Output = Result<Response, Problem>> + Send {
        whole::respond(api, caller, answer)
    }

    /// The table's default, so it claims no path.
    fn writes_errors_of(_path: &str) -> bool {
        false
    }

    fn refusal(problem: ProblemBody, format: RefusalFormat) -> RefusalBody {
        error::refusal(problem, format)
    }

    fn routes() -> OpenApiRouter<Api> {
        OpenApiRouter::with_openapi(NativeSchemas::openapi()).routes(routes!(create))
    }

    fn describe(document: &mut Value) {
        openapi::describe(document);
    }
}

/// Start a generation.
///
/// The response is an event stream if `Accept` names `text/event-stream`; else the snapshot at the end if it names
/// `application/json`; else the snapshot if `stream` is `false`; else an event stream. With `Prefer: respond-async`
/// (RFC 7240) it is `202` with the current snapshot, and the generation continues without a viewer.
///
/// When the generation has had no viewer for the grace, it ends as `cancelled` and the model stops, unless
/// `on_disconnect` is `continue`.
///
/// A request with `Last-Event-ID` does not start a generation: it resumes the generation of that event after the event,
/// and its body is ignored. A request with a used `Idempotency-Key` follows the generation that the key started, from
/// the beginning; with another body it is refused. Both responses have the header `Tokenrill-Attached: existing`. A key
/// is kept as long as its generation.
#[utoipa::path(
    post,
    path = "/v1/generations",
    operation_id = "create_generation",
    tag = "generations",
    params(
        ("Prefer" = Option<String>, Header, description = "`respond-async`: respond at once and run without a viewer"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client received; the events after it are sent"),
        ("Idempotency-Key" = Option<String>, Header, description = "A unique key for this request, so that a retry starts no second generation: 1 to 255 visible ASCII characters"),
    ),
    request_body = NewGenerationBody,
    responses(
        (status = 200, description = "The events, or the snapshot at the end", content(("text/event-stream"), (SnapshotBody = "application/json")),
            headers(("Tokenrill-Generation" = String, description = "The generation's id"), ("Tokenrill-Attached" = String, description = "`existing` if the request joined a generation and started none"))),
        (status = 202, description = "Started; `Location` is the path to inspect it", body = SnapshotBody,
            headers(("Location" = String, description = "Path of the generation"), ("Tokenrill-Generation" = String, description = "The generation's id"))),
        (status = 204, description = "`Last-Event-ID` is that of the terminal event, and an earlier request has received the end of the stream"),
    ),
)]
pub async fn create(State(api): State<Api>, caller: Caller, request: Request) -> Response {
    serve::<Native>(&api, &caller, request).await
}
