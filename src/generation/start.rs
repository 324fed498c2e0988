//! The parameters of a new generation, and the reasons why it is refused.

use std::time::Duration;

use super::audience::OnDisconnect;
use super::following::{FollowError, Following};
use super::storage::Storage;
use crate::domain::{
    AllowedModels, ChatTurn, Claim, GenerationId, MessagesForm, Metadata, Notes, OnUpstreamFailure, Principal,
    PromptReference, RequestId, Start, Timestamp, TooMuch, UsageRequest,
};
use crate::event_log::{ClaimError, CreateError};
use crate::json::JsonObject;
use crate::limits::{Allowance, Exceeded, RequestPermit, Spender, WaitPolicy};
use crate::upstream::{Delivery, UnknownModelError};

/// The parameters of a new generation.
pub struct NewGeneration {
    pub owner: Principal,
    pub spender: Spender,
    /// One request of the caller's rate, taken before the body was read.
    pub request: RequestPermit,
    /// Whether it waits in the queue if no slot is free.
    pub wait_policy: WaitPolicy,
    /// The idempotency claim, by which a repeat of the request is recognized.
    pub claim: Option<Claim>,
    /// `None`: the default model.
    pub model: Option<String>,
    /// The models that the caller may use.
    pub allowed: AllowedModels,
    /// The fields for the provider, as in [`ChatRequest::fields`](crate::domain::ChatRequest::fields).
    pub fields: JsonObject,
    /// The same request in the dialect of Anthropic's Messages API, if it was sent in that.
    pub messages_form: Option<MessagesForm>,
    /// How the caller wants the answer. A generation that may outlive its connection always streams.
    pub delivery: Delivery,
    /// The stored prompt that the request was made from, with its version.
    pub prompt: Option<PromptReference>,
    pub metadata: Metadata,
    /// What the wire keeps with the generation.
    pub notes: Option<Notes>,
    /// The chat that the generation belongs to.
    pub chat: Option<ChatTurn>,
    pub usage: UsageRequest,
    pub storage: Storage,
    /// `None`: the default of the settings.
    pub on_disconnect: Option<OnDisconnect>,
    pub on_upstream_failure: OnUpstreamFailure,
    /// `None`: the default of the settings, which is also the maximum.
    pub grace: Option<Duration>,
    pub request_id: RequestId,
}

impl NewGeneration {
    /// Takes what the first entry of the log holds.
    pub(super) fn take_start(&mut self, generation: GenerationId, model: &str) -> Start {
        Start {
            generation,
            owner: self.owner.clone(),
            model: model.to_owned(),
            created_at: Timestamp::now(),
            prompt: self.prompt.take(),
            metadata: std::mem::take(&mut self.metadata),
            usage: self.usage,
            notes: self.notes.take(),
            chat: self.chat.map(|turn| turn.chat),
        }
    }
}

/// A started generation, followed by the viewer that requested it.
pub struct StartedGeneration {
    pub following: Following,
    pub origin: Origin,
}

impl StartedGeneration {
    /// A generation that was running before.
    pub(super) const fn joined(following: Following) -> Self {
        Self { following, origin: Origin::Existing }
    }
}

/// Whether a request started its generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    New,
    /// The request is a repeat: it joined the generation that it had started before, or that its chat has.
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
    #[error("the caller may not use this model")]
    ModelForbidden,
    /// The caller has a budget, and a target of the model has no price.
    #[error("the model has no price")]
    ModelUnpriced,
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    /// A limit of the caller's is exceeded; with the rest of all its limits.
    #[error("a limit is reached")]
    Exceeded(Exceeded, Allowance),
    #[error("the limits did not answer in time")]
    LimitsUnavailable,
    /// The event log did not create the generation's log.
    #[error(transparent)]
    Log(#[from] CreateError),
    /// The claim named a generation that has been removed since.
    #[error(transparent)]
    Gone(#[from] FollowError),
}

impl From<UnknownModelError> for StartError {
    fn from(unknown: UnknownModelError) -> Self {
        match unknown {
            UnknownModelError::Unnamed => Self::ModelRequired,
            UnknownModelError::Unserved => Self::ModelNotFound,
        }
    }
}

impl From<ClaimError> for StartError {
    fn from(error: ClaimError) -> Self {
        Self::Log(error.into())
    }
}
