//! The native wire in the OpenAPI document: the schema of each event, and example streams.

use serde_json::{Value, json};
use utoipa::OpenApi;

use super::body::{self, NewGenerationBody, OPERATION};
use super::data::{
    CancelledData, DeltaData, DoneData, EVENTS, FailedData, PartData, QueuedData, RestartData, StartData, TextData,
    ToolCallData,
};
use crate::api::openapi::paths::{EVENTS as FOLLOW, pointer, set};
use crate::api::problem::{ErrorCode, ProblemBody};

/// The schemas of this wire.
#[derive(OpenApi)]
#[openapi(components(schemas(
    StartData,
    QueuedData,
    DeltaData,
    TextData,
    ToolCallData,
    PartData,
    RestartData,
    DoneData,
    CancelledData,
    FailedData,
    NewGenerationBody,
)))]
pub struct NativeSchemas;

/// Adds the event streams. The schema of a stream is the schema of its events, because OpenAPI 3.1 cannot describe a
/// sequence of events.
pub fn describe(document: &mut Value) {
    body::describe(document);
    let branches = EVENTS.map(|name| {
        let data = match name {
            "reasoning" | "refusal" => "TextData".to_owned(),
            "snapshot" => "Generation".to_owned(),
            name => format!("{}Data", pascal(name)),
        };
        json!({
            "type": "object",
            "title": name,
            "required": ["event", "data"],
            "properties": {
                "event": {"const": name},
                "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": {"$ref": format!("#/components/schemas/{data}")}},
                "id": {"type": "string", "description": "`<generation>.<sequence>`, the value for `Last-Event-ID`. Absent from a refusal and from `queued`."},
                "retry": {"type": "integer", "description": "The reconnection delay in milliseconds; in the first and in the last block."},
            },
        })
    });
    let union = json!({
        "description": "One event. `data` is one line of JSON. The last event is exactly one of `done`, `cancelled` and `failed`; then the response ends. Clients must ignore unknown events.",
        "oneOf": branches,
        "discriminator": {"propertyName": "event"},
    });
    set(document, "/components/schemas", "GenerationEvent", union);
    for (path, method) in [OPERATION, FOLLOW] {
        let schema = json!({"$ref": "#/components/schemas/GenerationEvent"});
        let mut examples = event_examples();
        if (path, method) == OPERATION {
            // Only a request that follows a generation can ask for a snapshot.
            _ = examples.as_object_mut().and_then(|examples| examples.shift_remove("snapshot"));
        }
        let content = json!({"schema": schema, "examples": examples});
        set(document, &pointer(path, method, "/responses/200/content"), "text/event-stream", content);
    }
}

fn pascal(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    });
    words.collect()
}

const EXAMPLE_ID: &str = "gen_AAAAAAAAAAAAAAAAAAAAAA";

