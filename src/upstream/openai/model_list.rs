//! An upstream's list of models, in whatever shape it is listed.

use std::collections::HashSet;

use serde_json::Value;

use super::super::{Malformed, Model};

/// Models of one upstream; further ones are left out.
const MAX_LISTED: usize = 5_000;
/// A longer id is no name that a request could use.
const MAX_ID_BYTES: usize = 256;

/// Reads a list of models: `{"data": [...]}`, `{"models": [...]}` (Ollama, TGI) or the bare array. Not async-openai's type:
/// that refuses the whole list for one member that a server leaves out.
///
/// An entry is an object with `id`, `name` or `model`, or that name alone; any other entry is left out, as is a repeated
/// one. Fails where there is no array.
pub fn read(json: &[u8]) -> Result<Vec<Model>, Malformed> {
    let list: Value = serde_json::from_slice(json).map_err(|_| Malformed::Models)?;
    let entries = match list {
        Value::Array(entries) => entries,
        Value::Object(mut members) => match ["data", "models"].map(|name| members.remove(name)) {
            [Some(Value::Array(entries)), _] | [_, Some(Value::Array(entries))] => entries,
            // llama.cpp and others without a model.
            [Some(Value::Null), _] | [_, Some(Value::Null)] => Vec::new(),
            _ => return Err(Malformed::Models),
        },
        _ => return Err(Malformed::Models),
    };
    let mut ids = HashSet::new();
    let models = entries.iter().filter_map(model).filter(|model| ids.insert(model.id.clone()));
    Ok(models.take(MAX_LISTED).collect())
}

fn model(entry: &Value) -> Option<Model> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let id = entry.as_str().or_else(|| ["id", "name", "model"].into_iter().find_map(text))?;
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) {
        return None;
    }
    let created = entry.get("created");
    Some(Model {
        id: id.to_owned(),
        owned_by: text("owned_by").unwrap_or("unknown").chars().take(MAX_ID_BYTES).collect(),
        created: created.and_then(whole_seconds).unwrap_or_default(),
    })
}

/// Some servers write a float.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range, and its fraction is dropped")]
fn whole_seconds(created: &Value) -> Option<u64> {
    let in_range = |seconds: &f64| (0.0..=9e15).contains(seconds);
    created.as_u64().or_else(|| created.as_f64().filter(in_range).map(|seconds| seconds as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(json: &str) -> Result<Vec<String>, Malformed> {
        read(json.as_bytes()).map(|models| models.into_iter().map(|model| model.id).collect())
    }

    #[test]
    fn each_known_shape_of_a_list_is_read() {
        for json in [
            r#"{"object":"list","data":[{"id":"a","created":1,"owned_by":"x"},{"id":"b"}]}"#,
            r#"[{"id":"a"},{"id":"b"}]"#,
            r#"{"models":[{"name":"a","model":"a"},{"name":"b"}]}"#,
            r#"{"data":null,"models":[{"id":"a"},{"id":"b"}]}"#,
            r#"{"data":["a","b"]}"#,
        ] {
            assert_eq!(ids(json).as_deref(), Ok(&["a".to_owned(), "b".to_owned()][..]), "{json}");
        }
    }

    #[test]
    fn an_odd_entry_costs_itself_alone_and_a_repeated_one_is_left_out() {
        let odd = r#"{"data":[null,7,{"id":null},{"id":""},{"id":"a\nb"},{"no":"id"},[],{"id":"a","created":"today","owned_by":7},{"id":"a"},{"id":"b","created":1.5}]}"#;
        let models = read(odd.as_bytes()).expect("a list");
        let model = |id: &str, created| Model { id: id.to_owned(), owned_by: "unknown".to_owned(), created };
        assert_eq!(models, [model("a", 0), model("b", 1)]);
    }

    #[test]
    fn a_list_is_bounded() {
        let entries: Vec<_> = (0..2 * MAX_LISTED).map(|number| format!("\"m{number}\"")).collect();
        assert_eq!(ids(&format!("[{}]", entries.join(","))).map(|ids| ids.len()), Ok(MAX_LISTED));
        assert_eq!(ids(&format!("[\"{}\"]", "x".repeat(MAX_ID_BYTES + 1))), Ok(Vec::new()));
    }

    #[test]
    fn what_holds_no_array_is_no_list() {
        for json in ["", "<html>", "{}", "7", r#"{"data":{}}"#, r#"{"error":{"message":"no"}}"#] {
            assert_eq!(ids(json), Err(Malformed::Models), "{json}");
        }
        assert_eq!(ids(r#"{"data":null}"#), Ok(Vec::new()));
    }
}
