//! Object schemas without listed members.

use serde_json::{Value, json};

/// States `additionalProperties: true` in each schema that is only an object. That is the default (JSON Schema 2020-12,
/// core, section 10.3.2.3), but code generators turn a bare `type: object` into an object without members.
pub fn describe_open_objects(document: &mut Value) {
    match document {
        Value::Object(members) => {
            let bare = is_object(members.get("type")) && !members.keys().any(|name| CLOSE.contains(&name.as_str()));
            if bare {
                members.insert("additionalProperties".to_owned(), json!(true));
            }
            for (_, member) in members.iter_mut().filter(|(name, _)| !VALUES.contains(&name.as_str())) {
                describe_open_objects(member);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(describe_open_objects),
        _ => {}
    }
}

/// Keywords that constrain an object further.
const CLOSE: [&str; 6] = ["additionalProperties", "properties", "allOf", "anyOf", "oneOf", "required"];

/// Keywords whose values are not schemas.
const VALUES: [&str; 5] = ["example", "examples", "default", "const", "enum"];

fn is_object(kind: Option<&Value>) -> bool {
    match kind {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.contains(&json!("object")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_object_gets_additional_properties() {
        let mut document = json!({
            "bare": {"type": "object"},
            "nullable": {"type": ["object", "null"], "description": "x"},
            "closed": {"type": "object", "additionalProperties": false},
            "listed": {"type": "object", "properties": {"inner": {"type": "array", "items": {"type": "object"}}}},
            "example": {"type": "object"},
            "text": {"type": "string"},
        });
        let before = document.clone();
        describe_open_objects(&mut document);
        for opened in ["/bare", "/nullable", "/listed/properties/inner/items"] {
            assert_eq!(
                document.pointer(opened).map(|schema| &schema["additionalProperties"]),
                Some(&json!(true)),
                "{opened}"
            );
        }
        for same in ["closed", "example", "text"] {
            assert_eq!(document[same], before[same], "{same}");
        }
    }
}
