//! Reads fields and members whose kind is known.

use serde_json::{Map, Value};

use super::unsupported;
use crate::api::problem::Problem;
use crate::json::JsonObject;

/// Reads a member that is a text; `None` if it is absent or null.
pub fn text_of<'a>(members: &'a Map<String, Value>, name: &str, pointer: &str) -> Result<Option<&'a str>, Problem> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(unsupported::invalid(&format!("{pointer}/{name}"), "must be a text")),
    }
}

/// The name of a member, what it must be, and that in words.
pub type MemberKind = (&'static str, fn(&Value) -> bool, &'static str);

/// Returns those members of an object that are present and not null.
pub fn members_of(object: &Value, kinds: &[MemberKind], pointer: &str) -> Result<Map<String, Value>, Problem> {
    let mut members = Map::new();
    for (name, is_kind, detail) in kinds {
        let Some(value) = object.get(name).filter(|value| !value.is_null()) else { continue };
        if !is_kind(value) {
            return Err(unsupported::invalid(&format!("{pointer}/{name}"), detail));
        }
        members.insert((*name).to_owned(), value.clone());
    }
    Ok(members)
}

/// Reads a field; `None` if it is absent or null.
pub fn value(fields: &JsonObject, name: &str) -> Result<Option<Value>, Problem> {
    let Some(json) = fields.present(name) else { return Ok(None) };
    serde_json::from_str(json).map(Some).map_err(|_| unsupported::invalid(&format!("/{name}"), "is not readable"))
}

/// Reads a field that is an object; `None` if it is absent or null.
pub fn object(fields: &JsonObject, name: &str) -> Result<Option<Map<String, Value>>, Problem> {
    match value(fields, name)? {
        None => Ok(None),
        Some(Value::Object(members)) => Ok(Some(members)),
        Some(_) => Err(unsupported::invalid(&format!("/{name}"), "must be an object")),
    }
}
