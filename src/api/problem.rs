//! A failure as a caller sees it, and the only place that knows a failure's status.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::accept::Accept;
use super::request_id::request_id;
use super::wire::native::FailedData;
use super::wire::{Block, Retry};
use crate::domain::{Failure, FailureCode, RequestId};

/// The closed list of codes. A new one must answer every question below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The body is not JSON.
    InvalidJson,
    /// A field is missing, of the wrong type or out of its range; `errors` names each.
    InvalidRequest,
    /// The request names no model and there is no default.
    ModelRequired,
    /// No upstream serves this model.
    ModelNotFound,
    /// Unknown, expired, or never there.
    GenerationNotFound,
    /// No such path.
    RouteNotFound,
    /// The path does not take this method.
    MethodNotAllowed,
    /// The answer would be in a form that `Accept` does not name.
    NotAcceptable,
    /// The body took too long to arrive.
    RequestTimeout,
    /// The body is larger than `server.max_body`.
    BodyTooLarge,
    /// The body's content type is not `application/json`.
    UnsupportedMediaType,
    /// No connection to the model's server.
    UpstreamUnreachable,
    /// The model's server refused this service's credentials.
    UpstreamAuth,
    /// The model's server is limiting this service.
    UpstreamRateLimited,
    /// The model's server refused the request as invalid.
    UpstreamRejected,
    /// The model's server reported an error.
    UpstreamError,
    /// The model's server was silent for too long.
    UpstreamTimeout,
    /// The answer broke off.
    UpstreamDisconnected,
    /// The model's server sent what is not a chat completion.
    UpstreamMalformed,
    /// The generation took longer than `generation.max_duration`.
    DeadlineExceeded,
    /// The answer is larger than `generation.max_bytes`.
    TooLarge,
    /// Too much to do or to keep.
    Overloaded,
    /// The service is stopping.
    ShuttingDown,
    /// The events after this id are lost.
    HistoryLost,
    /// A defect of this service.
    Internal,
}

/// Whether the same request may succeed later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// Not unless it is changed.
    Change,
    /// As it is, after a while.
    Wait,
}

impl ErrorCode {
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson | Self::InvalidRequest | Self::ModelRequired | Self::UpstreamRejected => {
                StatusCode::BAD_REQUEST
            }
            Self::ModelNotFound | Self::GenerationNotFound | Self::RouteNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::HistoryLost => StatusCode::GONE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UpstreamRateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamUnreachable
            | Self::UpstreamAuth
            | Self::UpstreamError
            | Self::UpstreamDisconnected
            | Self::UpstreamMalformed => StatusCode::BAD_GATEWAY,
            Self::Overloaded | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimeout | Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::InvalidJson => "The body is not JSON",
            Self::InvalidRequest => "The request is invalid",
            Self::ModelRequired => "A model is required",
            Self::ModelNotFound => "No such model",
            Self::GenerationNotFound => "No such generation",
            Self::RouteNotFound => "No such path",
            Self::MethodNotAllowed => "Method not allowed",
            Self::NotAcceptable => "Not acceptable",
            Self::RequestTimeout => "The body came too slowly",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body is not JSON by its content type",
            Self::UpstreamUnreachable => "The model's server is out of reach",
            Self::UpstreamAuth => "The model's server refused this service",
            Self::UpstreamRateLimited => "The model's server is limiting this service",
            Self::UpstreamRejected => "The model's server refused the request",
            Self::UpstreamError => "The model's server failed",
            Self::UpstreamTimeout => "The model's server is silent",
            Self::UpstreamDisconnected => "The answer broke off",
            Self::UpstreamMalformed => "The model's server sent nonsense",
            Self::DeadlineExceeded => "The answer took too long",
            Self::TooLarge => "The answer is too large",
            Self::Overloaded => "The service is overloaded",
            Self::ShuttingDown => "The service is restarting",
            Self::HistoryLost => "Events are lost",
            Self::Internal => "The service has a defect",
        }
    }

    const fn remedy(self) -> Remedy {
        match self {
            Self::InvalidJson
            | Self::InvalidRequest
            | Self::ModelRequired
            | Self::ModelNotFound
            | Self::GenerationNotFound
            | Self::RouteNotFound
            | Self::MethodNotAllowed
            | Self::NotAcceptable
            | Self::BodyTooLarge
            | Self::UnsupportedMediaType
            | Self::UpstreamAuth
            | Self::UpstreamRejected
            | Self::UpstreamMalformed
            | Self::DeadlineExceeded
            | Self::TooLarge
            | Self::HistoryLost
            | Self::Internal => Remedy::Change,
            Self::RequestTimeout
            | Self::UpstreamUnreachable
            | Self::UpstreamRateLimited
            | Self::UpstreamError
            | Self::UpstreamTimeout
            | Self::UpstreamDisconnected
            | Self::Overloaded
            | Self::ShuttingDown => Remedy::Wait,
        }
    }

    /// The code as it stands in JSON.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        }
    }
}

