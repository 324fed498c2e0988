//! Merges the chunks of an answer into one tree.
//!
//! Objects are merged by member, and items of lists by their `index`. Only fragments of text are concatenated, so that a
//! value that each chunk repeats (`severity: "safe"`) does not become `safesafe`. Every other value replaces the previous
//! one, unless it is null or empty.

use crate::json::{Object, RawText, Tree};

/// How lists without indexes and texts are merged. `delta` and `logprobs` have rules of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeRule {
    Replace,
    /// Lists grow.
    Extend,
    /// Lists grow, unless they are repeated, and texts are fragments.
    Join,
}

/// The members of deltas that are sent in fragments of text.
const FRAGMENTS: &str =
    "arguments content data input reasoning reasoning_content refusal summary text thinking transcript";
const THINKING_BLOCKS: &str = "thinking_blocks";

/// Merges the members of a later object into those of an earlier one.
pub fn merge(into: &mut Object, more: Object, rule: MergeRule) {
    for (name, value) in more {
        let rule = match name.as_str() {
            "delta" => MergeRule::Join,
            "logprobs" => MergeRule::Extend,
            _ => rule,
        };
        let known = into.get_mut(&name).map(|known| std::mem::replace(known, Tree::NULL));
        let value = merged(known, value, &name, rule);
        into.set(name, value);
    }
}

fn merged(known: Option<Tree>, more: Tree, name: &str, rule: MergeRule) -> Tree {
    match (known, more) {
        (Some(Tree::Text(mut known)), Tree::Text(more))
            if rule == MergeRule::Join && FRAGMENTS.split(' ').any(|fragment| fragment == name) =>
        {
            known.push_str(&more);
            Tree::Text(known)
        }
        // One chunk may hold several fragments of the same item, so the first value is merged as well.
        (known, Tree::Object(more)) => {
            let mut members = if let Some(Tree::Object(known)) = known { known } else { Object::default() };
            merge(&mut members, more, rule);
            Tree::Object(members)
        }
        (known, Tree::Array(more)) => {
            let known = if let Some(Tree::Array(known)) = known { known } else { Vec::new() };
            Tree::Array(merged_list(known, more, name, rule))
        }
        (Some(known), more) if more.is_null() || more.as_text().is_some_and(RawText::is_empty) => known,
        (_, more) => more,
    }
}

fn merged_list(mut known: Vec<Tree>, more: Vec<Tree>, name: &str, rule: MergeRule) -> Vec<Tree> {
    // Some servers repeat the whole list in each chunk.
    let is_repeated = rule == MergeRule::Join && name != THINKING_BLOCKS && known == more;
    let is_replaced = is_repeated || (rule == MergeRule::Replace && !more.is_empty());
    if is_replaced && more.iter().all(|item| index(item).is_none()) {
        return more;
    }
    for item in more {
        let same = match index(&item) {
            Some(wanted) => known.iter().position(|known| index(known) == Some(wanted)),
            None if name == THINKING_BLOCKS => open_block(&known, &item),
            None => None,
        };
        match same.and_then(|at| known.get_mut(at)) {
            Some(same) => *same = merged(Some(std::mem::replace(same, Tree::NULL)), item, name, rule),
            None => known.push(merged(None, item, name, rule)),
        }
    }
    known
}

/// Returns the `index` of a list's item.
pub fn index(item: &Tree) -> Option<u32> {
    if let Tree::Literal(index) = item.as_object()?.get("index")? { index.parse().ok() } else { None }
}

/// Returns the position of the thinking block that `block` continues. A block ends with its signature, a redacted one is
/// never sent in fragments; Anthropic's API accepts blocks back in this form.
fn open_block(blocks: &[Tree], block: &Tree) -> Option<usize> {
    let is_open = |last: &&Object| last.text("signature").is_none() && last.text("data").is_none();
    let last = blocks.last()?.as_object().filter(is_open)?;
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
            merge(&mut all, object(choice), MergeRule::Replace);
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
                r#"{"thinking_blocks":[{"type":"redacted_thinking","data":"a"}]}"#,
                r#"{"thinking_blocks":[{"type":"redacted_thinking","data":"a"}]}"#,
                r#"{"thinking_blocks":[{"type":"redacted_thinking","data":"a"},{"type":"redacted_thinking","data":"a"}]}"#,
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
        merge(&mut all, object(r#"{"citations":["a","b"],"x":null,"y":""}"#), MergeRule::Replace);
        merge(&mut all, object(r#"{"citations":[]}"#), MergeRule::Replace);
        assert_eq!(all.to_json(), r#"{"citations":["a","b"],"x":1,"y":""}"#);
    }
}
