//! A whole answer, read at once.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::super::{ErrorReport, Malformed, Signal, Signals, UpstreamError};
use super::chunk::Decoder;
use super::templates::Templates;

/// Reads a chat completion: what it says, and its end with the completion as it came. `model` is what the request named,
/// for a server that does not name its model.
pub fn read_completion(json: &[u8], model: &str) -> Result<Signals, UpstreamError> {
    let completion: Map<String, Value> = serde_json::from_slice(json).map_err(|error| match error.is_eof() {
        true => UpstreamError::Disconnected { cause: "closed before the end".into() },
        false => UpstreamError::Malformed(Malformed::Chunk),
    })?;
    if let Some(report) = ErrorReport::read(json) {
        return Err(UpstreamError::Reported(Box::new(report)));
    }
    let mut signals = Signals::new();
    let mut decoder = Decoder::new(model.to_owned(), Templates::default());
    decoder.decode(chunk(completion).to_string().as_bytes(), &mut signals)?;
    let Signal::End { mut trailer } = decoder.end() else { return Err(UpstreamError::Malformed(Malformed::Chunk)) };
    trailer.completion_json = Some(Arc::from(String::from_utf8_lossy(json)));
    signals.push(Signal::End { trailer });
    Ok(signals)
}

/// The chunk that says the same.
fn chunk(mut completion: Map<String, Value>) -> Value {
    completion.insert("object".to_owned(), json!("chat.completion.chunk"));
    for choice in completion.get_mut("choices").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(choice) = choice.as_object_mut() else { continue };
        let mut delta = choice.shift_remove("message").unwrap_or_default();
        for (index, call) in delta.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten().enumerate()
        {
            if let Some(call) = call.as_object_mut() {
                call.insert("index".to_owned(), json!(index));
            }
        }
        choice.insert("delta".to_owned(), delta);
    }
    Value::Object(completion)
}
