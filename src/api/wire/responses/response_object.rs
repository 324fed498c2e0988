//! The response object.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::output_items::{ItemState, OutputItem};
use super::response_id::response_id;
use crate::api::wire::frames::SseBlock;
use crate::domain::{Done, Failure, FailureCode, GenerationId, Start, TokenSource, Usage};

/// How a response stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum ResponseState {
    #[default]
    InProgress,
    /// So long after it was created.
    Completed {
        after: Duration,
    },
    /// The answer is cut, for this reason.
    Incomplete(&'static str),
    Cancelled,
    Failed {
        code: &'static str,
        message: String,
    },
}

impl ResponseState {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InProgress => "in_progress",
            Self::Completed { .. } => "completed",
            Self::Incomplete(_) => "incomplete",
            Self::Cancelled => "cancelled",
            Self::Failed { .. } => "failed",
        }
    }

    /// Returns the event that ends a stream so. There is none for a cancellation, and clients fail at others.
    pub const fn event(&self) -> &'static str {
        match self {
            Self::InProgress => "response.in_progress",
            Self::Completed { .. } => "response.completed",
            Self::Incomplete(_) | Self::Cancelled => "response.incomplete",
            Self::Failed { .. } => "response.failed",
        }
    }

    /// Returns the state of a complete answer.
    pub fn of_answer(done: &Done) -> Self {
        match done.finish_of(0).map_or("stop", |finish| &*finish.reason) {
            "length" => Self::Incomplete("max_output_tokens"),
            "content_filter" => Self::Incomplete("content_filter"),
            _ => Self::Completed { after: done.timings.total },
        }
    }

    pub fn of_failure(failure: &Failure) -> Self {
        let words = failure.upstream.as_deref().and_then(|words| words.message.clone());
        let code = match failure.code {
            FailureCode::UpstreamRateLimited | FailureCode::TooManyGenerations => "rate_limit_exceeded",
            FailureCode::UpstreamRejected => "invalid_prompt",
            _ => "server_error",
        };
        Self::Failed { code, message: words.unwrap_or_else(|| failure.detail.clone()) }
    }

    fn error(&self) -> Value {
        match self {
            Self::Failed { code, message } => json!({"code": code, "message": message}),
            _ => Value::Null,
        }
    }

    fn incomplete_details(&self) -> Value {
        match self {
            Self::Incomplete(reason) => json!({"reason": reason}),
            // Without it, the AI SDK takes the answer as complete.
            Self::Cancelled => json!({"reason": "cancelled"}),
            _ => Value::Null,
        }
    }
}

/// Writes a response. `echo` has the members of its request.
pub fn write_response(
    (start, echo): (&Start, &Map<String, Value>),
    (state, usage): (&ResponseState, Option<&Usage>),
    items: &[OutputItem],
    block: &mut SseBlock<'_>,
) {
    let created_at = start.created_at.millis() / 1000;
    let completed_at = match state {
        ResponseState::Completed { after } => Some(start.created_at.after(*after).millis() / 1000),
        _ => None,
    };
    block.data().raw("{\"id\":\"").raw(&response_id(start.generation)).raw("\",\"object\":\"response\"");
    block.data().raw(",\"created_at\":").number(created_at);
    block.data().raw(",\"completed_at\":").json(&completed_at);
    block.data().raw(",\"status\":\"").raw(state.name()).raw("\",\"model\":").json(&start.model);
    block.data().raw(",\"error\":").json(&state.error());
    block.data().raw(",\"incomplete_details\":").json(&state.incomplete_details());
    for (name, value) in echo {
        block.data().raw(",\"").raw(name).raw("\":").json(value);
    }
    block.data().raw(",\"output\":");
    write_items(start.generation, items, block);
    block.data().raw(",\"usage\":").json(&usage.map(usage_json)).raw("}");
}

/// Writes the items of an answer as a list.
pub fn write_items(generation: GenerationId, items: &[OutputItem], block: &mut SseBlock<'_>) {
    block.data().raw("[");
    let mut is_first = true;
    for (index, item) in items.iter().enumerate().filter(|(_, item)| item.state != ItemState::Unnamed) {
        block.data().raw(if std::mem::take(&mut is_first) { "" } else { "," });
        item.write(generation, index, block);
    }
    block.data().raw("]");
}

/// Returns the usage; `estimated` is there if a figure is an estimate of this service.
fn usage_json(usage: &Usage) -> Value {
    let output = usage.output_tokens.unwrap_or_default();
    let mut json = json!({
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens.unwrap_or_default(),
            "cache_write_tokens": usage.cache_write_tokens.unwrap_or_default(),
        },
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens.unwrap_or_default()},
        "total_tokens": usage.input_tokens.saturating_add(output),
    });
    if let (TokenSource::Estimated, Some(members)) = (usage.source, json.as_object_mut()) {
        members.insert("estimated".to_owned(), true.into());
    }
    json
}
