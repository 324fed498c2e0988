//! What this wire keeps with a generation.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::{Notes, Start};

/// What every viewer needs.
#[derive(Serialize, Deserialize)]
pub struct UiContinuation {
    /// The id of the message that the answer continues.
    continues: Option<String>,
}

/// Writes the notes of a request with these messages.
pub fn ui_notes(continues: Option<String>, messages: &RawValue) -> Notes {
    Notes::new(&UiContinuation { continues }, messages)
}

/// Returns the id of the message that an answer continues; `None` if it begins one, or another wire has started it.
pub fn continued_message(start: &Start) -> Option<String> {
    start.chat.and(start.notes.as_ref())?.head::<UiContinuation>()?.continues
}

/// Returns the UI messages of the request; `None` if another wire has started the generation.
pub fn messages_of(start: &Start) -> Option<Vec<Value>> {
    start.chat.and(start.notes.as_ref())?.body()
}

/// Returns the id of the message that a generation writes: that of the message which it continues, or one of its own. It
/// is the same in every replay.
pub fn message_id(start: &Start) -> String {
    continued_message(start).unwrap_or_else(|| {
        let id = start.generation.to_string();
        format!("msg_{}", id.strip_prefix("gen_").unwrap_or(&id))
    })
}
