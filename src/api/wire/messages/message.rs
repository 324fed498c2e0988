//! The parts of a message of Anthropic's API, for streams and whole answers.

use serde_json::{Value, json};

use crate::domain::{GenerationId, Start, Usage};

/// Returns the message before its content: all members but `content`, `stop_reason` and `usage`.
pub fn message_head(start: &Start) -> Value {
    json!({
        "id": message_id(start.generation),
        "type": "message",
        "role": "assistant",
        "model": start.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "stop_details": null,
        "container": null,
    })
}

/// Returns the id of a generation's message, which is the same in every replay.
pub fn message_id(generation: GenerationId) -> String {
    let id = generation.to_string();
    format!("msg_{}", id.strip_prefix("gen_").unwrap_or(&id))
}

/// Returns the usage as Anthropic counts it: the input without the tokens read from a cache and written to it.
pub fn usage_json(usage: &Usage) -> Value {
    let [read, write] = [usage.cache_read_tokens, usage.cache_write_tokens].map(Option::unwrap_or_default);
    json!({
        "input_tokens": usage.input_tokens.saturating_sub(read).saturating_sub(write),
        "cache_creation_input_tokens": write,
        "cache_read_input_tokens": read,
        "cache_creation": null,
        "output_tokens": usage.output_tokens.unwrap_or_default(),
        "output_tokens_details": usage.reasoning_tokens.map(|tokens| json!({"thinking_tokens": tokens})),
        "server_tool_use": null,
        "service_tier": null,
    })
}
