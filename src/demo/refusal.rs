use std::time::Duration;

use hyper::{
    Response, StatusCode,
    header::{ALLOW, HeaderValue, RETRY_AFTER},
};
use serde_json::{Value, json};
use thiserror::Error;

use super::{
    options::{self, InvalidOptionError},
    response::{self, DemoBody},
};

/// Most characters of a parser's message, which quotes parts of the request.
const LONGEST_DETAIL: usize = 200;

/// Every error response, in the shape that the SDKs read: `{"error":{"message","type","param","code"}}`.
#[derive(Debug, Error)]
pub(super) enum DemoRefusal {
    #[error("The demo model requires the key of this process as `Authorization: Bearer`.")]
    Unauthenticated,
    #[error("The demo model serves POST /v1/chat/completions, POST /v1/embeddings and GET /v1/models.")]
    NotFound,
    #[error("This path accepts only {0}.")]
    WrongMethod(&'static str),
    #[error("The request body is larger than 16 MiB.")]
    TooLarge,
    #[error("Request body timeout.")]
    TooSlow,
    #[error("The request body was cut off.")]
    BrokenBody,
    #[error("The body is not a chat completion request: {0}")]
    Malformed(String),
    #[error("The body is not a request for embeddings: {0}")]
    MalformedEmbeddings(String),
    #[error("`{param}` accepts {accepts}.")]
    OutOfRange { param: &'static str, accepts: &'static str },
    #[error("The demo server has no model `{0}`, only `demo`.")]
    UnknownModel(String),
    #[error("{0} The options of the demo model are {known}.", known = options::known())]
    Option(#[from] InvalidOptionError),
    /// The `status` option.
    #[error("The demo model refused the request with {status}, as the option `status` requests.")]
    RequestedStatus { status: StatusCode, retry_after: Option<Duration> },
    /// The `fail_at` option.
    #[error("The demo model failed here, as the option `fail_at` requests.")]
    Failed,
}

fn shortened(error: &serde_json::Error) -> String {
    error.to_string().chars().take(LONGEST_DETAIL).collect()
}

impl DemoRefusal {
    pub(super) fn malformed(error: &serde_json::Error) -> Self {
        Self::Malformed(shortened(error))
    }

    pub(super) fn malformed_embeddings(error: &serde_json::Error) -> Self {
        Self::MalformedEmbeddings(shortened(error))
    }

    pub(super) fn response(&self) -> Response<DemoBody> {
        let mut response = response::json(&self.body());
        *response.status_mut() = self.status();
        match self {
            Self::WrongMethod(method) => {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
            }
            Self::RequestedStatus { retry_after: Some(wait), .. } => {
                response.headers_mut().insert(RETRY_AFTER, wait.as_secs().into());
            }
            _ => {}
        }
        response
    }

    pub(super) fn body(&self) -> Value {
        json!({"error": {
            "message": self.to_string(),
            "type": self.kind(),
            "param": self.param(),
            "code": self.code(),
        }})
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::NotFound | Self::UnknownModel(_) => StatusCode::NOT_FOUND,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BrokenBody
            | Self::Malformed(_)
            | Self::MalformedEmbeddings(_)
            | Self::OutOfRange { .. }
            | Self::Option(_) => StatusCode::BAD_REQUEST,
            Self::RequestedStatus { status, .. } => *status,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn kind(&self) -> &'static str {
        match self.status() {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        }
    }

    fn param(&self) -> Option<&'static str> {
        match self {
            Self::OutOfRange { param, .. } => Some(param),
            Self::UnknownModel(_) | Self::Option(_) => Some("model"),
            _ => None,
        }
    }

    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Unauthenticated => Some("invalid_api_key"),
            Self::UnknownModel(_) => Some("model_not_found"),
            Self::Option(_) => Some("invalid_demo_option"),
            Self::RequestedStatus { .. } => Some("demo_status"),
            Self::Failed => Some("demo_failure"),
            _ => None,
        }
    }
}
