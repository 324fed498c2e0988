//! The operations that need more than the derives express and are not of a wire, and access to the parts of the document.

use serde_json::Value;

pub const EVENTS: (&str, &str) = ("/v1/generations/{id}/events", "get");
pub const INSPECT: (&str, &str) = ("/v1/generations/{id}", "get");
pub const LIST: (&str, &str) = ("/v1/generations", "get");
pub const TICKETS: (&str, &str) = ("/v1/tickets", "post");
pub const PUBLISH: (&str, &str) = ("/v1/channels/{name}/events", "post");
pub const SUBSCRIBE: (&str, &str) = ("/v1/channels/{name}/events", "get");
pub const RENDER: (&str, &str) = ("/v1/prompts/{id}/render", "post");
pub const EMBEDDINGS: (&str, &str) = ("/v1/embeddings", "post");
pub const CHANNEL: (&str, &str) = ("/v1/channels/{name}", "get");

/// The pattern of a channel's name.
pub const CHANNEL_NAME: &str = "^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,99}$";

/// Returns the JSON Pointer to `rest` in an operation.
pub fn pointer(path: &str, method: &str, rest: &str) -> String {
    format!("/paths/{}/{method}{rest}", path.replace('~', "~0").replace('/', "~1"))
}

/// Sets a member of the object at `pointer`. Does nothing if there is no object.
pub fn set(document: &mut Value, pointer: &str, member: &str, value: Value) {
    if let Some(object) = document.pointer_mut(pointer).and_then(Value::as_object_mut) {
        object.insert(member.to_owned(), value);
    }
}
