//! Merges the chunks of an answer into one tree.
//!
//! Only fragments of text are concatenated, so that a value that each chunk repeats (`severity: "safe"`) does not
//! become `safesafe`. Every other value replaces the previous one, unless it is null or an empty string.

use crate::json::{Object, RawText, Tree};

/// The place of an object in a chunk, which decides how its members are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkPlace {
    Chunk,
    /// The list of choices, and each of them.
    Choice,
    /// A delta and everything in it: texts are fragments, lists grow, and items with the same index are one item.
    Delta,
    /// Its lists grow.
    Logprobs,
    Other,
}

/// The members of deltas that are sent in fragments of text.
const FRAGMENTS: [&str; 11] = [
    "arguments",
    "content",
    "data",
    "input",
    "reasoning",
    "reasoning_content",
    "refusal",
    "summary",
    "text",
    "thinking",
    "transcript",
];

const THINKING_BLOCKS: &str = "thinking_blocks";

impl ChunkPlace {
    fn member(self, name: &str) -> Self {
        match (self, name) {
            (Self::Chunk, "choices") => Self::Choice,
            (Self::Choice, "delta") => Self::Delta,
            (Self::Choice, "logprobs") => Self::Logprobs,
            (Self::Delta | Self::Logprobs, _) => self,
            _ => Self::Other,
        }
    }
}

/// Merges the members of a later object into those of an earlier one.
pub fn merge(into: &mut Object, more: Object, place: ChunkPlace) {
    for (name, value) in more {
        let place = place.member(&name);
        // Merged into an empty value, because one chunk may hold several fragments of the same item.
        if place != ChunkPlace::Other && into.present(&name).is_none() {
            match value {
                Tree::Array(_) => into.set(name.clone(), Tree::Array(Vec::new())),
                Tree::Object(_) => into.set(name.clone(), Tree::Object(Object::default())),
                _ => {}
            }
        }
        match (into.get_mut(&name), value) {
            (Some(Tree::Object(known)), Tree::Object(more)) => merge(known, more, place),
            (Some(Tree::Array(known)), Tree::Array(more)) if place == ChunkPlace::Logprobs => known.extend(more),
            (Some(Tree::Array(known)), Tree::Array(more)) if place != ChunkPlace::Other => {
                merge_items(known, more, &name, place);
            }
            (Some(Tree::Text(known)), Tree::Text(more))
                if place == ChunkPlace::Delta && FRAGMENTS.contains(&name.as_str()) =>
            {
                known.push_str(&more);
            }
            (Some(known), value) => {
                if !value.is_null() && !value.as_text().is_some_and(RawText::is_empty) {
                    *known = value;
                }
            }
            (None, value) => into.set(name, value),
        }
    }
}

/// Appends the items of a list, or merges them into the items with the same index.
fn merge_items(known: &mut Vec<Tree>, more: Vec<Tree>, name: &str, place: ChunkPlace) {
    // Some servers repeat the whole list in each chunk.
    if name != THINKING_BLOCKS && *known == more && more.iter().all(|item| index(item).is_none()) {
        return;
    }
    for item in more {
        let same = match index(&item) {
            Some(wanted) => known.iter().position(|known| index(known) == Some(wanted)),
            None if name == THINKING_BLOCKS => open_block(known, &item),
            None => None,
        };
        let at = same.unwrap_or(known.len());
        if same.is_none() && item.as_object().is_some() {
            known.push(Tree::Object(Object::default()));
        }
        match (known.get_mut(at), item) {
            (Some(Tree::Object(known)), Tree::Object(more)) => merge(known, more, place),
            (_, item) => known.push(item),
        }
    }
}

fn index(item: &Tree) -> Option<&Tree> {
    item.as_object()?.present("index")
}

