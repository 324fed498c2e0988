//! Messages in the OpenAPI document: events, messages and example streams.

use serde_json::{Value, json};
use utoipa::OpenApi;

use super::body::{self, MessagesBody, OPERATION};
use super::count_tokens::TokenCount;
use super::error::refusal;
use super::error_body::MessagesError;
use crate::api::openapi::paths::{pointer, set};
use crate::api::problem::{ErrorCode, ProblemBody};
use crate::api::wire::port::RefusalFormat;

/// The schemas of this wire.
#[derive(OpenApi)]
#[openapi(components(schemas(MessagesError, MessagesBody, TokenCount)))]
pub struct MessagesSchemas;

/// Adds events and messages. The schemas list the members that are always present.
pub fn describe(document: &mut Value) {
    body::describe(document);
    let message = json!({
        "type": "object",
        "required": ["id", "type", "role", "model", "content", "stop_reason", "usage"],
        "properties": {
            "id": {"type": "string"},
            "type": {"const": "message"},
            "role": {"const": "assistant"},
            "model": {"type": "string"},
            "content": {"type": "array", "items": {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}}},
            "stop_reason": {"type": ["string", "null"]},
            "usage": {"type": "object"},
        },
    });
    let event_data = json!({
        "description": "The data of an event, whose name is its type.",
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": [
            "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
        ]}},
    });
    let data = |schema: &str| json!({"type": "string", "contentMediaType": "application/json", "contentSchema": {"$ref": format!("#/components/schemas/{schema}")}});
    let event = json!({
        "description": "One event of a message, or an error, which ends the stream.",
        "type": "object",
        "required": ["event", "data"],
        "properties": {"event": {"type": "string"}, "data": {"anyOf": [data("MessageEventData"), data("MessagesError")]}},
    });
    for (name, schema) in [("AnthropicMessage", message), ("MessageEventData", event_data), ("MessageEvent", event)] {
        set(document, "/components/schemas", name, schema);
    }
    let whole = json!({
        "id": "msg_AAAAAAAAAAAAAAAAAAAAAA", "type": "message", "role": "assistant", "model": "demo",
        "content": [{"type": "text", "text": "Hello", "citations": null}], "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 3, "output_tokens": 2},
    });
    let mut begun = whole.clone();
    set(&mut begun, "", "content", json!([]));
    set(&mut begun, "", "stop_reason", Value::Null);
    let block = |name: &str, rest: Value| {
        let mut data = json!({"type": name});
        for (member, value) in rest.as_object().into_iter().flatten() {
            set(&mut data, "", member, value.clone());
        }
        format!("event: {name}\ndata: {data}\n\n")
    };
    let first = block("message_start", json!({"message": begun}))
        + &block(
            "content_block_start",
            json!({"index": 0, "content_block": {"type": "text", "text": "", "citations": null}}),
        )
        + &block("content_block_delta", json!({"index": 0, "delta": {"type": "text_delta", "text": "Hello"}}));
    let end = block("content_block_stop", json!({"index": 0}))
        + &block(
            "message_delta",
            json!({"delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"input_tokens": 3, "output_tokens": 2}}),
        )
        + &block("message_stop", json!({}));
    let error = refusal(&ProblemBody::example(ErrorCode::UpstreamError, Vec::new()), RefusalFormat::Event);
    let error = String::from_utf8_lossy(&error.bytes).into_owned();
    let streams = json!({
        "done": {"summary": "An answer", "value": first.clone() + &end},
        "error": {"summary": "An answer that failed midway", "value": first + &error},
    });
    let content = pointer(OPERATION.0, OPERATION.1, "/responses/200/content");
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    set(document, &content, "text/event-stream", json!({"schema": reference("MessageEvent"), "examples": streams}));
    let messages = json!({"done": {"summary": "An answer", "value": whole}});
    set(document, &content, "application/json", json!({"schema": reference("AnthropicMessage"), "examples": messages}));
}
