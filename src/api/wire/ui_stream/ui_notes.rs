//! What this wire keeps with a generation.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::{Notes, Start};

/// The request of a generation of a chat, as it is stored.
#[derive(Serialize)]
pub struct NewUiNotes<'a> {
    pub chat: &'a str,
    /// The id of the message that the answer continues.
    pub continues: Option<&'a str>,
    pub messages: &'a RawValue,
}

/// The request of a generation of a chat.
#[derive(Deserialize)]
pub struct UiNotes {
    /// The id of the message that the answer continues.
    pub continues: Option<String>,
    pub messages: Vec<Value>,
}

/// The same without its messages.
#[derive(Deserialize)]
struct Continuation {
    continues: Option<String>,
    /// Distinguishes these notes from those of other wires.
    #[serde(rename = "chat")]
    _chat: IgnoredAny,
}

impl UiNotes {
    /// Returns the notes of a generation; `None` if another wire has started it.
    pub fn of(start: &Start) -> Option<Self> {
        start.chat.and(start.notes.as_ref())?.read()
    }
}

/// Returns the id of the message that a generation writes: that of the message which it continues, or one of its own. It
/// is the same in every replay.
pub fn message_id(start: &Start) -> String {
    let notes = start.chat.and(start.notes.as_ref()).and_then(Notes::read::<Continuation>);
    notes.and_then(|notes| notes.continues).unwrap_or_else(|| {
        let id = start.generation.to_string();
        format!("msg_{}", id.strip_prefix("gen_").unwrap_or(&id))
    })
}
