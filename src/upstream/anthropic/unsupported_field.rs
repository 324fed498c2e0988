//! A field of a request that Anthropic's API cannot carry.

use super::super::ErrorReport;

/// The request is refused before anything is sent, because leaving the field out would change its meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {reason}")]
pub struct UnsupportedFieldError {
    /// The place of the field in the request, such as `messages[0].content`.
    pub field: String,
    /// Follows the name of the field. Holds no value of the request.
    pub reason: &'static str,
}

impl UnsupportedFieldError {
    pub fn new(field: impl Into<String>, reason: &'static str) -> Self {
        Self { field: field.into(), reason }
    }

    /// Returns the error as an upstream would report it. The text is Tokenrill's own, so callers always read it.
    pub fn into_report(self) -> ErrorReport {
        let message = self.to_string();
        ErrorReport {
            kind: Some("invalid_request_error".to_owned()),
            code: Some("unsupported_parameter".to_owned()),
            param: Some(self.field),
            public_message: Some(message.clone()),
            message: Some(message),
            request_id: None,
        }
    }
}
