//! The `data` of the native wire's events.
//!
//! Texts are not written through these types: they are copied, still escaped, from the log into the frame.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::super::problem::ProblemBody;
use super::super::measures::{CostBody, TimingsBody, UsageBody};
use crate::domain::{CancelReason, Cancelled, Done, Failed, Restart, Start, Stated};

/// The names of all events.
pub const EVENTS: [&str; 12] = [
    "start",
    "queued",
    "delta",
    "reasoning",
    "tool_call",
    "refusal",
    "part",
    "restart",
    "snapshot",
    "done",
    "cancelled",
    "failed",
];

/// The generation has started. Always the first event, before the model answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartData {
    /// The id of the generation, to follow, cancel or inspect it.
    pub generation: String,
    /// The model that answers.
    pub model: String,
    /// The prompt that the request referred to, as `id@version`; absent if it referred to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "summarise@0123456789ab")]
    pub prompt: Option<String>,
    /// When the request was accepted (RFC 3339, UTC).
    #[schema(format = "date-time")]
    pub created_at: String,
}

/// The generation waits for a slot. Sent again when its queue position changes. Not kept, so it has no id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QueuedData {
    /// The queue position; 1 is the next.
    pub position: u32,
    /// The estimated wait in milliseconds, derived from the durations of other generations. Absent if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_ms: Option<u64>,
}

/// A piece of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeltaData {
    pub text: String,
    /// The choice that this belongs to; absent for the first, which is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<u32>,
    /// Log probabilities as the provider returned them, if the request asked for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Value>,
}

/// A piece of the model's reasoning, or of a refusal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextData {
    pub text: String,
    /// The choice that this belongs to; absent for the first, which is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<u32>,
}

/// A fragment of a tool call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolCallData {
    /// The index of the call in its choice, from 0.
    pub index: u32,
    /// The choice that this belongs to; absent for the first, which is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<u32>,
    /// The id of the call; only in its first fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The name of the tool; only in the call's first fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The next characters of the arguments. All fragments together are JSON.
    pub arguments: String,
}

/// Other members of the model's delta, unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PartData {
    #[schema(value_type = Object)]
    pub delta: Value,
    /// The choice that this belongs to; absent for the first, which is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<u32>,
}

/// The upstream failed and another one begins anew: discard all texts and parts after the event with the number `from`,
/// which are all so far. Sent only if the request has `on_upstream_failure: "restart"`, and never after a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartData {
    /// The number of the last event that stays, as in its id.
    #[schema(example = 1)]
    pub from: u64,
    /// Why the answer before is incomplete, as an error code.
    #[schema(example = "upstream_timeout")]
    pub reason: String,
}

/// The answer is complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DoneData {
    /// Why the first choice ended: `stop`, `length`, `tool_calls`, `content_filter`, or another value of the provider.
    #[schema(example = "stop")]
    pub finish_reason: String,
    /// Present and true if the provider gave no reason; `finish_reason` then is `stop`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub finish_reason_missing: bool,
    /// Why each choice ended, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Vec<FinishedChoice>>,
    pub usage: UsageBody,
    /// What the tokens cost in US dollars; absent if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, example = 0.0022)]
    pub cost: Option<CostBody>,
    pub timings: TimingsBody,
}

/// Why one of several choices ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishedChoice {
    pub choice: u32,
    pub finish_reason: String,
    /// Present and true if the provider gave no reason; `finish_reason` then is `stop`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub finish_reason_missing: bool,
}

/// The generation was cancelled. The events before this one are the incomplete answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelledData {
    pub reason: CancelledReason,
    pub usage: UsageBody,
    /// What the tokens cost in US dollars; absent if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, example = 0.0022)]
    pub cost: Option<CostBody>,
    pub timings: TimingsBody,
}

/// Why the generation was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelledReason {
    /// A client called `cancel` or `DELETE`.
    ClientRequest,
    /// The last viewer disconnected, and the grace period has ended.
    Abandoned,
}

/// The generation failed, or the request was refused before the generation started. A refusal contains only the error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FailedData {
    pub error: ProblemBody,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageBody>,
    /// What the tokens cost in US dollars; absent if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, example = 0.0022)]
    pub cost: Option<CostBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<TimingsBody>,
}

impl From<&Restart> for RestartData {
    fn from(restart: &Restart) -> Self {
        Self { from: restart.from.get(), reason: restart.reason.name().to_owned() }
    }
}

impl From<&Start> for StartData {
    fn from(start: &Start) -> Self {
        Self {
            generation: start.generation.to_string(),
            model: start.model.clone(),
            prompt: start.prompt.as_ref().map(ToString::to_string),
            created_at: start.created_at.to_string(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl From<&Done> for DoneData {
    fn from(done: &Done) -> Self {
        let finished = done.finish.iter();
        let choices = finished.map(|finish| FinishedChoice {
            choice: finish.choice,
            finish_reason: finish.reason.to_string(),
            finish_reason_missing: finish.stated == Stated::No,
        });
        let choices: Vec<_> = choices.collect();
        Self {
            finish_reason: choices.first().map(|first| first.finish_reason.clone()).unwrap_or_default(),
            finish_reason_missing: choices.first().is_some_and(|first| first.finish_reason_missing),
            choices: Some(choices).filter(|choices| choices.len() > 1),
            usage: done.usage.into(),
            cost: done.usage.cost.map(CostBody),
            timings: done.timings.into(),
        }
    }
}

impl From<&Cancelled> for CancelledData {
    fn from(cancelled: &Cancelled) -> Self {
        let reason = match cancelled.reason {
            CancelReason::ClientRequest => CancelledReason::ClientRequest,
            CancelReason::Abandoned => CancelledReason::Abandoned,
        };
        let cost = cancelled.usage.cost.map(CostBody);
        Self { reason, usage: cancelled.usage.into(), cost, timings: cancelled.timings.into() }
    }
}

impl From<&Failed> for FailedData {
    fn from(failed: &Failed) -> Self {
        Self {
            error: ProblemBody::from(&failed.failure),
            usage: failed.usage.map(UsageBody::from),
            cost: failed.usage.and_then(|usage| usage.cost).map(CostBody),
            timings: Some(failed.timings.into()),
        }
    }
}
