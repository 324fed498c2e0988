//! Normalizes a message, or its delta, to the form that OpenAI's clients read.

use super::chunk_piece::REASONING;
use crate::json::{Object, RawText, Tree};

/// The member of a message on the chat wire for those parts of a content list that are neither text nor reasoning. The
/// content itself becomes a string.
pub const CONTENT_PARTS: &str = "content_parts";

/// Converts the content to a string or null, moves reasoning in it to a separate member, and converts the arguments of
/// tool calls to strings.
pub fn normalize_message(message: &mut Object) {
    match message.get("content") {
        Some(Tree::Array(_) | Tree::Object(_)) => flatten_content(message),
        Some(Tree::Literal(literal)) if literal != "null" => {
            let text = Tree::Text(literal.clone());
            message.set("content", text);
        }
        _ => {}
    }
    let calls = message.get_mut("tool_calls").and_then(Tree::as_array_mut);
    for call in calls.into_iter().flatten().filter_map(Tree::as_object_mut) {
        if let Some(function) = call.get_mut("function").and_then(Tree::as_object_mut) {
            let arguments = arguments(function.get("arguments"));
            function.set("arguments", Tree::Text(arguments));
        }
    }
}

/// Returns the arguments as a string. Some servers send an object instead of its JSON.
fn arguments(sent: Option<&Tree>) -> RawText {
    match sent {
        Some(Tree::Text(text)) => text.clone(),
        Some(other) if !other.is_null() => escaped(&other.to_json()),
        _ => RawText::default(),
    }
}

fn escaped(text: &str) -> RawText {
    crate::domain::Escaped::from_text(text).as_str().into()
}

fn flatten_content(message: &mut Object) {
    let parts = match message.remove("content") {
        Some(Tree::Array(parts)) => parts,
        Some(part) => vec![part],
        None => return,
    };
    let (mut text, mut reasoning, mut others) = (RawText::default(), RawText::default(), Vec::new());
    for part in parts {
        match ContentPart::of(&part) {
            ContentPart::Text(content) => text.push_str(content),
            ContentPart::Reasoning(thoughts) => thoughts.iter().for_each(|thought| reasoning.push_str(thought)),
            ContentPart::Other => others.push(part),
        }
    }
    message.set("content", Tree::Text(text));
    let has_reasoning = REASONING.iter().any(|name| message.text(name).is_some());
    if !reasoning.is_empty() && !has_reasoning {
        message.set("reasoning_content", Tree::Text(reasoning));
    }
    if !others.is_empty() {
        message.set(CONTENT_PARTS, Tree::Array(others));
    }
}

/// An item of a content list.
enum ContentPart<'a> {
    Text(&'a RawText),
    Reasoning(Vec<&'a RawText>),
    Other,
}

impl<'a> ContentPart<'a> {
    fn of(item: &'a Tree) -> Self {
        let part = match item {
            Tree::Text(text) => return Self::Text(text),
            Tree::Object(part) => part,
            _ => return Self::Other,
        };
        let text = |name| part.get(name).and_then(Tree::as_text);
        match text("type").map(RawText::as_str) {
            Some("text" | "output_text") | None => text("text").map_or(Self::Other, Self::Text),
            // Mistral sends a list of texts, or one text.
            Some("thinking") => match part.get("thinking") {
                Some(Tree::Text(text)) => Self::Reasoning(vec![text]),
                Some(Tree::Array(items)) => {
                    Self::Reasoning(items.iter().filter_map(|item| item.as_object()?.get("text")?.as_text()).collect())
                }
                _ => Self::Other,
            },
            Some(_) => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalized(message: &str) -> String {
        let mut tree = Tree::parse(message).expect("JSON");
        normalize_message(tree.as_object_mut().expect("an object"));
        tree.to_json()
    }

    #[test]
    fn content_list_becomes_text_reasoning_and_other_parts() {
        for (message, expected) in [
            (r#"{"content":"a"}"#, r#"{"content":"a"}"#),
            (r#"{"content":null}"#, r#"{"content":null}"#),
            (r#"{"content":[]}"#, r#"{"content":""}"#),
            (r#"{"content":[{"type":"text","text":"a\n"},"b",{"type":"text","text":"c"}]}"#, r#"{"content":"a\nbc"}"#),
            (
                r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"h"},{"type":"text","text":"m"}]}]}"#,
                r#"{"content":"","reasoning_content":"hm"}"#,
            ),
            (
                r#"{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"a"}]}"#,
                r#"{"content":"a","reasoning_content":"hm"}"#,
            ),
            (
                r#"{"content":[{"type":"thinking","thinking":"hm"}],"reasoning":"hm"}"#,
                r#"{"reasoning":"hm","content":""}"#,
            ),
            (
                r#"{"content":[{"type":"image_url","image_url":{"url":"u"}},{"type":"text","text":"a"}]}"#,
                r#"{"content":"a","content_parts":[{"type":"image_url","image_url":{"url":"u"}}]}"#,
            ),
            (r#"{"content":{"type":"text","text":"a"}}"#, r#"{"content":"a"}"#),
            (r#"{"content":7}"#, r#"{"content":"7"}"#),
        ] {
            assert_eq!(normalized(message), expected);
        }
    }

    #[test]
    fn arguments_are_always_a_string() {
        for (sent, expected) in [
            (r#""{\"a\":""#, r#""{\"a\":""#),
            (r#"{"a": "x\n"}"#, r#""{\"a\":\"x\\n\"}""#),
            ("[1,2]", r#""[1,2]""#),
            ("4", r#""4""#),
            ("true", r#""true""#),
            ("null", r#""""#),
        ] {
            let message = |arguments| format!(r#"{{"tool_calls":[{{"function":{{"arguments":{arguments}}}}}]}}"#);
            assert_eq!(normalized(&message(sent)), message(expected));
        }
    }
}
