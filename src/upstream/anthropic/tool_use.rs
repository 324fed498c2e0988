//! Converts the tool calls of an assistant message to Anthropic's blocks.

use super::super::unsupported_field::UnsupportedFieldError;
use crate::domain::json_values::{copy, object, raw, text, unescape};
use crate::json::{Object, RawText, Tree};

/// Returns a block for each tool call of a message.
pub fn tool_uses(message: &Object, place: &str) -> Result<Vec<Tree>, UnsupportedFieldError> {
    let calls = match message.present("tool_calls") {
        None => return Ok(Vec::new()),
        Some(Tree::Array(calls)) => calls,
        Some(_) => return Err(UnsupportedFieldError::new(format!("{place}.tool_calls"), "is not a list")),
    };
    calls.iter().enumerate().map(|(at, call)| tool_use(call, &format!("{place}.tool_calls[{at}]"))).collect()
}

/// Returns an id of a tool call with the characters that Anthropic accepts. Other providers use more, and a conversation
/// may have begun with one of them.
pub fn tool_id(id: &RawText) -> Tree {
    let is_accepted = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    if id.chars().all(is_accepted) {
        return raw(id);
    }
    let id: String =
        unescape(id).chars().map(|character| if is_accepted(character) { character } else { '_' }).collect();
    text(&id)
}

fn tool_use(call: &Tree, place: &str) -> Result<Tree, UnsupportedFieldError> {
    let refused = || UnsupportedFieldError::new(place, "is not a call of a function with an id and a name");
    let call = call.as_object().ok_or_else(refused)?;
    let function = call.present("function").and_then(Tree::as_object).ok_or_else(refused)?;
    let (id, name) = call.text("id").zip(function.text("name")).ok_or_else(refused)?;
    let input = input(function.get("arguments")).ok_or_else(|| {
        UnsupportedFieldError::new(format!("{place}.function.arguments"), "is not a JSON object, which Anthropic needs")
    })?;
    let mut block = object([
        ("type", Tree::text("tool_use")),
        ("id", tool_id(id)),
        ("name", raw(name)),
        ("input", Tree::Object(input)),
    ]);
    copy(call, "cache_control", &mut block);
    Ok(Tree::Object(block))
}

/// Reads the arguments of a call. Models send no arguments as an empty text.
fn input(arguments: Option<&Tree>) -> Option<Object> {
    match arguments {
        None => Some(Object::default()),
        Some(Tree::Object(input)) => Some(input.clone()),
        Some(Tree::Text(arguments)) => match unescape(arguments).trim() {
            "" => Some(Object::default()),
            arguments => match Tree::parse(arguments) {
                Ok(Tree::Object(input)) => Some(input),
                _ => None,
            },
        },
        Some(arguments) => arguments.is_null().then(Object::default),
    }
}
