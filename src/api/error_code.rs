//! The closed list of error codes, and the only place that maps them to statuses.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::FailureCode;
pub use crate::domain::Remedy;

/// The closed list of error codes. A new code needs an entry in every `match` below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The body is not JSON.
    InvalidJson,
    /// A field is missing, of the wrong type or out of range; `errors` lists each.
    InvalidRequest,
    /// The credential is missing or invalid.
    Unauthenticated,
    /// The credential is valid but does not permit this operation.
    Forbidden,
    /// The identity provider's keys, which verify the token, are unavailable.
    IssuerUnavailable,
    /// The request names no model and there is no default.
    ModelRequired,
    /// No upstream serves this model.
    ModelNotFound,
    /// The generation does not exist, has expired or belongs to another caller.
    GenerationNotFound,
    /// The connection does not exist or has ended.
    ConnectionNotFound,
    /// The prompt does not exist or has another version.
    PromptNotFound,
    /// The variables do not match the prompt's parameters; `errors` lists each.
    InvalidVariables,
    /// The channel has the maximum number of subscribers.
    ChannelFull,
    /// The `Host` of the request is not a name of this service.
    Misdirected,
    /// The path does not exist.
    RouteNotFound,
    /// The path does not support this method.
    MethodNotAllowed,
    /// `Accept` permits none of the response formats.
    NotAcceptable,
    /// The body took too long to arrive.
    RequestTimeout,
    /// The body is larger than `server.max_body`.
    BodyTooLarge,
    /// The body's content type is not `application/json`.
    UnsupportedMediaType,
    /// The `Idempotency-Key` was used for another request.
    IdempotencyConflict,
    /// The caller has exhausted one of its rates per minute.
    RateLimited,
    /// The maximum number of generations is running, and the queue is full or the request may not wait any longer.
    TooManyGenerations,
    /// The caller has its maximum number of requests in flight.
    TooManyConnections,
    /// The generation was stopped, or the request displaced, while the request waited.
    Cancelled,
    /// No connection to the model's server.
    UpstreamUnreachable,
    /// The model's server refused this service's credentials.
    UpstreamAuth,
    /// The model's server rate limits this service.
    UpstreamRateLimited,
    /// The model's server is overloaded.
    UpstreamOverloaded,
    /// The model's server refused the request as invalid.
    UpstreamRejected,
    /// There is no chat API at the configured address of the model's server.
    UpstreamMisconfigured,
    /// The model's server reported an error.
    UpstreamError,
    /// The model's server ended its answer without content.
    UpstreamEmpty,
    /// The model's server sent no data for too long.
    UpstreamTimeout,
    /// The model's server disconnected before the end of its answer.
    UpstreamDisconnected,
    /// The model's server sent data that is not a chat completion.
    UpstreamMalformed,
    /// The generation took longer than `generation.max_duration`.
    DeadlineExceeded,
    /// The answer is larger than `generation.max_bytes`.
    TooLarge,
    /// The service has reached a limit of its load or memory.
    Overloaded,
    /// The service is stopping.
    ShuttingDown,
    /// The events after this id, or the answer for this `Idempotency-Key`, are no longer kept.
    HistoryLost,
    /// A defect of this service.
    Internal,
}

impl ErrorCode {
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson | Self::InvalidRequest | Self::ModelRequired | Self::UpstreamRejected => {
                StatusCode::BAD_REQUEST
            }
            Self::ModelNotFound
            | Self::GenerationNotFound
            | Self::ConnectionNotFound
            | Self::PromptNotFound
            | Self::RouteNotFound => StatusCode::NOT_FOUND,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Cancelled => StatusCode::CONFLICT,
            Self::IdempotencyConflict | Self::InvalidVariables => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::HistoryLost => StatusCode::GONE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RateLimited | Self::TooManyGenerations | Self::TooManyConnections | Self::UpstreamRateLimited => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::TooLarge | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamUnreachable
            | Self::UpstreamAuth
            | Self::UpstreamMisconfigured
            | Self::UpstreamError
            | Self::UpstreamEmpty
            | Self::UpstreamDisconnected
            | Self::UpstreamMalformed => StatusCode::BAD_GATEWAY,
            Self::IssuerUnavailable
            | Self::ChannelFull
            | Self::Overloaded
            | Self::ShuttingDown
            | Self::UpstreamOverloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimeout | Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Whether the code refuses a request because of its body.
    pub const fn concerns_body(self) -> bool {
        matches!(
            self,
            Self::InvalidJson
                | Self::InvalidRequest
                | Self::InvalidVariables
                | Self::ModelRequired
                | Self::ModelNotFound
                | Self::PromptNotFound
                | Self::BodyTooLarge
                | Self::IdempotencyConflict
        )
    }

