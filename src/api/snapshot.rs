//! A generation's state as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::ProblemBody;
use super::wire::measures::{CostBody, TimingsBody, UsageBody};
use super::wire::native::data::CancelledReason;
use crate::domain::Metadata;
use crate::generation::Status;

/// The state of a generation so far.
// `state_json.rs` writes the JSON, without ever holding the texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Generation)]
pub struct SnapshotBody {
    pub id: String,
    pub status: StatusBody,
    /// The model that answers.
    pub model: String,
    /// The prompt that the request referred to, as `id@version`; absent if it referred to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "summarise@0123456789ab")]
    pub prompt: Option<String>,
    /// When the request was accepted (RFC 3339, UTC).
    #[schema(format = "date-time")]
    pub created_at: String,
    /// The id of the last event that this state includes. The events after it are at
    /// `GET /v1/generations/{id}/events?after=` and this id.
    pub last_event_id: String,
    /// The sequence number of that event.
    pub last_sequence: u64,
    /// The first choice.
    #[serde(flatten)]
    pub first: ChoiceBody,
    /// All choices, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<NumberedChoice>,
    /// Why the generation was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelledReason>,
    /// Why the generation failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ProblemBody>,
    /// Present after the generation has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageBody>,
    /// What the tokens cost in US dollars; absent if that is unknown, and before the generation has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, example = 0.0022)]
    pub cost: Option<CostBody>,
    /// Present after the generation has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<TimingsBody>,
    /// The metadata of the request.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    #[schema(value_type = BTreeMap<String, String>)]
    pub metadata: Metadata,
}

/// The status of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Status)]
pub enum StatusBody {
    Running,
    Done,
    Cancelled,
    Failed,
}

impl StatusBody {
    pub const fn of(status: &Status) -> Self {
        match status {
            Status::Running => Self::Running,
            Status::Done(_) => Self::Done,
            Status::Cancelled(_) => Self::Cancelled,
            Status::Failed(_) => Self::Failed,
        }
    }
}

/// One choice of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Choice)]
pub struct ChoiceBody {
    pub text: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub refusal: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallBody>,
    /// Why the choice ended; present after the model has finished it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// Present and true if the provider gave no reason; `finish_reason` then is `stop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason_missing: Option<bool>,
}

/// One of several choices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NumberedChoice {
    pub choice: u32,
    #[serde(flatten)]
    pub said: ChoiceBody,
}

/// A tool call, with its fragments joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ToolCall)]
pub struct ToolCallBody {
    pub id: String,
    pub name: String,
    /// JSON; incomplete until the generation is done.
    pub arguments: String,
}
