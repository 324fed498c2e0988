//! The body of a request for a response, in the OpenAPI document.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::openapi::paths::set;
use crate::api::openapi::requests::set_examples;

pub const OPERATION: (&str, &str) = ("/v1/responses", "post");

/// A request in the form of OpenAI's Responses API. What chat completions cannot carry is refused by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NewResponse)]
pub struct ResponsesBody {
    /// The model. Required unless there is a default.
    #[schema(min_length = 1, max_length = 512, example = "demo?tokens=5&rate=max")]
    pub model: Option<String>,
    /// A text, or a list of items. Required unless there is a prompt or `previous_response_id`.
    #[schema(value_type = Option<Object>)]
    pub input: Option<Value>,
    /// The system prompt. That of an earlier response is not used again.
    pub instructions: Option<String>,
    /// The maximum tokens of the answer.
    #[schema(minimum = 1)]
    pub max_output_tokens: Option<u32>,
    /// `true`: the response is a stream of events; else the whole response at the end.
    pub stream: Option<bool>,
    /// `true`: the response comes at once, and the model goes on without a reader.
    pub background: Option<bool>,
    /// `false`: the response is erased when it was read. Not with `background`.
    pub store: Option<bool>,
    /// The id of the response that this request continues.
    pub previous_response_id: Option<String>,
    /// Functions that the model may call.
    #[schema(value_type = Option<Vec<Object>>)]
    pub tools: Option<Vec<Value>>,
    /// Which function the model must call: `none`, `auto`, `required`, a function, or a list of allowed ones.
    #[schema(value_type = Option<Object>)]
    pub tool_choice: Option<Value>,
    /// Whether the model may call several functions at once.
    pub parallel_tool_calls: Option<bool>,
    /// Repeated in the response; this service calls no tools itself.
    pub max_tool_calls: Option<u32>,
    /// The form of the text: `format` with `text`, `json_object` or `json_schema`, and `verbosity`.
    #[schema(value_type = Option<Object>)]
    pub text: Option<Value>,
    /// How much the model thinks: `effort`. `summary` changes nothing: reasoning is always in the response.
    #[schema(value_type = Option<Object>)]
    pub reasoning: Option<Value>,
    /// `message.output_text.logprobs` adds log probabilities to the deltas of a stream. Other values change nothing.
    pub include: Option<Vec<String>>,
    /// The likeliest other tokens for each token of a stream.
    #[schema(maximum = 20)]
    pub top_logprobs: Option<u32>,
    /// How random the answer is.
    pub temperature: Option<f64>,
    /// Which of the likeliest tokens the model chooses from.
    pub top_p: Option<f64>,
    /// A stored prompt, by `id`, with `variables`.
    #[schema(value_type = Option<Object>)]
    pub prompt: Option<Value>,
    /// Must be `disabled`: this service leaves nothing out.
    #[schema(pattern = "^disabled$")]
    pub truncation: Option<String>,
    /// The id of the end user, for the upstream.
    pub user: Option<String>,
    /// Up to 16 pairs, which the response repeats.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Value>,
    /// How many milliseconds the generation continues without a viewer. Default here: 0, so that closing the connection
    /// stops the model.
    pub grace_ms: Option<u64>,
}

/// Adds the examples, and what derives cannot express.
pub fn describe(document: &mut Value) {
    let text = json!({
        "type": "object",
        "required": ["type", "text"],
        "properties": {"type": {"enum": ["input_text", "output_text"]}, "text": {"type": "string"}},
    });
    let item = json!({
        "type": "object",
        "required": ["role", "content"],
        "properties": {
            "role": {"enum": ["user", "assistant", "system", "developer"]},
            "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": text}]},
        },
    });
    let input = json!({
        "description": "A text, or a list of items. Items may be any that docs/responses.md names; the schema describes messages. Required unless there is a prompt or previous_response_id.",
        "anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": item}],
    });
    let tools = json!({
        "description": "Functions that the model may call.",
        "type": ["array", "null"],
        "items": {
            "type": "object",
            "required": ["type", "name"],
            "properties": {"type": {"const": "function"}, "name": {"type": "string", "minLength": 1}},
        },
    });
    let metadata = json!({
        "description": "Up to 16 pairs, which the response repeats.",
        "type": ["object", "null"],
        "maxProperties": 16,
        "additionalProperties": {"type": "string", "maxLength": 512},
        "propertyNames": {"minLength": 1, "maxLength": 64},
    });
    let choice = json!({
        "description": "Which function the model must call.",
        "anyOf": [
            {"enum": ["none", "auto", "required", null]},
            {
                "type": "object",
                "required": ["type", "name"],
                "properties": {"type": {"const": "function"}, "name": {"type": "string", "minLength": 1}},
            },
        ],
    });
    let form = json!({
        "description": "The form of the text.",
        "type": ["object", "null"],
        "properties": {
            "format": {"type": "object", "required": ["type"], "properties": {"type": {"enum": ["text", "json_object"]}}},
            "verbosity": {"type": "string"},
        },
    });
    let reasoning = json!({
        "description": "How much the model thinks. A summary changes nothing: reasoning is always in the response.",
        "type": ["object", "null"],
        "properties": {"effort": {"type": "string"}, "summary": {"type": "string"}},
    });
    let fields = [
        ("input", input),
        ("tools", tools),
        ("tool_choice", choice),
        ("text", form),
        ("reasoning", reasoning),
        ("metadata", metadata),
    ];
    for (name, schema) in fields {
        set(document, "/components/schemas/NewResponse/properties", name, schema);
    }
    let request = |stream: bool| json!({"model": "demo?tokens=5&rate=max", "input": "Hello", "stream": stream});
    set_examples(
        document,
        OPERATION,
        json!({
            "stream": {"summary": "A stream of events", "value": request(true)},
            "whole": {"summary": "The whole response at the end", "value": request(false)},
            "background": {"summary": "In the background", "value": {"model": "demo?tokens=5&rate=max", "input": "Hello", "background": true}},
        }),
    );
    let count = json!({"count": {"summary": "A text", "value": {"model": "demo", "input": "Hello"}}});
    set_examples(document, ("/v1/responses/input_tokens", "post"), count);
}
