//! What a wire keeps with a generation.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// JSON that a wire keeps with a generation. No other wire shows it.
///
/// Every viewer reads the head, so it is small. The body can be as large as the request, such as its messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Notes {
    head: Arc<str>,
    body: Arc<str>,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct StoredNotes<J> {
    head: J,
    body: J,
}

impl Notes {
    /// Writes notes. A value that JSON cannot express is `null`.
    pub fn new(head: &impl Serialize, body: &(impl Serialize + ?Sized)) -> Self {
        Self { head: to_json(head), body: to_json(body) }
    }

    /// Reads the head; `None` if it is of another type, which another wire wrote.
    pub fn head<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.head).ok()
    }

    /// Reads the body. Takes about as long as parsing a request.
    pub fn body<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.body).ok()
    }

    /// Returns the bytes of the JSON.
    pub fn size(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

fn to_json(value: &(impl Serialize + ?Sized)) -> Arc<str> {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()).into()
}

impl Serialize for Notes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).map_err(serde::ser::Error::custom);
        StoredNotes { head: raw(&self.head)?, body: raw(&self.body)? }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Notes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let StoredNotes { head, body } = StoredNotes::<Box<RawValue>>::deserialize(deserializer)?;
        Ok(Self { head: head.get().into(), body: body.get().into() })
    }
}

/// Prints a length: requests are never logged.
impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notes({} bytes)", self.size())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn notes_are_stored_and_read_in_two_parts_and_never_printed() {
        let notes = Notes::new(&json!({"chat": "c"}), &json!({"messages": ["secret"]}));
        let stored = serde_json::to_string(&notes).expect("JSON");
        let read: Notes = serde_json::from_str(&stored).expect("notes");
        assert_eq!(read, notes);
        assert_eq!(read.head::<Value>(), Some(json!({"chat": "c"})));
        assert_eq!(read.body::<Value>(), Some(json!({"messages": ["secret"]})));
        assert_eq!(read.head::<Vec<String>>(), None, "of another wire");
        assert!(!format!("{notes:?}").contains("secret"));
    }
}
