//! The closed list of error codes, in one table, and the only place that maps them to statuses.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::FailureCode;
pub use crate::domain::Remedy;

/// What a code is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concern {
    /// The body of the request.
    Body,
    Other,
}

/// One row of the table.
struct CodeEntry {
    status: StatusCode,
    remedy: Remedy,
    concern: Concern,
    title: &'static str,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $code:ident: $status:ident, $remedy:ident, $concern:ident, $title:literal;)*) => {
        /// The closed list of error codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode {
            $($(#[$doc])* $code,)*
        }

        impl ErrorCode {
            const fn entry(self) -> CodeEntry {
                let (status, remedy, concern, title) = match self {
                    $(Self::$code => (StatusCode::$status, Remedy::$remedy, Concern::$concern, $title),)*
                };
                CodeEntry { status, remedy, concern, title }
            }
        }
    };
}

error_codes! {
    /// The body is not JSON.
    InvalidJson: BAD_REQUEST, Change, Body, "The request body is not valid JSON";
    /// A field is missing, of the wrong type or out of range; `errors` lists each.
    InvalidRequest: BAD_REQUEST, Change, Body, "The request is invalid";
    /// The credential is missing or invalid.
    Unauthenticated: UNAUTHORIZED, Change, Other, "Not authenticated";
    /// The credential is valid but does not permit this operation.
    Forbidden: FORBIDDEN, Change, Other, "Forbidden";
    /// The identity provider's keys, which verify the token, are unavailable.
    IssuerUnavailable: SERVICE_UNAVAILABLE, Wait, Other, "The identity provider is unreachable";
    /// The request names no model and there is no default.
    ModelRequired: BAD_REQUEST, Change, Body, "A model is required";
    /// No upstream serves this model.
    ModelNotFound: NOT_FOUND, Change, Body, "No such model";
    /// The caller has a budget, and the cost of this model is unknown.
    ModelUnpriced: FORBIDDEN, Change, Body, "The model has no price";
    /// The generation does not exist, has expired or belongs to another caller.
    GenerationNotFound: NOT_FOUND, Change, Other, "No such generation";
    /// The connection does not exist or has ended.
    ConnectionNotFound: NOT_FOUND, Change, Other, "No such connection";
    /// The prompt does not exist or has another version.
    PromptNotFound: NOT_FOUND, Change, Body, "No such prompt";
    /// The variables do not match the prompt's parameters; `errors` lists each.
    InvalidVariables: UNPROCESSABLE_ENTITY, Change, Body, "The variables do not fit the prompt";
    /// The channel has the maximum number of subscribers.
    ChannelFull: SERVICE_UNAVAILABLE, Wait, Other, "Too many subscribers";
    /// The `Host` of the request is not a name of this service.
    Misdirected: MISDIRECTED_REQUEST, Change, Other, "The host is not a name of this service";
    /// The path does not exist.
    RouteNotFound: NOT_FOUND, Change, Other, "No such path";
    /// The path does not support this method.
    MethodNotAllowed: METHOD_NOT_ALLOWED, Change, Other, "Method not allowed";
    /// `Accept` permits none of the response formats.
    NotAcceptable: NOT_ACCEPTABLE, Change, Other, "Not acceptable";
    /// The body took too long to arrive.
    RequestTimeout: REQUEST_TIMEOUT, Wait, Other, "Request body timeout";
    /// The body is larger than `server.max_body`.
    BodyTooLarge: PAYLOAD_TOO_LARGE, Change, Body, "The request body is too large";
    /// The body's content type is not `application/json`.
    UnsupportedMediaType: UNSUPPORTED_MEDIA_TYPE, Change, Other, "The content type is not application/json";
    /// Without authentication, the id of the chat is too short to be a secret.
    ChatIdGuessable: BAD_REQUEST, Change, Body, "The id of the chat is guessable";
    /// A value is valid in the format of the request, but this service does not carry it.
    UnsupportedValue: BAD_REQUEST, Change, Body, "Unsupported value";
    /// A field is valid in the format of the request, but this service does not carry it.
    UnsupportedParameter: BAD_REQUEST, Change, Body, "Unsupported field";
    /// The response that the request continues is unknown, still running, or no longer kept.
    MissingRequiredParameter: BAD_REQUEST, Change, Body, "Missing parameter";
    PreviousResponseNotFound: BAD_REQUEST, Change, Body, "No such previous response";
    /// The `Idempotency-Key` was used for another request.
    IdempotencyConflict: UNPROCESSABLE_ENTITY, Change, Body, "The key was used for another request";
    /// The caller has exhausted one of its rates per minute.
    RateLimited: TOO_MANY_REQUESTS, Wait, Other, "Rate limit exceeded";
    /// The maximum number of generations is running, and the queue is full or the request may not wait any longer.
    TooManyGenerations: TOO_MANY_REQUESTS, Wait, Other, "Too many generations at once";
    /// The request may cost more than the caller's budget leaves. It is whole again when its day or month is over.
    BudgetExceeded: TOO_MANY_REQUESTS, Change, Other, "Budget exceeded";
    /// The caller has its maximum number of requests in flight.
    TooManyConnections: TOO_MANY_REQUESTS, Wait, Other, "Too many requests in flight";
    /// The generation was stopped, or the request displaced, while the request waited.
    Cancelled: CONFLICT, Change, Other, "The generation was cancelled";
    /// No connection to the model's server.
    UpstreamUnreachable: BAD_GATEWAY, Wait, Other, "The model's server is unreachable";
    /// The model's server refused this service's credentials.
    UpstreamAuth: BAD_GATEWAY, Change, Other, "The model's server refused this service";
    /// The model's server rate limits this service.
    UpstreamRateLimited: TOO_MANY_REQUESTS, Wait, Other, "The model's server rate limits this service";
    /// The model's server is overloaded.
    UpstreamOverloaded: SERVICE_UNAVAILABLE, Wait, Other, "The model's server is overloaded";
    /// The model's server refused the request as invalid.
    UpstreamRejected: BAD_REQUEST, Change, Other, "The model's server refused the request";
    /// There is no chat API at the configured address of the model's server.
    UpstreamMisconfigured: BAD_GATEWAY, Change, Other, "The model's server is misconfigured";
    /// The model's server reported an error.
    UpstreamError: BAD_GATEWAY, Wait, Other, "The model's server failed";
    /// The model's server ended its answer without content.
    UpstreamEmpty: BAD_GATEWAY, Wait, Other, "The answer is empty";
    /// The model's server sent no data for too long.
    UpstreamTimeout: GATEWAY_TIMEOUT, Wait, Other, "The model's server timed out";
    /// The model's server disconnected before the end of its answer.
    UpstreamDisconnected: BAD_GATEWAY, Wait, Other, "The model's server disconnected";
    /// The model's server failed and another one began anew. Only in streams of a format that cannot withdraw the text
    /// before: the events after this one have the new answer.
    UpstreamRestarted: BAD_GATEWAY, Change, Other, "The answer was withdrawn";
    /// The model's server sent data that is not a chat completion.
    UpstreamMalformed: BAD_GATEWAY, Change, Other, "The model's server sent an invalid answer";
    /// The generation took longer than `generation.max_duration`.
    DeadlineExceeded: GATEWAY_TIMEOUT, Change, Other, "The answer took too long";
    /// The answer is larger than `generation.max_bytes`.
    TooLarge: INTERNAL_SERVER_ERROR, Change, Other, "The answer is too large";
    /// The service has reached a limit of its load or memory.
    Overloaded: SERVICE_UNAVAILABLE, Wait, Other, "The service is overloaded";
    /// The store of the answers does not respond.
    EventLogUnavailable: SERVICE_UNAVAILABLE, Wait, Other, "The event log does not respond";
    /// The replica that ran the generation is lost.
    ReplicaLost: SERVICE_UNAVAILABLE, Wait, Other, "The replica of the generation is lost";
    /// The service is stopping.
    ShuttingDown: SERVICE_UNAVAILABLE, Wait, Other, "The service is restarting";
    /// The events after this id, or the answer for this `Idempotency-Key`, are no longer kept.
    HistoryLost: GONE, Change, Other, "Events are lost";
    /// A defect of this service.
    Internal: INTERNAL_SERVER_ERROR, Change, Other, "Internal error";
}

