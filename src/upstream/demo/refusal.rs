use std::time::Duration;

use hyper::{
    Response, StatusCode,
    header::{ALLOW, HeaderValue, RETRY_AFTER},
};
use serde_json::{Value, json};
use thiserror::Error;

use super::{
    options::{self, InvalidOption},
    routes,
    stream::Body,
};

/// Parsers quote what they stumble over; this is how much of it is repeated.
const LONGEST_DETAIL: usize = 200;

/// Every answer that is not a completion, in the shape that the SDKs read:
/// `{"error":{"message","type","param","code"}}`.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error("The demo model wants this process's own key as `Authorization: Bearer`.")]
    Unauthenticated,
    #[error("The demo model serves POST /v1/chat/completions and GET /v1/models.")]
    NotFound,
    #[error("This path takes {0} only.")]
    WrongMethod(&'static str),
    #[error("The request's body is above 16 MiB.")]
    TooLarge,
    #[error("The request's body did not arrive in time.")]
    TooSlow,
    #[error("The request's body broke off.")]
    BrokenBody,
    #[error("This is not a chat completion request: {0}")]
    Malformed(String),
    #[error("`{param}` takes {takes}.")]
    OutOfRange { param: &'static str, takes: &'static str },
    #[error("There is no model `{0}` here; the only one is `demo`.")]
    UnknownModel(String),
    #[error("{0} The options of the demo model are {known}.", known = options::known())]
    Option(#[from] InvalidOption),
    /// The `status` option.
    #[error("The demo model refuses with {status}, as the model's name asks.")]
    AsAsked { status: StatusCode, retry_after: Option<Duration> },
    /// The `fail_at` option.
    #[error("The demo model fails here, as the model's name asks.")]
    Failed,
}

impl Refusal {
    pub(super) fn malformed(error: &serde_json::Error) -> Self {
        Self::Malformed(error.to_string().chars().take(LONGEST_DETAIL).collect())
    }

    pub(super) fn response(&self) -> Response<Body> {
        let mut response = routes::json(&self.body());
        *response.status_mut() = self.status();
        match self {
            Self::WrongMethod(method) => {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
            }
            Self::AsAsked { retry_after: Some(wait), .. } => {
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
            Self::BrokenBody | Self::Malformed(_) | Self::OutOfRange { .. } | Self::Option(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::AsAsked { status, .. } => *status,
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
            Self::AsAsked { .. } => Some("demo_status"),
            Self::Failed => Some("demo_failure"),
            _ => None,
        }
    }
}
