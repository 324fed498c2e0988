//! The closed list of the codes of failure, and the only place that knows their statuses.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::FailureCode;
pub use crate::domain::Remedy;

/// The closed list of codes. A new one must answer every question below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The body is not JSON.
    InvalidJson,
    /// A field is missing, of the wrong type or out of its range; `errors` names each.
    InvalidRequest,
    /// No credential, or one that is not good.
    Unauthenticated,
    /// The credential is good, and not for this.
    Forbidden,
    /// The keys by which the token would be known cannot be had.
    IssuerUnavailable,
    /// The request names no model and there is no default.
    ModelRequired,
    /// No upstream serves this model.
    ModelNotFound,
    /// Unknown, expired, or never there.
    GenerationNotFound,
    /// There is no such connection, or it has ended.
    ConnectionNotFound,
    /// There is no such prompt, or it is of another version.
    PromptNotFound,
    /// The prompt does not take these variables; `errors` names each.
    InvalidVariables,
    /// As many subscribe to the channel as may.
    ChannelFull,
    /// The service was called by a name that is not its own.
    Misdirected,
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
    /// The `Idempotency-Key` was used for another request.
    IdempotencyConflict,
    /// The caller has used its requests or its tokens of a minute.
    RateLimited,
    /// As many generations run as may, and as many wait.
    TooManyGenerations,
    /// The caller has as many requests in flight as it may.
    TooManyConnections,
    /// Somebody stopped the generation while this request waited for it.
    Cancelled,
    /// No connection to the model's server.
    UpstreamUnreachable,
    /// The model's server refused this service's credentials.
    UpstreamAuth,
    /// The model's server is limiting this service.
    UpstreamRateLimited,
    /// The model's server has too much to do.
    UpstreamOverloaded,
    /// The model's server refused the request as invalid.
    UpstreamRejected,
    /// There is no chat API at the configured address of the model's server.
    UpstreamMisconfigured,
    /// The model's server reported an error.
    UpstreamError,
    /// The model's server ended its answer without saying anything.
    UpstreamEmpty,
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
    /// The events after this id are lost, or the answer for this `Idempotency-Key` is no longer kept.
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

    /// Whether a request is refused for its body.
    pub const fn is_of_the_body(self) -> bool {
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
            Self::Forbidden => "Not allowed",
            Self::IssuerUnavailable => "The identity provider is out of reach",
            Self::ModelRequired => "A model is required",
            Self::ModelNotFound => "No such model",
            Self::GenerationNotFound => "No such generation",
            Self::ConnectionNotFound => "No such connection",
            Self::PromptNotFound => "No such prompt",
            Self::InvalidVariables => "The variables do not fit the prompt",
            Self::ChannelFull => "Too many subscribers",
            Self::Misdirected => "Not a name of this service",
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
            Self::UpstreamUnreachable => "The model's server is out of reach",
            Self::UpstreamAuth => "The model's server refused this service",
            Self::UpstreamRateLimited => "The model's server is limiting this service",
            Self::UpstreamRejected => "The model's server refused the request",
            Self::UpstreamMisconfigured => "The model's server is misconfigured",
            Self::UpstreamError => "The model's server failed",
            Self::UpstreamEmpty => "The answer is empty",
            Self::UpstreamTimeout => "The model's server is silent",
            Self::UpstreamDisconnected => "The answer broke off",
            Self::UpstreamMalformed => "The model's server sent an invalid answer",
            Self::DeadlineExceeded => "The answer took too long",
            Self::TooLarge => "The answer is too large",
            Self::Overloaded => "The service is overloaded",
            Self::ShuttingDown => "The service is restarting",
            Self::HistoryLost => "Events are lost",
            Self::Internal => "The service has a defect",
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
    fn logs_and_metrics_name_a_failure_by_the_code_of_the_api() {
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