/// Returns example streams as text, one for each kind of event and ending.
fn event_examples() -> Value {
    let usage = json!({"input_tokens": 3, "output_tokens": 2, "estimated": false});
    let timings = json!({"first_token_ms": 180, "total_ms": 240});
    let began = "2026-11-21T07:26:02.001Z";
    let start = ("start", json!({"generation": EXAMPLE_ID, "model": "demo", "created_at": began}));
    let stream_from = |first: &(&str, Value), at: usize, events: &[(&str, Value)]| {
        let last = events.len() + at;
        let blocks = std::iter::once(first).chain(events).zip(at..).map(|((name, data), sequence)| {
            let retry = match sequence {
                sequence if sequence == at => "retry: 1000\n",
                sequence if sequence == last => "retry: 86400000\n",
                _ => "",
            };
            format!("event: {name}\ndata: {data}\n{retry}id: {EXAMPLE_ID}.{sequence}\n\n")
        });
        blocks.collect::<String>()
    };
    let stream = |events: &[(&str, Value)]| stream_from(&start, 1, events);
    let done = |reason: &str| ("done", json!({"finish_reason": reason, "usage": usage, "timings": timings}));
    let delta = |text: &str| ("delta", json!({"text": text}));
    let restart = ("restart", json!({"from": 1, "reason": "upstream_timeout"}));
    let failure = ProblemBody::example(ErrorCode::UpstreamError, Vec::new());
    let examples = [
        ("done", "An answer", stream(&[delta("Hel"), delta("lo"), done("stop")])),
        (
            "reasoning",
            "Reasoning before the answer",
            stream(&[("reasoning", json!({"text": "A greeting."})), delta("Hello"), done("stop")]),
        ),
        (
            "tool_call",
            "A tool call in fragments",
            stream(&[
                ("tool_call", json!({"index": 0, "id": "call_1", "name": "weather", "arguments": ""})),
                ("tool_call", json!({"index": 0, "arguments": "{\"city\":\"Zürich\"}"})),
                done("tool_calls"),
            ]),
        ),
        (
            "queued",
            "All slots are in use at first",
            format!(
                "{}{}{}",
                stream_from(&start, 1, &[]).replace("86400000", "1000"),
                "event: queued\ndata: {\"position\":2}\n\nevent: queued\ndata: {\"position\":1,\"eta_ms\":1200}\n\n",
                stream(&[delta("Hello"), done("stop")]).split_once("\n\n").map_or("", |(_, rest)| rest),
            ),
        ),
        ("refusal", "A refusal", stream(&[("refusal", json!({"text": "I cannot help with that."})), done("stop")])),
        (
            "part",
            "Content for which there is no other event",
            stream(&[("part", json!({"delta": {"audio": {"id": "audio_1", "data": "AAAA"}}})), done("stop")]),
        ),
        ("restart", "Another upstream began anew", stream(&[delta("Good"), restart, delta("Hello"), done("stop")])),
        (
            "choices",
            "Two choices",
            stream(&[
                delta("Hello"),
                ("delta", json!({"text": "Hi", "choice": 1})),
                (
                    "done",
                    json!({"finish_reason": "stop", "choices": [{"choice": 0, "finish_reason": "stop"}, {"choice": 1, "finish_reason": "stop"}], "usage": usage, "timings": timings}),
                ),
            ]),
        ),
        (
            "snapshot",
            "Followed with `replay=snapshot`, starting at the second event",
            stream_from(
                &(
                    "snapshot",
                    json!({"id": EXAMPLE_ID, "status": "running", "model": "demo", "created_at": began, "last_event_id": format!("{EXAMPLE_ID}.2"), "last_sequence": 2, "text": "Hel"}),
                ),
                2,
                &[delta("lo"), done("stop")],
            ),
        ),
        (
            "cancelled",
            "An answer that was stopped",
            stream(&[
                delta("Hel"),
                ("cancelled", json!({"reason": "client_request", "usage": usage, "timings": timings})),
            ]),
        ),
        (
            "failed",
            "An answer that failed midway",
            stream(&[delta("Hel"), ("failed", json!({"error": failure, "usage": usage, "timings": timings}))]),
        ),
    ];
    let examples = examples
        .into_iter()
        .map(|(name, summary, value)| (name.to_owned(), json!({"summary": summary, "value": value})));
    Value::Object(examples.collect())
}

#[cfg(test)]
mod tests {
    use crate::api::chat_fields::checked_fields;
    use crate::api::openapi::document;

    #[test]
    fn documented_fields_equal_checked_fields() {
        let document = document();
        let schemas = &document["components"]["schemas"];
        let parts = schemas["NewGeneration"]["allOf"].as_array().expect("parts");
        let properties = parts.iter().map(|part| match part["$ref"].as_str() {
            Some(reference) => &document.pointer(reference.trim_start_matches('#')).expect("a schema")["properties"],
            None => &part["properties"],
        });
        let mut documented: Vec<_> = properties
            .flat_map(|properties| properties.as_object().expect("properties").keys().map(String::as_str))
            .collect();
        let mut checked: Vec<_> = checked_fields().map(|(name, _)| name).collect();
        documented.sort_unstable();
        checked.sort_unstable();
        assert_eq!(documented, checked);
    }
}
