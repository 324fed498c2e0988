//! Responses in the OpenAPI document: events, responses and an example stream.

use serde_json::{Value, json};
use utoipa::OpenApi;

use super::body::{self, OPERATION, ResponsesBody};
use super::input_tokens::InputTokens;
use super::stored::DeletedResponse;
use crate::api::openapi::paths::{pointer, set};

/// The schemas of this wire.
#[derive(OpenApi)]
#[openapi(components(schemas(ResponsesBody, InputTokens, DeletedResponse)))]
pub struct ResponsesSchemas;

/// Adds events and responses. The schemas list the members that are always present.
pub fn describe(document: &mut Value) {
    body::describe(document);
    let response = json!({
        "type": "object",
        "required": ["id", "object", "created_at", "completed_at", "status", "model", "error", "incomplete_details", "output", "usage"],
        "properties": {
            "id": {"type": "string"},
            "object": {"const": "response"},
            "created_at": {"type": "integer"},
            "completed_at": {"type": ["integer", "null"]},
            "status": {"enum": ["in_progress", "completed", "incomplete", "cancelled", "failed"]},
            "model": {"type": "string"},
            "error": {"type": ["object", "null"]},
            "incomplete_details": {"type": ["object", "null"]},
            "output": {"type": "array", "items": {"type": "object", "required": ["id", "type"]}},
            "usage": {"type": ["object", "null"]},
        },
    });
    let event = json!({
        "description": "One event, whose name is its type, or an error, which ends the stream. Its data is JSON with `type` and `sequence_number`.",
        "type": "object",
        "required": ["data"],
        "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    });
    let items = json!({
        "type": "object",
        "required": ["object", "data", "first_id", "last_id", "has_more"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": {"type": "object"}},
            "first_id": {"type": ["string", "null"]},
            "last_id": {"type": ["string", "null"]},
            "has_more": {"type": "boolean"},
        },
    });
    for (name, schema) in [("OpenAiResponse", response), ("ResponseEvent", event), ("ResponseItems", items)] {
        set(document, "/components/schemas", name, schema);
    }
    let example = json!({
        "id": "resp_AAAAAAAAAAAAAAAAAAAAAA", "object": "response", "created_at": 1_795_245_962, "completed_at": 1_795_245_963, "status": "completed", "model": "demo",
        "error": null, "incomplete_details": null,
        "output": [{"id": "msg_AAAAAAAAAAAAAAAAAAAAAA_0", "type": "message", "status": "completed", "role": "assistant", "content": [
            {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []},
        ]}],
        "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
    });
    let block = |kind: &str, number: u64, more: Value| {
        let mut data = json!({"type": kind, "sequence_number": number});
        for (name, value) in more.as_object().into_iter().flatten() {
            set(&mut data, "", name, value.clone());
        }
        format!("event: {kind}\ndata: {data}\n\n")
    };
    let place =
        json!({"item_id": "msg_AAAAAAAAAAAAAAAAAAAAAA_0", "output_index": 0, "content_index": 0, "delta": "Hello"});
    let stream =
        block("response.output_text.delta", 4, place) + &block("response.completed", 8, json!({"response": example}));
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let streams = json!({"done": {"summary": "The last events of an answer", "value": stream}});
    let wholes = json!({"done": {"summary": "An answer", "value": example}});
    let whole = json!({"schema": reference("OpenAiResponse"), "examples": wholes});
    for (path, method) in [OPERATION, ("/v1/responses/{id}", "get"), ("/v1/responses/{id}/cancel", "post")] {
        set(document, &pointer(path, method, "/responses/200/content"), "application/json", whole.clone());
    }
    for (path, method) in [OPERATION, ("/v1/responses/{id}", "get")] {
        let content = pointer(path, method, "/responses/200/content");
        set(
            document,
            &content,
            "text/event-stream",
            json!({"schema": reference("ResponseEvent"), "examples": streams}),
        );
    }
    let content = pointer("/v1/responses/{id}/input_items", "get", "/responses/200/content");
    set(document, &content, "application/json", json!({"schema": reference("ResponseItems")}));
}
