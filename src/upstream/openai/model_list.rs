//! Reads the list of models of an upstream in any of the known shapes.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::super::{ListedModel, MalformedResponseError};
use crate::json::{Token, Tokens, unescape};

/// Most models of one upstream; further ones are left out.
const MAX_LISTED: usize = 5_000;
/// Entries with a longer id are left out: no request could use it.
const MAX_ID_BYTES: usize = 256;

/// A member that may hold the list.
enum ListMember {
    List(Vec<ListedModel>),
    Null,
    Other,
}

/// Reads a list of models: `{"data": [...]}`, `{"models": [...]}` (Ollama, TGI) or the bare array. Does not use the
/// type of async-openai, which rejects the whole list if a server omits one member, nor a tree of values, which takes
/// many times the memory of the list.
///
/// An entry is an object with `id`, `name` or `model`, or only the name as a string. Other entries and repeated ones
/// are left out. Returns an error if there is neither an array nor null.
pub fn read(json: &[u8]) -> Result<Vec<ListedModel>, MalformedResponseError> {
    let json: &RawValue = serde_json::from_slice(json).map_err(|_| MalformedResponseError::Models)?;
    let mut tokens = Tokens::new(json.get());
    match tokens.next() {
        Some(Token::Array) => return Ok(entries(&mut tokens)),
        Some(Token::Object) => {}
        _ => return Err(MalformedResponseError::Models),
    }
    let (mut data, mut models) = (None, None);
    while let Some(Token::Name(name)) = tokens.next() {
        let member = match &*unescape(name) {
            "data" => &mut data,
            "models" => &mut models,
            _ => {
                tokens.skip_value();
                continue;
            }
        };
        *member = Some(match tokens.next() {
            Some(Token::Array) => ListMember::List(entries(&mut tokens)),
            Some(Token::Scalar("null")) => ListMember::Null,
            Some(Token::Object) => {
                tokens.leave();
                ListMember::Other
            }
            _ => ListMember::Other,
        });
    }
    match [data, models] {
        [Some(ListMember::List(models)), _] | [_, Some(ListMember::List(models))] => Ok(models),
        // llama.cpp and other servers without a model send null.
        [Some(ListMember::Null), _] | [_, Some(ListMember::Null)] => Ok(Vec::new()),
        _ => Err(MalformedResponseError::Models),
    }
}

/// Reads the rest of an array.
fn entries(tokens: &mut Tokens<'_>) -> Vec<ListedModel> {
    let (mut models, mut ids) = (Vec::new(), HashSet::new());
    while models.len() < MAX_LISTED {
        let entry = match tokens.next() {
            None | Some(Token::Close) => return models,
            Some(Token::Text(id)) => ListEntry { id: Some(id), ..ListEntry::default() }.model(),
            Some(Token::Object) => ListEntry::read(tokens).model(),
            Some(Token::Array) => {
                tokens.leave();
                None
            }
            Some(Token::Name(_) | Token::Scalar(_)) => None,
        };
        if let Some(model) = entry.filter(|model| ids.insert(model.id.clone())) {
            models.push(model);
        }
    }
    tokens.leave();
    models
}

/// The members of an entry that are read, as they are written in the JSON.
#[derive(Default)]
struct ListEntry<'a> {
    id: Option<&'a str>,
    name: Option<&'a str>,
    model: Option<&'a str>,
    owned_by: Option<&'a str>,
    created: Option<&'a str>,
}

impl<'a> ListEntry<'a> {
    /// Reads the rest of an object.
    fn read(tokens: &mut Tokens<'a>) -> Self {
        let mut entry = Self::default();
        while let Some(Token::Name(name)) = tokens.next() {
            let name = unescape(name);
            let value = tokens.next();
            match (&*name, value) {
                (_, Some(Token::Object | Token::Array)) => tokens.leave(),
                ("id", Some(Token::Text(text))) => entry.id = Some(text),
                ("name", Some(Token::Text(text))) => entry.name = Some(text),
                ("model", Some(Token::Text(text))) => entry.model = Some(text),
                ("owned_by", Some(Token::Text(text))) => entry.owned_by = Some(text),
                ("created", Some(Token::Scalar(number))) => entry.created = Some(number),
                _ => {}
            }
        }
        entry
    }

    fn model(self) -> Option<ListedModel> {
        let id = unescape(self.id.or(self.name).or(self.model)?);
        if id.is_empty() || id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) {
            return None;
        }
        let owned_by = self.owned_by.map_or("unknown".into(), unescape);
        Some(ListedModel {
            id: id.into_owned(),
            owned_by: owned_by.chars().take(MAX_ID_BYTES).collect(),
            created: self.created.and_then(whole_seconds).unwrap_or_default(),
        })
    }
}

/// Returns whole seconds. Some servers send a float.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range, and its fraction is dropped")]
fn whole_seconds(created: &str) -> Option<u64> {
    let in_range = |seconds: &f64| (0.0..=9e15).contains(seconds);
    created.parse().ok().filter(in_range).map(|seconds: f64| seconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(json: &str) -> Result<Vec<String>, MalformedResponseError> {
        read(json.as_bytes()).map(|models| models.into_iter().map(|model| model.id).collect())
    }

    #[test]
    fn every_known_list_shape_is_read() {
        for json in [
            r#"{"object":"list","data":[{"id":"a","created":1,"owned_by":"x"},{"id":"b"}]}"#,
            r#"[{"id":"a"},{"id":"b"}]"#,
            r#"{"models":[{"name":"a","model":"a"},{"name":"b"}]}"#,
            r#"{"data":null,"models":[{"id":"a"},{"id":"b"}]}"#,
            r#"{"data":["a","b"]}"#,
            r#" {"object":{"data":["x"]},"dat\u0061":[{"x":[{"id":"x"}],"id":"a"},[["x"]],{"id":"\u0062","id":null}]} "#,
        ] {
            assert_eq!(ids(json).as_deref(), Ok(&["a".to_owned(), "b".to_owned()][..]), "{json}");
        }
    }

    #[test]
    fn invalid_and_repeated_entries_are_left_out() {
        let odd = r#"{"data":[null,7,{"id":null},{"id":""},{"id":"a\nb"},{"no":"id"},[],{"id":"a","created":"today","owned_by":7},{"id":"a"},{"id":"b","created":1.5}]}"#;
        let models = read(odd.as_bytes()).expect("a list");
        let model = |id: &str, created| ListedModel { id: id.to_owned(), owned_by: "unknown".to_owned(), created };
        assert_eq!(models, [model("a", 0), model("b", 1)]);
    }

    #[test]
    fn list_above_the_limits_is_truncated() {
        let entries: Vec<_> = (0..2 * MAX_LISTED).map(|number| format!("\"m{number}\"")).collect();
        assert_eq!(ids(&format!("[{}]", entries.join(","))).map(|ids| ids.len()), Ok(MAX_LISTED));
        assert_eq!(ids(&format!("[\"{}\"]", "x".repeat(MAX_ID_BYTES + 1))), Ok(Vec::new()));
    }

    #[test]
    fn json_without_an_array_is_malformed() {
        for json in ["", "<html>", "{}", "7", r#"{"data":{}}"#, r#"{"error":{"message":"no"}}"#] {
            assert_eq!(ids(json), Err(MalformedResponseError::Models), "{json}");
        }
        assert_eq!(ids(r#"{"data":null}"#), Ok(Vec::new()));
    }
}
