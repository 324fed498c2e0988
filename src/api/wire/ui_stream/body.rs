//! The body of a chat's request, in the OpenAPI document.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::api::openapi::paths::set;
use crate::api::openapi::requests::set_examples;

pub const OPERATION: (&str, &str) = ("/v1/ui/chat", "post");

/// What the AI SDK's `DefaultChatTransport` sends. The fields of `POST /v1/generations` may be added, but for `input`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NewUiChat)]
pub struct UiChatBody {
    /// The id of the chat.
    #[schema(min_length = 1, max_length = 512, example = "chat_0123456789abcdef")]
    pub id: String,
    /// UI messages, the last of which is answered or continued.
    #[schema(value_type = Vec<Object>, min_items = 1)]
    pub messages: Vec<Value>,
    /// `submit-message`, which is the default, or `regenerate-message`.
    pub trigger: Option<String>,
    /// The id of the message that is edited or continued.
    #[serde(rename = "messageId")]
    pub message_id: Option<String>,
    /// The model. Required unless there is a default.
    #[schema(min_length = 1, max_length = 512, example = "demo?tokens=5&rate=max")]
    pub model: Option<String>,
    /// `false`: the response is the message at the end.
    pub stream: Option<bool>,
}

/// Adds the examples, and what derives cannot express.
pub fn describe(document: &mut Value) {
    let text = json!({
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"type": "string", "minLength": 1, "example": "text"}, "text": {"type": ["string", "null"]}},
    });
    let messages = json!({
        "description": "UI messages, the last of which is answered or continued. Their parts may be any that the AI SDK has; the schema describes those of text.",
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["role", "parts"],
            "properties": {
                "id": {"type": ["string", "null"]},
                "role": {"enum": ["user", "assistant", "system"]},
                "parts": {"type": "array", "items": text},
            },
        },
    });
    let trigger = json!({
        "description": "Why the request is sent. Only a repeated `submit-message` attaches to the answer that is being written.",
        "enum": ["submit-message", "regenerate-message", null],
        "default": "submit-message",
    });
    for (name, schema) in [("messages", messages), ("trigger", trigger)] {
        set(document, "/components/schemas/NewUiChat/properties", name, schema);
    }
    let message = |id: &str, stream: bool| {
        json!({
            "id": id, "model": "demo?tokens=5&rate=max", "trigger": "submit-message", "stream": stream,
            "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}],
        })
    };
    set_examples(
        document,
        OPERATION,
        json!({
            "stream": {"summary": "A stream", "value": message("chat_0123456789abcdef", true)},
            "whole": {"summary": "The message at the end", "value": message("chat_fedcba9876543210", false)},
        }),
    );
}
