//! The problems of generations that cannot be started or followed.

use super::problem::{ErrorCode, FieldError, Problem};
use crate::domain::TooMuch;
use crate::generation::{CreateError, FollowError, StartError};

impl From<FollowError> for Problem {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::NotFound => Self::generation_not_found(),
            FollowError::HistoryLost | FollowError::AtEnd => Problem::history_lost(),
            FollowError::LogUnavailable(_) => Self::event_log_unavailable(),
        }
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Draining => Self::shutting_down(),
            StartError::ModelRequired => {
                Self::new(ErrorCode::ModelRequired, "Send a model in the field model: GET /v1/models lists them.")
            }
            StartError::ModelNotFound => Self::new(
                ErrorCode::ModelNotFound,
                "No upstream serves this model. GET /v1/models lists the available ones.",
            ),
            StartError::ModelForbidden => Self::forbidden(),
            StartError::ModelUnpriced => Self::new(
                ErrorCode::ModelUnpriced,
                "You have a budget, and the operator has set no price for this model. Send another model.",
            ),
            StartError::TooMuch(TooMuch { field, demand }) => {
                Self::invalid(vec![FieldError { pointer: format!("/{field}"), detail: demand.to_string() }])
            }
            StartError::Exceeded(exceeded, left) => Self::exceeded(exceeded, left),
            StartError::LimitsUnavailable => Self::limits_unavailable(),
            StartError::Log(error) => error.into(),
            StartError::Gone(error) => error.into(),
        }
    }
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Full => Self::new(
                ErrorCode::Overloaded,
                "This service is out of memory for answers. Try again in a few seconds.",
            ),
            CreateError::Conflict(_) => Self::new(
                ErrorCode::IdempotencyConflict,
                "This Idempotency-Key was used for another request. Send a new key with each new request.",
            ),
            CreateError::Lost(lost) => Self::answer_lost(lost.usage),
            CreateError::TooManyTombstones(wait) => Self::too_many_lost_answers(wait),
            CreateError::Unavailable(_) => Self::event_log_unavailable(),
        }
    }
}
