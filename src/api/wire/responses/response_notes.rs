//! What this wire keeps with a generation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chat_fields::echo;
use super::input_items::ItemMessages;
use crate::domain::{Notes, Start};
use crate::json::JsonObject;

/// What every viewer needs: the members of the request that its response repeats.
#[derive(Serialize, Deserialize)]
struct ResponseEcho {
    echo: Map<String, Value>,
}

/// The input of a response.
#[derive(Serialize, Deserialize, Default)]
pub struct ResponseInput {
    /// The chat messages of the responses that the request continued, without instructions.
    pub earlier: Vec<Value>,
    /// The input items of the request, without ids. References are replaced by the items that they name.
    pub items: Vec<Value>,
}

impl ResponseInput {
    /// Writes the notes of a request with this input.
    pub fn notes(&self, fields: &JsonObject) -> Notes {
        Notes::new(&ResponseEcho { echo: echo(fields) }, self)
    }

    /// Returns the input of a generation; `None` if another wire has started it.
    pub fn of(notes: &Notes) -> Option<Self> {
        notes.head::<ResponseEcho>().and_then(|_| notes.body())
    }

    /// Returns the chat messages of the conversation, with the items of its answer.
    pub fn conversation(&self, answer: &[Value]) -> Vec<Value> {
        let mut messages = ItemMessages::after(&self.earlier);
        for item in self.items.iter().chain(answer) {
            // Checked when the request was accepted.
            _ = messages.add(item, "");
        }
        messages.into_messages()
    }
}

/// Returns the members of the request that a response repeats; the defaults if another wire has started it.
pub fn echo_of(start: &Start) -> Map<String, Value> {
    let kept = start.notes.as_ref().and_then(Notes::head::<ResponseEcho>);
    kept.map_or_else(|| echo(&JsonObject::default()), |kept| kept.echo)
}
