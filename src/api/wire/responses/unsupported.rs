//! Refusals of what this service does not carry, by the name of the field.

use crate::api::problem::{ErrorCode, FieldError, Problem};

/// Returns the problem for a value that is not carried.
pub fn value(pointer: &str, detail: &str) -> Problem {
    refusal(ErrorCode::UnsupportedValue, pointer, detail)
}

/// Returns the problem for a field that is not carried.
pub fn parameter(pointer: &str, detail: &str) -> Problem {
    refusal(ErrorCode::UnsupportedParameter, pointer, detail)
}

/// Returns the problem for an earlier response that cannot be continued.
pub fn previous_response(detail: &str) -> Problem {
    refusal(ErrorCode::PreviousResponseNotFound, "/previous_response_id", detail)
}

/// Returns the problem for a field of the wrong type.
pub fn invalid(pointer: &str, detail: &str) -> Problem {
    refusal(ErrorCode::InvalidRequest, pointer, detail)
}

/// Returns the problem for a field that a request must have.
pub fn missing(pointer: &str, detail: &str) -> Problem {
    refusal(ErrorCode::MissingRequiredParameter, pointer, detail)
}

fn refusal(code: ErrorCode, pointer: &str, detail: &str) -> Problem {
    Problem::of_fields(code, vec![FieldError { pointer: pointer.to_owned(), detail: detail.to_owned() }])
}
