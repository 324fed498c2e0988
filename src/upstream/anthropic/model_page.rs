//! One page of Anthropic's list of models.

use std::time::UNIX_EPOCH;

use super::super::{ListedModel, MalformedResponseError};
use crate::domain::json_values::unescape;
use crate::json::{Object, Tree};

/// A page of the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ModelPage {
    pub models: Vec<ListedModel>,
    /// The id after which the next page begins; absent on the last page.
    pub next_after: Option<String>,
}

/// Entries with a longer id are left out: no request could use it.
const MAX_ID_BYTES: usize = 256;

impl ModelPage {
    /// Reads a page. Entries without a usable id are left out.
    pub fn read(json: &[u8]) -> Result<Self, MalformedResponseError> {
        let json = std::str::from_utf8(json).map_err(|_| MalformedResponseError::Models)?;
        let Ok(Tree::Object(page)) = Tree::parse(json) else { return Err(MalformedResponseError::Models) };
        let entries = page.get("data").and_then(Tree::as_array).ok_or(MalformedResponseError::Models)?;
        let models: Vec<_> = entries.iter().filter_map(|entry| model(entry.as_object()?)).collect();
        let has_more = matches!(page.get("has_more"), Some(Tree::Literal(literal)) if literal == "true");
        let last = page.text("last_id").map(unescape);
        let last = last.or_else(|| models.last().map(|model| model.id.clone()));
        // An id with other characters would have to be escaped in the query.
        let is_plain = |id: &String| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        Ok(Self { models, next_after: last.filter(|id| has_more && is_plain(id)) })
    }
}

fn model(entry: &Object) -> Option<ListedModel> {
    let id = unescape(entry.text("id")?);
    let is_usable = id.len() <= MAX_ID_BYTES && !id.chars().any(char::is_control);
    let created = entry.text("created_at").and_then(|created| seconds(&unescape(created)));
    is_usable.then(|| ListedModel { id, owned_by: "anthropic".to_owned(), created: created.unwrap_or_default() })
}

/// Converts a time in RFC 3339 to seconds since 1970.
fn seconds(time: &str) -> Option<u64> {
    let time = time.strip_suffix("+00:00").map_or_else(|| time.to_owned(), |time| format!("{time}Z"));
    Some(humantime::parse_rfc3339(&time).ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str, created: u64) -> ListedModel {
        ListedModel { id: id.to_owned(), owned_by: "anthropic".to_owned(), created }
    }

    #[test]
    fn page_has_models_and_the_beginning_of_the_next_page() {
        let page = r#"{"data":[
            {"type":"model","id":"claude-a","display_name":"A","created_at":"2025-02-19T00:00:00Z"},
            {"type":"model","id":"claude-b","created_at":"1970-01-01T00:00:01.5+00:00"},
            {"id":"claude-c","created_at":"soon"},
            {"id":""},{"id":"a\nb"},{},7
        ],"has_more":true,"first_id":"claude-a","last_id":"claude-c"}"#;
        let models = vec![model("claude-a", 1_739_923_200), model("claude-b", 1), model("claude-c", 0)];
        let next_after = Some("claude-c".to_owned());
        assert_eq!(ModelPage::read(page.as_bytes()), Ok(ModelPage { models, next_after }));
    }

    #[test]
    fn last_page_has_no_next_page() {
        for end in [r#""has_more":false,"last_id":"a""#, r#""has_more":null"#, r#""has_more":true,"last_id":"a&b""#] {
            let page = format!(r#"{{"data":[{{"id":"a"}}],{end}}}"#);
            assert_eq!(ModelPage::read(page.as_bytes()).map(|page| page.next_after), Ok(None), "{end}");
        }
        let page = br#"{"data":[{"id":"a"}],"has_more":true}"#;
        assert_eq!(ModelPage::read(page).map(|page| page.next_after), Ok(Some("a".to_owned())));
    }

    #[test]
    fn json_without_a_list_is_malformed() {
        for json in ["", "[]", "{}", r#"{"data":{}}"#, "<html>"] {
            assert_eq!(ModelPage::read(json.as_bytes()), Err(MalformedResponseError::Models), "{json}");
        }
    }
}
