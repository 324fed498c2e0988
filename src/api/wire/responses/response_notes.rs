//! What this wire keeps with a generation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::chat_fields::echo;
use crate::domain::{Notes, Start};
use crate::json::JsonObject;

/// The request of a response.
#[derive(Serialize, Deserialize, Default)]
pub struct ResponseNotes {
    /// The members of the request that the response repeats.
    pub echo: Map<String, Value>,
    /// The input items of the request, without ids.
    pub input: Vec<Value>,
    /// The chat messages of the conversation before the answer, without instructions.
    pub conversation: Vec<Value>,
}

/// The same without its messages.
#[derive(Deserialize)]
struct Echo {
    echo: Map<String, Value>,
}

impl ResponseNotes {
    /// Returns the notes of a generation; `None` if another wire has started it.
    pub fn of(start: &Start) -> Option<Self> {
        start.notes.as_ref()?.read()
    }
}

/// Returns the members of the request that a response repeats; the defaults if another wire has started it.
pub fn echo_of(start: &Start) -> Map<String, Value> {
    let notes = start.notes.as_ref().and_then(Notes::read::<Echo>);
    notes.map_or_else(|| echo(&JsonObject::default()), |notes| notes.echo)
}
