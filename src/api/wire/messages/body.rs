//! The body of a request for a message, in the OpenAPI document.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::openapi::paths::set;
use crate::api::openapi::requests::set_examples;

pub const OPERATION: (&str, &str) = ("/v1/messages", "post");

/// A request for a message in the form of Anthropic's Messages API. Other fields of that API are accepted too: a target
/// with Anthropic's API receives the request as it came, any other target what chat completions can carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NewMessage)]
pub struct MessagesBody {
    /// The model. Required unless there is a default.
    #[schema(example = "demo?tokens=5&rate=max")]
    pub model: Option<String>,
    /// The maximum tokens of the answer. Required for an answer.
    #[schema(minimum = 1)]
    pub max_tokens: Option<u32>,
    /// Messages with the roles `user`, `assistant` and `system`; their content is a text or a list of blocks.
    #[schema(value_type = Vec<Object>, min_items = 1)]
    pub messages: Vec<Value>,
    /// The system prompt: a text, or blocks of text.
    #[schema(value_type = Option<Object>)]
    pub system: Option<Value>,
    /// `true`: the response is a stream of events; else it is the whole message at the end.
    pub stream: Option<bool>,
    /// Tools with a name and an `input_schema`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Vec<Value>>,
    /// Whether the model must use a tool, and which.
    #[schema(value_type = Option<Object>)]
    pub tool_choice: Option<Value>,
    /// Texts at which the answer ends.
    pub stop_sequences: Option<Vec<String>>,
    /// How random the answer is.
    pub temperature: Option<f64>,
    /// How many milliseconds the generation continues without a viewer. Default here: 0, so that closing the connection
    /// stops the model.
    pub grace_ms: Option<u64>,
}

/// Adds the examples, and what derives cannot express.
pub fn describe(document: &mut Value) {
    let system = json!({
        "description": "The system prompt: a text, or blocks of text.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}, {"type": "null"}],
    });
    let block = json!({
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"type": "string", "minLength": 1, "example": "text"}, "text": {"type": ["string", "null"]}},
    });
    let messages = json!({
        "description": "Messages. Their blocks may be any that Anthropic's API has; the schema describes those of text.",
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {
                "role": {"type": "string", "minLength": 1, "example": "user"},
                "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": block}]},
            },
        },
    });
    let tools = json!({
        "description": "Tools of the caller. Those of Anthropic's servers are for targets with Anthropic's API.",
        "type": ["array", "null"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "description": {"type": ["string", "null"]},
                "input_schema": {"type": ["object", "null"]},
                "type": {"type": ["string", "null"]},
            },
        },
    });
    let choice = json!({
        "description": "Whether the model must use a tool, and which.",
        "type": ["object", "null"],
        "required": ["type"],
        "properties": {"type": {"type": "string", "minLength": 1, "example": "auto"}, "name": {"type": ["string", "null"]}},
    });
    let max_tokens = json!({"description": "The maximum tokens of the answer. Required for an answer.", "type": ["integer", "null"], "minimum": 1});
    let properties = [
        ("max_tokens", max_tokens),
        ("system", system),
        ("messages", messages),
        ("tools", tools),
        ("tool_choice", choice),
    ];
    for (name, schema) in properties {
        set(document, "/components/schemas/NewMessage/properties", name, schema);
    }
    let message = |stream: bool| json!({"model": "demo?tokens=5&rate=max", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}], "stream": stream});
    set_examples(
        document,
        OPERATION,
        json!({
            "stream": {"summary": "A stream of events", "value": message(true)},
            "whole": {"summary": "The whole message at the end", "value": message(false)},
        }),
    );
    let count = json!({"count": {"summary": "A message", "value": {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}}});
    set_examples(document, ("/v1/messages/count_tokens", "post"), count);
}
