//! Chat completions in the OpenAPI document: chunks, completions and example streams.

use serde_json::{Value, json};
use utoipa::OpenApi;

use super::body::{self, ChatCompletionBody, OPERATION};
use super::error::refusal;
use super::error_body::OpenAiError;
use crate::api::openapi::paths::{pointer, set};
use crate::api::problem::{ErrorCode, ProblemBody};
use crate::api::wire::port::RefusalFormat;

/// The schemas of this wire.
#[derive(OpenApi)]
#[openapi(components(schemas(OpenAiError, ChatCompletionBody)))]
pub struct ChatSchemas;

/// Adds chunks and completions. They are the provider's and may have other members; the schemas list those that are
/// always present.
pub fn describe(document: &mut Value) {
    body::describe(document);
    let common = |object: &str, choice: Value| {
        json!({
            "type": "object",
            "required": ["id", "object", "created", "model", "choices"],
            "properties": {
                "id": {"type": "string"},
                "object": {"const": object},
                "created": {"type": "integer"},
                "model": {"type": "string"},
                "choices": {"type": "array", "items": choice},
                "usage": {"type": ["object", "null"]},
            },
        })
    };
    let choice = |member: &str| {
        json!({
            "type": "object",
            "required": ["index", member, "finish_reason"],
            "properties": {"index": {"type": "integer"}, member: {"type": "object"}, "finish_reason": {"type": ["string", "null"]}},
        })
    };
    let data = |schema: &str| json!({"type": "string", "contentMediaType": "application/json", "contentSchema": {"$ref": format!("#/components/schemas/{schema}")}});
    let event = json!({
        "description": "One event: a chunk, an error, or the end. Without names.",
        "type": "object",
        "required": ["data"],
        "properties": {"data": {"anyOf": [{"const": "[DONE]"}, data("ChatCompletionChunk"), data("OpenAiError")]}},
    });
    for (name, schema) in [
        ("ChatCompletion", common("chat.completion", choice("message"))),
        ("ChatCompletionChunk", common("chat.completion.chunk", choice("delta"))),
        ("ChatCompletionEvent", event),
    ] {
        set(document, "/components/schemas", name, schema);
    }
    let head =
        json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_795_245_962, "model": "demo"});
    let chunk = |delta: Value, finish: Value| {
        let mut chunk = head.clone();
        set(&mut chunk, "", "choices", json!([{"index": 0, "delta": delta, "finish_reason": finish}]));
        format!("data: {chunk}\n\n")
    };
    let first = chunk(json!({"role": "assistant", "content": "Hel"}), Value::Null);
    let whole = first.clone()
        + &chunk(json!({"content": "lo"}), Value::Null)
        + &chunk(json!({}), json!("stop"))
        + "data: [DONE]\n\n";
    let error = refusal(&ProblemBody::example(ErrorCode::UpstreamError, Vec::new()), RefusalFormat::Event);
    let error = String::from_utf8_lossy(&error.bytes).into_owned();
    let streams = json!({
        "done": {"summary": "An answer", "value": whole},
        "error": {"summary": "An answer that failed midway", "value": first + &error},
    });
    let completion = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_795_245_962, "model": "demo",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello", "refusal": null}, "logprobs": null, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    });
    let content = pointer(OPERATION.0, OPERATION.1, "/responses/200/content");
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    set(
        document,
        &content,
        "text/event-stream",
        json!({"schema": reference("ChatCompletionEvent"), "examples": streams}),
    );
    let completions = json!({"done": {"summary": "An answer", "value": completion}});
    set(
        document,
        &content,
        "application/json",
        json!({"schema": reference("ChatCompletion"), "examples": completions}),
    );
}
