//! The AI SDK's chats in the OpenAPI document: chunks, messages and example streams.

use serde_json::{Value, json};
use utoipa::OpenApi;

use super::body::{self, OPERATION, UiChatBody};
use super::chats::{UiChat, UiStop};
use super::error::refusal;
use crate::api::openapi::paths::{pointer, set};
use crate::api::problem::{ErrorCode, ProblemBody};
use crate::api::wire::port::RefusalFormat;

/// The schemas of this wire.
#[derive(OpenApi)]
#[openapi(components(schemas(UiChatBody, UiChat, UiStop)))]
pub struct UiSchemas;

/// Adds chunks and messages. The schemas list the members that are always present.
pub fn describe(document: &mut Value) {
    body::describe(document);
    let error = json!({"description": "One sentence, which a page shows as it is.", "type": "string", "minLength": 1});
    let chunk = json!({
        "description": "The data of an event: a chunk of the AI SDK's UI message stream as JSON, or `[DONE]`, which is the last.",
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"type": "string"}},
    });
    let message = json!({
        "description": "A UI message of the AI SDK.",
        "type": "object",
        "required": ["id", "role", "parts"],
        "properties": {
            "id": {"type": "string"},
            "role": {"const": "assistant"},
            "parts": {"type": "array", "items": {"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}}},
        },
    });
    for (name, schema) in [("UiError", error), ("UiChunk", chunk), ("UiMessageBody", message)] {
        set(document, "/components/schemas", name, schema);
    }
    let block = |data: &Value| format!("data: {data}\n\n");
    let first = block(&json!({"type": "start", "messageId": "msg_AAAAAAAAAAAAAAAAAAAAAA"}))
        + &block(&json!({"type": "start-step"}))
        + &block(&json!({"type": "text-start", "id": "t2"}))
        + &block(&json!({"type": "text-delta", "id": "t2", "delta": "Hello"}))
        + &block(&json!({"type": "text-end", "id": "t2"}));
    let end = block(&json!({"type": "finish-step"}))
        + &block(&json!({"type": "finish", "finishReason": "stop"}))
        + "data: [DONE]\n\n";
    let failed = refusal(&ProblemBody::example(ErrorCode::UpstreamError, Vec::new()), RefusalFormat::Event);
    let failed = String::from_utf8_lossy(&failed.bytes).into_owned();
    let streams = json!({
        "done": {"summary": "An answer", "value": first.clone() + &end},
        "error": {"summary": "An answer that failed midway", "value": first + &failed},
    });
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let stream = json!({"schema": reference("UiChunk"), "examples": streams});
    for (path, method) in [OPERATION, ("/v1/ui/chat/{chat_id}/stream", "get")] {
        set(document, &pointer(path, method, "/responses/200/content"), "text/event-stream", stream.clone());
    }
    let whole = json!({"id": "msg_AAAAAAAAAAAAAAAAAAAAAA", "role": "assistant", "parts": [
        {"type": "step-start"}, {"type": "text", "text": "Hello", "state": "done"},
    ]});
    let content = pointer(OPERATION.0, OPERATION.1, "/responses/200/content");
    let messages = json!({"done": {"summary": "An answer", "value": whole}});
    set(document, &content, "application/json", json!({"schema": reference("UiMessageBody"), "examples": messages}));
}
