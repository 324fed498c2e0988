//! The parts that a message held before the answer that continues it, as chunks of a replay.

use serde_json::{Value, json};

/// Returns the chunks that rebuild a message. A page builds the message of a replay anew, and runs a tool when it receives
/// `tool-input-available`. That chunk is left out for a call with a result.
pub fn held_parts(message: &Value) -> Vec<Value> {
    let parts = message.get("parts").and_then(Value::as_array).into_iter().flatten();
    parts.enumerate().flat_map(|(at, part)| chunks(part, at)).collect()
}

fn chunks(part: &Value, at: usize) -> Vec<Value> {
    let text = |name: &str| part.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = text("type");
    match kind {
        "step-start" => vec![json!({"type": "start-step"})],
        "text" | "reasoning" => {
            let (id, name) = (format!("held-{at}"), |event: &str| format!("{kind}-{event}"));
            vec![
                json!({"type": name("start"), "id": id}),
                json!({"type": name("delta"), "id": id, "delta": text("text")}),
                json!({"type": name("end"), "id": id}),
            ]
        }
        "file" | "source-url" | "source-document" => vec![part.clone()],
        _ if kind.starts_with("data-") => vec![part.clone()],
        _ => match kind.strip_prefix("tool-").or((kind == "dynamic-tool").then(|| text("toolName"))) {
            Some(name) => call(part, name, kind == "dynamic-tool"),
            None => Vec::new(),
        },
    }
}

fn call(part: &Value, name: &str, is_dynamic: bool) -> Vec<Value> {
    let id = part.get("toolCallId").cloned().unwrap_or_default();
    let input = part.get("input").filter(|input| !input.is_null()).or_else(|| part.get("rawInput"));
    let text = match input {
        Some(Value::String(text)) => text.clone(),
        Some(input) => input.to_string(),
        None => "{}".to_owned(),
    };
    let end = match part.get("state").and_then(Value::as_str) {
        Some("output-available") => {
            json!({"type": "tool-output-available", "toolCallId": id, "output": part.get("output")})
        }
        Some("output-error") => {
            json!({"type": "tool-output-error", "toolCallId": id, "errorText": part.get("errorText")})
        }
        Some("output-denied") => json!({"type": "tool-output-denied", "toolCallId": id}),
        _ => return Vec::new(),
    };
    let mut chunks = vec![
        json!({"type": "tool-input-start", "toolCallId": id, "toolName": name}),
        json!({"type": "tool-input-delta", "toolCallId": id, "inputTextDelta": text}),
        end,
    ];
    if is_dynamic {
        for at in [0, 2] {
            if let Some(members) = chunks.get_mut(at).and_then(Value::as_object_mut) {
                members.insert("dynamic".to_owned(), true.into());
            }
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_rebuilt_without_a_call_that_would_run_again() {
        let message = json!({"id": "a", "role": "assistant", "parts": [
            {"type": "step-start"},
            {"type": "text", "text": "Let me see.", "state": "done"},
            {"type": "tool-weather", "toolCallId": "1", "state": "output-available", "input": {"city": "Paris"}, "output": 20},
            {"type": "dynamic-tool", "toolName": "f", "toolCallId": "2", "state": "output-error", "rawInput": "{", "errorText": "e"},
            {"type": "tool-weather", "toolCallId": "3", "state": "input-available", "input": {}},
            {"type": "source-url", "sourceId": "s", "url": "https://a"},
            {"type": "data-x", "data": 1},
            {"type": "unknown"},
        ]});
        assert_eq!(
            held_parts(&message),
            [
                json!({"type": "start-step"}),
                json!({"type": "text-start", "id": "held-1"}),
                json!({"type": "text-delta", "id": "held-1", "delta": "Let me see."}),
                json!({"type": "text-end", "id": "held-1"}),
                json!({"type": "tool-input-start", "toolCallId": "1", "toolName": "weather"}),
                json!({"type": "tool-input-delta", "toolCallId": "1", "inputTextDelta": "{\"city\":\"Paris\"}"}),
                json!({"type": "tool-output-available", "toolCallId": "1", "output": 20}),
                json!({"type": "tool-input-start", "toolCallId": "2", "toolName": "f", "dynamic": true}),
                json!({"type": "tool-input-delta", "toolCallId": "2", "inputTextDelta": "{"}),
                json!({"type": "tool-output-error", "toolCallId": "2", "errorText": "e", "dynamic": true}),
                json!({"type": "source-url", "sourceId": "s", "url": "https://a"}),
                json!({"type": "data-x", "data": 1}),
            ]
        );
    }
}
