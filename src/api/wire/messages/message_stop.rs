//! How a message of Anthropic's API ends.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::Done;

/// What is known of the end of a message before it comes.
#[derive(Debug, Default)]
pub struct MessageStop {
    refusal: Refusal,
    told: ToldStop,
}

/// Whether the answer has a refusal, which Anthropic's API sends as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Refusal {
    #[default]
    None,
    Given,
}

/// What only an upstream with Anthropic's API tells, in deltas of its own.
#[derive(Debug, Default, Deserialize)]
struct ToldStop {
    stop_sequence: Option<String>,
    stop_details: Option<Value>,
}

impl MessageStop {
    pub const fn refuse(&mut self) {
        self.refusal = Refusal::Given;
    }

    /// Reads a delta that is neither text nor a call.
    pub fn read(&mut self, delta_json: &str) {
        if delta_json.starts_with("{\"stop_")
            && let Ok(told) = serde_json::from_str::<ToldStop>(delta_json)
        {
            self.told.stop_sequence = told.stop_sequence.or(self.told.stop_sequence.take());
            self.told.stop_details = told.stop_details.or(self.told.stop_details.take());
        }
    }

    /// Returns the stop reason of a complete answer.
    pub fn reason(&self, done: &Done) -> &'static str {
        match done.finish_of(0).map_or("stop", |finish| &*finish.reason) {
            _ if self.refusal == Refusal::Given => "refusal",
            "length" => "max_tokens",
            "tool_calls" | "function_call" => "tool_use",
            "content_filter" => "refusal",
            _ if self.told.stop_sequence.is_some() => "stop_sequence",
            _ => "end_turn",
        }
    }

    /// Returns the members of a complete message that tell how it ended.
    pub fn members(&self, done: &Done) -> Value {
        let (reason, ToldStop { stop_sequence, stop_details }) = (self.reason(done), &self.told);
        json!({"stop_reason": reason, "stop_sequence": stop_sequence, "stop_details": stop_details, "container": null})
    }
}