    pub const fn title(self) -> &'static str {
        match self {
            Self::InvalidJson => "The request body is not valid JSON",
            Self::InvalidRequest => "The request is invalid",
            Self::Unauthenticated => "Not authenticated",
            Self::Forbidden => "Forbidden",
            Self::IssuerUnavailable => "The identity provider is unreachable",
            Self::ModelRequired => "A model is required",
            Self::ModelNotFound => "No such model",
            Self::GenerationNotFound => "No such generation",
            Self::ConnectionNotFound => "No such connection",
            Self::PromptNotFound => "No such prompt",
            Self::InvalidVariables => "The variables do not fit the prompt",
            Self::ChannelFull => "Too many subscribers",
            Self::Misdirected => "The host is not a name of this service",
            Self::RouteNotFound => "No such path",
            Self::MethodNotAllowed => "Method not allowed",
            Self::NotAcceptable => "Not acceptable",
            Self::RequestTimeout => "Request body timeout",
            Self::BodyTooLarge => "The request body is too large",
            Self::UnsupportedMediaType => "The content type is not application/json",
            Self::IdempotencyConflict => "The key was used for another request",
            Self::RateLimited => "Rate limit exceeded",
            Self::TooManyGenerations => "Too many generations at once",
            Self::TooManyConnections => "Too many requests in flight",
            Self::Cancelled => "The generation was cancelled",
            Self::UpstreamOverloaded => "The model's server is overloaded",
            Self::UpstreamUnreachable => "The model's server is unreachable",
            Self::UpstreamAuth => "The model's server refused this service",
            Self::UpstreamRateLimited => "The model's server rate limits this service",
            Self::UpstreamRejected => "The model's server refused the request",
            Self::UpstreamMisconfigured => "The model's server is misconfigured",
            Self::UpstreamError => "The model's server failed",
            Self::UpstreamEmpty => "The answer is empty",
            Self::UpstreamTimeout => "The model's server timed out",
            Self::UpstreamDisconnected => "The model's server disconnected",
            Self::UpstreamMalformed => "The model's server sent an invalid answer",
            Self::DeadlineExceeded => "The answer took too long",
            Self::TooLarge => "The answer is too large",
            Self::Overloaded => "The service is overloaded",
            Self::ShuttingDown => "The service is restarting",
            Self::HistoryLost => "Events are lost",
            Self::Internal => "Internal error",
        }
    }

    pub const fn remedy(self) -> Remedy {
        match self {
            Self::InvalidJson
            | Self::InvalidRequest
            | Self::Unauthenticated
            | Self::Forbidden
            | Self::ModelRequired
            | Self::ModelNotFound
            | Self::GenerationNotFound
            | Self::ConnectionNotFound
            | Self::PromptNotFound
            | Self::InvalidVariables
            | Self::Misdirected
            | Self::RouteNotFound
            | Self::MethodNotAllowed
            | Self::NotAcceptable
            | Self::BodyTooLarge
            | Self::UnsupportedMediaType
            | Self::IdempotencyConflict
            | Self::Cancelled
            | Self::UpstreamAuth
            | Self::UpstreamRejected
            | Self::UpstreamMisconfigured
            | Self::UpstreamMalformed
            | Self::DeadlineExceeded
            | Self::TooLarge
            | Self::HistoryLost
            | Self::Internal => Remedy::Change,
            Self::IssuerUnavailable
            | Self::ChannelFull
            | Self::RateLimited
            | Self::TooManyGenerations
            | Self::TooManyConnections
            | Self::RequestTimeout
            | Self::UpstreamUnreachable
            | Self::UpstreamRateLimited
            | Self::UpstreamOverloaded
            | Self::UpstreamError
            | Self::UpstreamEmpty
            | Self::UpstreamTimeout
            | Self::UpstreamDisconnected
            | Self::Overloaded
            | Self::ShuttingDown => Remedy::Wait,
        }
    }

    /// Returns the code in JSON.
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
            FailureCode::UpstreamOverloaded => Self::UpstreamOverloaded,
            FailureCode::ModelNotFound => Self::ModelNotFound,
            FailureCode::UpstreamRejected => Self::UpstreamRejected,
            FailureCode::UpstreamMisconfigured => Self::UpstreamMisconfigured,
            FailureCode::UpstreamError => Self::UpstreamError,
            FailureCode::UpstreamEmpty => Self::UpstreamEmpty,
            FailureCode::UpstreamTimeout => Self::UpstreamTimeout,
            FailureCode::UpstreamDisconnected => Self::UpstreamDisconnected,
            FailureCode::UpstreamMalformed => Self::UpstreamMalformed,
            FailureCode::TooManyGenerations => Self::TooManyGenerations,
            FailureCode::DeadlineExceeded => Self::DeadlineExceeded,
            FailureCode::TooLarge => Self::TooLarge,
            FailureCode::Overloaded => Self::Overloaded,
            FailureCode::ShuttingDown => Self::ShuttingDown,
            FailureCode::Internal => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_has_the_same_name_in_logs_metrics_and_api() {
        for code in [
            FailureCode::UpstreamUnreachable,
            FailureCode::UpstreamAuth,
            FailureCode::UpstreamRateLimited,
            FailureCode::UpstreamOverloaded,
            FailureCode::ModelNotFound,
            FailureCode::UpstreamRejected,
            FailureCode::UpstreamMisconfigured,
            FailureCode::UpstreamError,
            FailureCode::UpstreamEmpty,
            FailureCode::UpstreamTimeout,
            FailureCode::UpstreamDisconnected,
            FailureCode::UpstreamMalformed,
            FailureCode::TooManyGenerations,
            FailureCode::DeadlineExceeded,
            FailureCode::TooLarge,
            FailureCode::Overloaded,
            FailureCode::ShuttingDown,
            FailureCode::Internal,
        ] {
            assert_eq!(code.name(), ErrorCode::from(code).name());
        }
    }
}