/// Returns the position of the thinking block that `block` continues. A block ends with its signature; Anthropic's API
/// accepts blocks back in this form.
fn open_block(blocks: &[Tree], block: &Tree) -> Option<usize> {
    let last = blocks.last()?.as_object().filter(|last| last.text("signature").is_none())?;
    (last.get("type") == block.as_object()?.get("type")).then(|| blocks.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(json: &str) -> Object {
        let Ok(Tree::Object(object)) = Tree::parse(json) else { panic!("{json}") };
        object
    }

    fn merged(choices: &[&str]) -> String {
        let mut all = Object::default();
        for choice in choices {
            merge(&mut all, object(choice), ChunkPlace::Choice);
        }
        all.to_json()
    }

    #[test]
    fn only_fragments_of_text_are_concatenated() {
        for (one, other, expected) in [
            (
                r#"{"delta":{"content":"a\n"}}"#,
                r#"{"delta":{"content":"\u00e9"}}"#,
                r#"{"delta":{"content":"a\n\u00e9"}}"#,
            ),
            (r#"{"delta":{"content":null}}"#, r#"{"delta":{"content":"a"}}"#, r#"{"delta":{"content":"a"}}"#),
            (r#"{"delta":{"content":"a"}}"#, r#"{"delta":{"content":null}}"#, r#"{"delta":{"content":"a"}}"#),
            (r#"{"delta":{"kind":"token"}}"#, r#"{"delta":{"kind":"token"}}"#, r#"{"delta":{"kind":"token"}}"#),
            (
                r#"{"content_filter_results":{"hate":{"severity":"safe"}}}"#,
                r#"{"content_filter_results":{}}"#,
                r#"{"content_filter_results":{"hate":{"severity":"safe"}}}"#,
            ),
            (
                r#"{"native_finish_reason":"STOP"}"#,
                r#"{"native_finish_reason":"STOP"}"#,
                r#"{"native_finish_reason":"STOP"}"#,
            ),
            (r#"{"finish_reason":"stop"}"#, r#"{"finish_reason":null}"#, r#"{"finish_reason":"stop"}"#),
            (r#"{"logprobs":{"content":[1]}}"#, r#"{"logprobs":{"content":[2]}}"#, r#"{"logprobs":{"content":[1,2]}}"#),
            (
                r#"{"delta":{"audio":{"id":"x","data":"AA"}}}"#,
                r#"{"delta":{"audio":{"id":"x","data":"BB","transcript":"t"}}}"#,
                r#"{"delta":{"audio":{"id":"x","data":"AABB","transcript":"t"}}}"#,
            ),
            (
                r#"{"delta":{"function_call":{"name":"f","arguments":"{"}}}"#,
                r#"{"delta":{"function_call":{"name":"","arguments":"}"}}}"#,
                r#"{"delta":{"function_call":{"name":"f","arguments":"{}"}}}"#,
            ),
        ] {
            assert_eq!(merged(&[one, other]), expected);
        }
    }

    #[test]
    fn lists_of_a_delta_grow_and_items_with_an_index_are_fragments() {
        for (one, other, expected) in [
            (
                r#"{"reasoning_details":[{"type":"t","text":"a","index":0}]}"#,
                r#"{"reasoning_details":[{"type":"t","text":"b","signature":"s","index":0},{"type":"u","data":"d","index":1}]}"#,
                r#"{"reasoning_details":[{"type":"t","text":"ab","index":0,"signature":"s"},{"type":"u","data":"d","index":1}]}"#,
            ),
            (
                r#"{"reasoning_details":[{"type":"t","summary":"a"}]}"#,
                r#"{"reasoning_details":[{"type":"u","data":"b"}]}"#,
                r#"{"reasoning_details":[{"type":"t","summary":"a"},{"type":"u","data":"b"}]}"#,
            ),
            (
                r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}"#,
                r#"{"tool_calls":[{"index":0,"function":{"arguments":"}"}},{"index":1,"id":"b"}]}"#,
                r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}},{"index":1,"id":"b"}]}"#,
            ),
            (
                r#"{"thinking_blocks":[{"type":"thinking","thinking":"a","signature":null}]}"#,
                r#"{"thinking_blocks":[{"type":"thinking","thinking":"b","signature":"s"},{"type":"thinking","thinking":"c"}]}"#,
                r#"{"thinking_blocks":[{"type":"thinking","thinking":"ab","signature":"s"},{"type":"thinking","thinking":"c"}]}"#,
            ),
            (
                r#"{"tool_calls":[{"index":0,"function":{"arguments":"a"}}]}"#,
                r#"{"tool_calls":[{"index":0,"function":{"arguments":"a"}}]}"#,
                r#"{"tool_calls":[{"index":0,"function":{"arguments":"aa"}}]}"#,
            ),
            (r#"{"annotations":[{"a":1}]}"#, r#"{"annotations":[{"b":2}]}"#, r#"{"annotations":[{"a":1},{"b":2}]}"#),
            (r#"{"annotations":[{"a":1}]}"#, r#"{"annotations":[{"a":1}]}"#, r#"{"annotations":[{"a":1}]}"#),
        ] {
            let delta = |delta: &str| format!(r#"{{"delta":{delta}}}"#);
            assert_eq!(merged(&[&delta(one), &delta(other)]), delta(expected));
        }
    }

    #[test]
    fn list_outside_the_choices_is_replaced() {
        let mut all = object(r#"{"citations":["a"],"x":1}"#);
        merge(&mut all, object(r#"{"citations":["a","b"],"x":null,"y":""}"#), ChunkPlace::Chunk);
        assert_eq!(all.to_json(), r#"{"citations":["a","b"],"x":1,"y":""}"#);
    }
}
