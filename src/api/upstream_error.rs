//! The error of an upstream, as callers see it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::UpstreamWords;

/// The error that the upstream returned for the request. Keys, account ids and addresses are masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamErrorBody {
    /// The upstream's HTTP status, if it refused the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The upstream's type of error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "invalid_request_error")]
    pub r#type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "context_length_exceeded")]
    pub code: Option<String>,
    /// The invalid field of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "messages")]
    pub param: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl From<&UpstreamWords> for UpstreamErrorBody {
    fn from(words: &UpstreamWords) -> Self {
        Self {
            status: words.status,
            r#type: words.kind.clone(),
            code: words.code.clone(),
            param: words.param.clone(),
            message: words.message.clone(),
        }
    }
}
