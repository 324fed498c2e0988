//! A field of a request that the dialect of an upstream cannot carry.

use super::{AttemptError, AttemptErrorKind, ErrorReport, Sent};
use crate::domain::UncarriedField;

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

    /// Returns the error of an attempt that is not made.
    pub fn into_attempt_error(self) -> AttemptError {
        AttemptError::new(AttemptErrorKind::Unsupported(Box::new(self.into_report())), Sent::No)
    }

    /// Returns the error as an upstream would report it. The text is Tokenrill's own, so callers always read it.
    fn into_report(self) -> ErrorReport {
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

impl From<&UncarriedField> for UnsupportedFieldError {
    fn from(uncarried: &UncarriedField) -> Self {
        Self::new(uncarried.field.clone(), uncarried.reason)
    }
}
