//! What a wire keeps with a generation.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// JSON that a wire keeps with a generation, such as the messages of its request. No other wire shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Notes(Arc<str>);

impl Notes {
    /// Writes a value as notes. One that JSON cannot express is `null`.
    pub fn of(value: &impl Serialize) -> Self {
        Self(serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()).into())
    }

    /// Reads the notes; `None` if they are of another type, which another wire wrote.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.0).ok()
    }

    /// Returns the bytes of the JSON.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

impl Serialize for Notes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Notes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|json| Self(json.get().into()))
    }
}

/// Prints a length: requests are never logged.
impl fmt::Debug for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Notes({} bytes)", self.size())
    }
}
