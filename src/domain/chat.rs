//! What a caller asks of a model.

use std::fmt;

use serde_json::{Map, Value};

/// One question to one model, with every field that a provider may understand preserved.
///
/// `fields` is the body of an OpenAI chat completion without `model`, `stream` and
/// `stream_options.include_usage`, which the upstream adapter sets; whoever builds a request has
/// already removed the fields that are ours alone.
#[derive(Clone, PartialEq)]
pub struct ChatRequest {
    pub model: String,
    pub fields: Map<String, Value>,
}

impl ChatRequest {
    /// The bytes of the messages as JSON: what an estimate of the input tokens counts.
    pub fn prompt_bytes(&self) -> usize {
        self.fields.get("messages").map_or(0, json_length)
    }
}

/// Prints lengths: prompts are never logged.
impl fmt::Debug for ChatRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatRequest")
            .field("model", &self.model)
            .field("fields", &self.fields.len())
            .field("prompt_bytes", &self.prompt_bytes())
            .finish()
    }
}

fn json_length(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 4,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(json_length).sum(),
        Value::Object(members) => members.iter().map(|(key, value)| key.len() + json_length(value)).sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn debug_prints_lengths_and_never_the_prompt() {
        let Value::Object(fields) = json!({"messages": [{"role": "user", "content": "my secret"}]}) else {
            unreachable!()
        };
        let request = ChatRequest { model: "demo".into(), fields };
        assert!(!format!("{request:?}").contains("secret"));
        assert_eq!(request.prompt_bytes(), "role".len() + "user".len() + "content".len() + "my secret".len());
    }
}
