//! The port of the wires: what a dialect of clients adds to the one request for a generation.

use std::future::ready;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;

use super::encoder::{BlockIds, Encoder};
use crate::api::allowance::RateLimitHeaders;
use crate::api::caller::Caller;
use crate::api::connection::Connection;
use crate::api::connection_record::ConnectionKind;
use crate::api::parsed_request::ParsedRequest;
use crate::api::problem::{ErrorCode, Problem, ProblemBody};
use crate::api::sse::event_stream;
use crate::api::state::Api;
use crate::domain::{EventId, Start};
use crate::generation::Following;
use crate::json::JsonObject;

/// A dialect of clients: how its requests are read, and how answers and errors are written.
///
/// `serve` carries out every request that starts a generation: it reads the head ([`head`](Self::head)), admits the
/// request, reads its body, selects the response ([`form`](Self::form)), joins the generation of a known
/// `Idempotency-Key` or parses the body ([`resolve`](Self::resolve), [`parse`](Self::parse)) and starts one, and responds with an event stream
/// ([`encoder`](Self::encoder)) or the whole answer ([`whole`](Self::whole)).
pub trait Wire: 'static {
    /// The value of the query parameter `format` that selects this wire.
    const NAME: &'static str;
    /// The path of the operation that starts a generation.
    const PATH: &'static str;
    /// How event streams of that operation are counted.
    const STREAM: ConnectionKind;
    /// When the head of an event stream is sent.
    const STREAM_HEAD: StreamHead;
    const RATE_LIMITS: RateLimitHeaders;
    /// How the OpenAPI document describes refusals.
    const REFUSALS: RefusalSchemas;
    /// The codes with which the operation may refuse, in groups, in addition to those of every operation.
    const CODES: &'static [&'static [ErrorCode]];

    type Encoder: Encoder;
    /// What the head of a request says about the generation and its response.
    type Head: Send + 'static;

    /// Reads the head of a request, before its body is read.
    fn head(headers: &HeaderMap) -> Result<Self::Head, Problem>;

    /// Returns the event after which the request resumes an existing generation instead of starting one.
    fn resumes_after(_headers: &HeaderMap) -> Result<Option<EventId>, Problem> {
        Ok(None)
    }

    /// Selects the form of the response.
    fn form(head: &Self::Head, fields: &JsonObject) -> Result<AnswerForm, Problem>;

    /// Loads what the body refers to, such as an earlier answer.
    fn resolve(
        _api: &Api,
        _caller: &Caller,
        head: Self::Head,
        _fields: &JsonObject,
    ) -> impl Future<Output = Result<Self::Head, Problem>> + Send {
        ready(Ok(head))
    }

    /// Returns the bytes that [`parse`](Self::parse) reads.
    fn parse_len(_head: &Self::Head, fields: &JsonObject) -> usize {
        fields.text_len()
    }

    /// Parses the body of a request that starts a generation. Runs on a blocking thread if there is much to read.
    fn parse(head: Self::Head, form: AnswerForm, fields: JsonObject, caller: &Caller)
    -> Result<ParsedRequest, Problem>;

    /// Sets headers of an event stream that its clients require.
    fn stream_headers(_headers: &mut HeaderMap) {}

    fn encoder(start: &Arc<Start>, purpose: StreamPurpose) -> Self::Encoder;

    /// Responds with the whole answer.
    fn whole(api: &Api, caller: &Caller, answer: WholeAnswer)
    -> impl Future<Output = Result<Response, Problem>> + Send;

    /// Whether errors of this path are written in this dialect.
    fn writes_errors_of(path: &str) -> bool {
        path.strip_prefix(Self::PATH).is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }

    fn refusal(problem: ProblemBody, format: RefusalFormat) -> RefusalBody;

    /// Sets headers of an error response in addition to `Retry-After` and `WWW-Authenticate`.
    fn refusal_headers(_problem: &ProblemBody, _headers: &mut HeaderMap) {}

    /// Returns the operation that starts a generation, with the schemas of this wire.
    fn routes() -> OpenApiRouter<Api>;

    /// Completes the OpenAPI document: streams, examples, and what derives cannot express.
    fn describe(document: &mut Value);
}

/// The form of the response to a request that starts a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerForm {
    /// An event stream.
    Stream,
    /// The whole answer, at its end.
    Whole,
    /// A reference to the generation, at once. The generation continues without a viewer.
    Reference,
}

/// When the head of an event stream is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamHead {
    AtOnce,
    /// With the first token, or after `generation.head_wait`: a failure before is a status.
    WithFirstToken,
}

/// The request that an event stream responds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamPurpose {
    /// The wire's own operation that starts or resumes a generation.
    Answer,
    /// `GET /v1/generations/{id}/events?format=`, which resumes after any event.
    Follow,
}

impl StreamPurpose {
    /// Returns whether the blocks of a wire of SDKs have ids.
    pub const fn block_ids(self) -> BlockIds {
        match self {
            Self::Answer => BlockIds::Absent,
            Self::Follow => BlockIds::Present,
        }
    }
}

/// A generation whose whole answer was requested.
pub struct WholeAnswer {
    pub following: Following,
    /// The request's connection, unless the response is a reference.
    pub connection: Option<Connection>,
    pub waited: AnswerWait,
}

/// How the wait for a whole answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerWait {
    /// The generation has ended.
    Ended,
    /// The request's connection was displaced before.
    Displaced,
    /// The response is a reference, so there was no wait.
    Skipped,
}

/// The two formats of an error response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalFormat {
    Json,
    /// One event, if `Accept` names `text/event-stream`.
    ///
    /// fetch-event-source checks only the content type. After a JSON response it would retry every second forever; an
    /// event is delivered once and ends the stream.
    Event,
}

/// The body of an error response.
#[derive(Debug)]
pub struct RefusalBody {
    pub content_type: &'static str,
    pub bytes: Bytes,
}

impl RefusalBody {
    pub const fn event(bytes: Bytes) -> Self {
        Self { content_type: "text/event-stream", bytes }
    }
}

/// The schemas of error responses in the OpenAPI document.
#[derive(Debug, Clone, Copy)]
pub struct RefusalSchemas {
    pub json: &'static str,
    pub event: &'static str,
}

/// Responds with the event stream of a viewer.
pub fn stream<W: Wire>(api: &Api, following: Following, purpose: StreamPurpose, connection: Connection) -> Response {
    let encoder = W::encoder(following.start(), purpose);
    let mut response = event_stream(api.stream(following, encoder, connection));
    W::stream_headers(response.headers_mut());
    response
}
