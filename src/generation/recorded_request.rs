//! The request of a generation, as another process needs it to begin the generation anew.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::audience::OnDisconnect;
use super::storage::Storage;
use super::subject::{PromptSource, RepeatPolicy, Subject};
use crate::domain::{Account, Budget, ChatRequest, Principal, Quota, RequestId, Timestamp, Usage, Usd};
use crate::event_log::Recovery;
use crate::json::JsonObject;

/// The request of a generation that another process may begin anew. It has no credential.
#[derive(Clone, Serialize, Deserialize)]
pub struct RecordedRequest {
    pub request_id: RequestId,
    pub model: String,
    /// The fields for the provider, as JSON text.
    pub fields_json: String,
    pub added_limit: Option<NonZeroU32>,
    pub account: Account,
    pub quota: Quota,
    /// The caller's budget, of which `cost` is reserved.
    pub budget: Option<Budget>,
    /// The tokens that are reserved.
    pub reserved: Usage,
    pub cost: Usd,
    /// How long it may wait for a slot.
    pub wait: Duration,
    pub on_disconnect: OnDisconnect,
    pub grace: Duration,
    /// The end of the generation, by the clock of the process that started it.
    pub ends_at: Timestamp,
    pub repeats: RepeatPolicy,
    pub source: PromptSource,
    pub storage: Storage,
}

impl RecordedRequest {
    /// Returns what the event log stores.
    pub fn to_recovery(&self) -> Recovery {
        let grace = (self.on_disconnect == OnDisconnect::Cancel).then_some(self.grace);
        // Cannot fail for these types.
        Recovery { request: serde_json::to_vec(self).unwrap_or_default().into(), grace }
    }

    pub fn request(&self) -> ChatRequest {
        // It was parsed before it was recorded.
        let fields = JsonObject::parse(self.fields_json.as_bytes()).unwrap_or_default();
        ChatRequest { added_limit: self.added_limit, ..ChatRequest::new(self.model.clone(), fields) }
    }

    pub fn subject(&self, owner: &Principal, request: &ChatRequest) -> Subject {
        Subject {
            request_id: self.request_id,
            principal: owner.clone(),
            model: self.model.clone(),
            output_limit: request.output_limit(),
            choices: usize::try_from(request.choices()).unwrap_or(usize::MAX),
            repeats: self.repeats,
            source: self.source,
        }
    }
}
