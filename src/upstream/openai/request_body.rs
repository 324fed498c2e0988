//! The body of a chat request, as the upstream gets it.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::domain::ChatRequest;

/// The request's fields with ours: always a stream, always with the usage at its end.
pub fn body(request: ChatRequest) -> Bytes {
    let mut fields = request.fields;
    fields.shift_insert(0, "model".to_owned(), request.model.into());
    fields.insert("stream".to_owned(), true.into());
    match fields.get_mut("stream_options").and_then(Value::as_object_mut) {
        Some(options) => _ = options.insert("include_usage".to_owned(), true.into()),
        None => _ = fields.insert("stream_options".to_owned(), json!({"include_usage": true})),
    }
    serde_json::to_vec(&fields).unwrap_or_default().into()
}