impl From<FailureCode> for ErrorCode {
    fn from(code: FailureCode) -> Self {
        match code {
            FailureCode::UpstreamUnreachable => Self::UpstreamUnreachable,
            FailureCode::UpstreamAuth => Self::UpstreamAuth,
            FailureCode::UpstreamRateLimited => Self::UpstreamRateLimited,
            FailureCode::ModelNotFound => Self::ModelNotFound,
            FailureCode::UpstreamRejected => Self::UpstreamRejected,
            FailureCode::UpstreamError => Self::UpstreamError,
            FailureCode::UpstreamTimeout => Self::UpstreamTimeout,
            FailureCode::UpstreamDisconnected => Self::UpstreamDisconnected,
            FailureCode::UpstreamMalformed => Self::UpstreamMalformed,
            FailureCode::DeadlineExceeded => Self::DeadlineExceeded,
            FailureCode::TooLarge => Self::TooLarge,
            FailureCode::Overloaded => Self::Overloaded,
            FailureCode::ShuttingDown => Self::ShuttingDown,
            FailureCode::HistoryLost => Self::HistoryLost,
            FailureCode::Internal => Self::Internal,
        }
    }
}

/// A refusal under construction. As a response it is a status only; [`write_problems`] writes its body
/// in the form that the request asks for, with the request's id.
#[derive(Debug, Clone)]
pub struct Problem {
    code: ErrorCode,
    detail: String,
    retry_after: Option<Duration>,
    errors: Vec<FieldError>,
}

/// Problem details (RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:tokenrill:error:` and the code.
    #[schema(example = "urn:tokenrill:error:model_not_found")]
    pub r#type: String,
    /// What kind of problem it is; the same for each of its code.
    pub title: String,
    /// The HTTP status, also where the problem comes in an event of a stream that began well.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    pub code: ErrorCode,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// How long to wait before that, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// What to tell the operator.
    pub request_id: String,
    /// What is wrong with which field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// What is wrong with one field of the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldError {
    /// Where it is (JSON Pointer, RFC 6901).
    #[schema(example = "/messages/0/role")]
    pub pointer: String,
    pub detail: String,
}

/// Where nobody said how long to wait.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);

impl Problem {
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let retry_after = (code.remedy() == Remedy::Wait).then_some(DEFAULT_WAIT);
        Self { code, detail: detail.into(), retry_after, errors: Vec::new() }
    }

    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let named: Vec<_> = errors.iter().map(|error| format!("{} {}", error.pointer, error.detail)).collect();
        Self { errors, ..Self::new(ErrorCode::InvalidRequest, format!("Mend the request: {}.", named.join("; "))) }
    }

    pub fn generation_not_found() -> Self {
        Self::new(
            ErrorCode::GenerationNotFound,
            "There is no such generation, or it is no longer kept. Start a new one.",
        )
    }

    fn body(&self, request_id: RequestId) -> ProblemBody {
        ProblemBody {
            errors: self.errors.clone(),
            ..ProblemBody::new(self.code, self.detail.clone(), self.retry_after, request_id)
        }
    }
}

impl ProblemBody {
    /// What a refusal with this code looks like.
    pub fn example(code: ErrorCode, errors: Vec<FieldError>) -> Self {
        let problem = Problem { errors, ..Problem::new(code, "What happened here, and what to do.") };
        Self { request_id: "req_AAAAAAAAAAAAAAAAAAAAAA".to_owned(), ..problem.body(RequestId::random()) }
    }

    fn new(code: ErrorCode, detail: String, retry_after: Option<Duration>, request_id: RequestId) -> Self {
        Self {
            r#type: format!("urn:tokenrill:error:{}", code.name()),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            detail,
            code,
            retryable: code.remedy() == Remedy::Wait,
            retry_after_ms: retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            request_id: request_id.to_string(),
            errors: Vec::new(),
        }
    }
}

impl From<&Failure> for ProblemBody {
    fn from(failure: &Failure) -> Self {
        Self::new(failure.code.into(), failure.detail.clone(), failure.retry_after, failure.request_id)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the body of every refusal: as one `failed` event where the request names
/// `text/event-stream`, else as problem details.
///
/// fetch-event-source looks at the content type alone: on a refusal in JSON it would repeat the
/// request every second for ever; an event is delivered once and ends.
pub async fn write_problems(request: Request, next: Next) -> Response {
    let names_events = Accept::of(request.headers()).names_event_stream();
    let request_id = request_id(&request);
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let body = problem.body(request_id);
    let (content_type, bytes) = if names_events {
        ("text/event-stream", refusal_event(body))
    } else {
        ("application/problem+json", serde_json::to_vec(&body).unwrap_or_default().into())
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(wait) = problem.retry_after {
        // Rounded up: who comes back a moment early is refused again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    // The parts keep what the router has said, such as `Allow`.
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    Response::from_parts(parts, bytes.into())
}

/// A refusal as an event: without an id, and with the time after which to try again, or never to.
pub fn refusal_event(error: ProblemBody) -> Bytes {
    let retry = error.retry_after_ms.map_or(Retry::DORMANT, |wait| Retry::after(Duration::from_millis(wait)));
    let mut out = BytesMut::new();
    let mut block = Block::new(&mut out, "failed");
    block.json(&FailedData { error, usage: None, timings: None });
    block.end(Some(retry), None);
    out.freeze()
}
