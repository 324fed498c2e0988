//! What a generation is started with, and why it is not.

use std::time::Duration;

use super::audience::OnDisconnect;
use super::following::Following;
use super::service::FollowError;
use super::storage::Storage;
use crate::domain::{AllowedModels, Claim, Metadata, Principal, PromptReference, RequestId, TooMuch, UsageWish};
use crate::event_log::{ClaimError, Conflict, CreateError, LostAnswer};
use crate::json::JsonObject;
use crate::limits::{Allowance, Exceeded, Patience, RequestPermit, Spender};
use crate::upstream::{Delivery, UnknownModel};

/// A generation to be started.
pub struct NewGeneration {
    pub owner: Principal,
    pub spender: Spender,
    /// One request of the caller's rate, which was taken before the body was read.
    pub request: RequestPermit,
    /// Whether it waits where there is no place for it to run.
    pub patience: Patience,
    /// By which a repeat of the request is known.
    pub claim: Option<Claim>,
    /// Absent: the default model.
    pub model: Option<String>,
    /// Those that the caller may ask.
    pub allowed: AllowedModels,
    /// The fields for the provider, as in [`ChatRequest::fields`](crate::domain::ChatRequest::fields).
    pub fields: JsonObject,
    /// How the caller wants the answer; a generation that outlives its connection streams all the same.
    pub delivery: Delivery,
    /// The prompt that it was made of, with its version.
    pub prompt: Option<PromptReference>,
    pub metadata: Metadata,
    pub usage: UsageWish,
    pub storage: Storage,
    /// Absent: as the settings say.
    pub on_disconnect: Option<OnDisconnect>,
    /// Absent: as the settings say, which is also the most.
    pub grace: Option<Duration>,
    pub request_id: RequestId,
}

/// A generation, and the viewer whose request it answers.
pub struct Started {
    pub following: Following,
    pub origin: Origin,
}

/// Whether a request started its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    New,
    /// The request is a repeat: it joined what it had started before.
    Existing,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error("the service is draining")]
    Draining,
    #[error("no model is named and there is no default")]
    ModelRequired,
    #[error("no upstream serves this model")]
    ModelNotFound,
    #[error("the model is not for this caller")]
    ModelForbidden,
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// A limit of the caller's, with what is left of all.
    #[error("a limit is reached")]
    Exceeded(Exceeded, Allowance),
    #[error("the event log is full")]
    Full,
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error(transparent)]
    Lost(#[from] LostAnswer),
    /// The account has too many keys whose answers are lost; the oldest is free after this time.
    #[error("the account has too many idempotency keys whose answers are lost")]
    TooManyTombstones(Duration),
    /// The claim named a generation that has gone meanwhile.
    #[error(transparent)]
    Gone(#[from] FollowError),
}

impl From<UnknownModel> for StartError {
    fn from(unknown: UnknownModel) -> Self {
        match unknown {
            UnknownModel::Unnamed => Self::ModelRequired,
            UnknownModel::Unserved => Self::ModelNotFound,
        }
    }
}

impl From<CreateError> for StartError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Full => Self::Full,
            CreateError::Conflict(conflict) => Self::Conflict(conflict),
            CreateError::Lost(lost) => Self::Lost(lost),
            CreateError::TooManyTombstones(wait) => Self::TooManyTombstones(wait),
        }
    }
}

impl From<ClaimError> for StartError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Conflict(conflict) => Self::Conflict(conflict),
            ClaimError::Lost(lost) => Self::Lost(lost),
        }
    }
}