impl ErrorCode {
    pub const fn status(self) -> StatusCode {
        self.entry().status
    }

    /// Whether the code refuses a request because of its body.
    pub fn concerns_body(self) -> bool {
        self.entry().concern == Concern::Body
    }

    pub const fn title(self) -> &'static str {
        self.entry().title
    }

    pub const fn remedy(self) -> Remedy {
        self.entry().remedy
    }

    /// Returns the code in JSON.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => String::new(),
        }
    }
}

/// Each failure of a generation has the error code of the same name.
macro_rules! failure_codes {
    ($($code:ident)*) => {
        impl From<FailureCode> for ErrorCode {
            fn from(code: FailureCode) -> Self {
                match code {
                    $(FailureCode::$code => Self::$code,)*
                }
            }
        }

        #[cfg(test)]
        const FAILURES: &[FailureCode] = &[$(FailureCode::$code),*];
    };
}

failure_codes! {
    UpstreamUnreachable
    UpstreamAuth
    UpstreamRateLimited
    UpstreamOverloaded
    ModelNotFound
    UpstreamRejected
    UpstreamMisconfigured
    UpstreamError
    UpstreamEmpty
    UpstreamTimeout
    UpstreamDisconnected
    UpstreamMalformed
    TooManyGenerations
    DeadlineExceeded
    TooLarge
    Overloaded
    ShuttingDown
    ReplicaLost
    Internal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_has_the_same_name_in_logs_metrics_and_api() {
        for code in FAILURES {
            assert_eq!(code.name(), ErrorCode::from(*code).name());
        }
    }
}
