//! Merges the chunks of an answer into its completion.
//!
//! Only fragments of text are concatenated, so that a value that each chunk repeats (`severity: "safe"`) does not
//! become `safesafe`. Every other value replaces the previous one, unless it is null or an empty string.

use crate::json::{Object, RawText, Tree};

/// Merges a member of a chunk other than its choices.
pub fn merge_member(into: &mut Object, name: &str, value: Tree) {
    match (into.get_mut(name), value) {
        (Some(Tree::Object(known)), Tree::Object(more)) => {
            for (name, value) in more {
                merge_member(known, &name, value);
            }
        }
        (Some(known), value) => {
            if !is_null_or_empty(&value) {
                *known = value;
            }
        }
        (None, value) => into.set(name, value),
    }
}

/// Merges one choice. The merged delta stays in the member `delta`.
pub fn merge_choice(into: &mut Object, choice: Object) {
    for (name, value) in choice {
        match (name.as_str(), into.get_mut(&name), value) {
            ("delta", Some(Tree::Object(known)), Tree::Object(delta)) => merge_delta(known, delta),
            ("delta", None, Tree::Object(delta)) => {
                // Merged as well, because one chunk may hold several fragments of the same item.
                let mut known = Object::default();
                merge_delta(&mut known, delta);
                into.set(name, Tree::Object(known));
            }
            ("logprobs", Some(Tree::Object(known)), Tree::Object(more)) => merge_logprobs(known, more),
            (_, _, value) => merge_member(into, &name, value),
        }
    }
}

fn is_null_or_empty(value: &Tree) -> bool {
    value.is_null() || value.as_text().is_some_and(RawText::is_empty)
}

/// The members of a message that are sent in fragments of text.
const FRAGMENTS: [&str; 4] = ["content", "reasoning_content", "reasoning", "refusal"];

fn merge_delta(into: &mut Object, delta: Object) {
    for (name, value) in delta {
        match (name.as_str(), value) {
            (fragment, value) if FRAGMENTS.contains(&fragment) => append(into, &name, value),
            ("audio", Tree::Object(audio)) => merge_with(into, "audio", audio, &["data", "transcript"]),
            ("function_call", Tree::Object(call)) => merge_with(into, "function_call", call, &["arguments"]),
            ("tool_calls", Tree::Array(calls)) => {
                for call in calls {
                    merge_item(items_of(into, "tool_calls"), call, merge_call);
                }
            }
            ("thinking_blocks", Tree::Array(blocks)) => {
                for block in blocks {
                    merge_block(items_of(into, "thinking_blocks"), block);
                }
            }
            // Other items are appended. Items with an index are fragments of the item with that index.
            (_, Tree::Array(items)) => {
                let is_same = into.get(&name).and_then(Tree::as_array) == Some(&items);
                for item in items.into_iter().filter(|_| !is_same) {
                    merge_item(items_of(into, &name), item, merge_detail);
                }
            }
            (_, value) => merge_member(into, &name, value),
        }
    }
}

fn append(into: &mut Object, name: &str, value: Tree) {
    match (into.get_mut(name), value) {
        (Some(Tree::Text(known)), Tree::Text(more)) => known.push_str(&more),
        (_, value) => merge_member(into, name, value),
    }
}

/// Returns the list of that name, which is created if it does not exist.
fn items_of<'a>(into: &'a mut Object, name: &str) -> Option<&'a mut Vec<Tree>> {
    if into.get(name).and_then(Tree::as_array).is_none() {
        into.set(name, Tree::Array(Vec::new()));
    }
    into.get_mut(name).and_then(Tree::as_array_mut)
}

fn merge_item(items: Option<&mut Vec<Tree>>, item: Tree, merge: fn(&mut Object, Object)) {
    let Some(items) = items else { return };
    let index = item.as_object().and_then(|item| item.present("index"));
    let known = index.and_then(|index| {
        items.iter_mut().filter_map(Tree::as_object_mut).find(|known| known.get("index") == Some(index))
    });
    match (known, item) {
        (Some(known), Tree::Object(item)) => merge(known, item),
        (_, item) => items.push(item),
    }
}

fn merge_call(known: &mut Object, call: Object) {
    for (name, value) in call {
        match (name.as_str(), value) {
            ("function", Tree::Object(function)) => merge_with(known, "function", function, &["arguments"]),
            ("custom", Tree::Object(custom)) => merge_with(known, "custom", custom, &["input"]),
            (_, value) => merge_member(known, &name, value),
        }
    }
}

/// Merges an item of `reasoning_details` or a similar list.
fn merge_detail(known: &mut Object, detail: Object) {
    merge_members(known, detail, &["text", "summary", "data"]);
}

/// Appends to the last thinking block until it has a signature, which ends it. Anthropic's API accepts blocks back in
/// this form.
fn merge_block(blocks: Option<&mut Vec<Tree>>, block: Tree) {
    let Some(blocks) = blocks else { return };
    let open = blocks.last_mut().and_then(Tree::as_object_mut).filter(|last| last.text("signature").is_none());
    match (open, block) {
        (Some(open), Tree::Object(block)) if open.get("type") == block.get("type") => {
            merge_members(open, block, &["thinking"]);
        }
        (_, block) => blocks.push(block),
    }
}

fn merge_with(into: &mut Object, name: &str, object: Object, fragments: &[&str]) {
    match into.get_mut(name) {
        Some(Tree::Object(known)) => merge_members(known, object, fragments),
        _ => into.set(name, Tree::Object(object)),
    }
}

fn merge_members(known: &mut Object, object: Object, fragments: &[&str]) {
    for (name, value) in object {
        if fragments.contains(&name.as_str()) {
            append(known, &name, value);
        } else {
            merge_member(known, &name, value);
        }
    }
}

fn merge_logprobs(known: &mut Object, more: Object) {
    for (name, value) in more {
        match (known.get_mut(&name), value) {
            (Some(Tree::Array(tokens)), Tree::Array(more)) => tokens.extend(more),
            (_, value) => merge_member(known, &name, value),
        }
    }
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
            merge_choice(&mut all, object(choice));
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
        for (name, value) in object(r#"{"citations":["a","b"],"x":null,"y":""}"#) {
            merge_member(&mut all, &name, value);
        }
        assert_eq!(all.to_json(), r#"{"citations":["a","b"],"x":1,"y":""}"#);
    }
}
