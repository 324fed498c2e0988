//! Converts chat messages to Anthropic's system prompt and messages.

use super::super::unsupported_field::UnsupportedFieldError;
use super::content::{blocks, text_block};
use super::tool_use::{tool_id, tool_uses};
use crate::domain::json_values::{copy, object, raw};
use crate::json::{Object, RawText, Tree};

/// The messages of a request in Anthropic's form.
#[derive(Debug, Default)]
pub struct Conversation {
    /// The text blocks of all system and developer messages, in their order.
    pub system: Vec<Tree>,
    turns: Vec<Turn>,
}

/// The messages of one role in a row: Anthropic's roles alternate.
#[derive(Debug)]
struct Turn {
    role: TurnRole,
    blocks: Vec<Tree>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TurnRole {
    User,
    Assistant,
}

impl Conversation {
    /// Converts `messages`, a JSON array.
    pub fn read(messages: &str) -> Result<Self, UnsupportedFieldError> {
        let refused = || UnsupportedFieldError::new("messages", "is not a list of messages");
        let Ok(Tree::Array(messages)) = Tree::parse(messages) else { return Err(refused()) };
        let mut conversation = Self::default();
        for (at, message) in messages.into_iter().enumerate() {
            let Tree::Object(message) = message else { return Err(refused()) };
            conversation.add(&message, &format!("messages[{at}]"))?;
        }
        Ok(conversation)
    }

    /// Returns the messages as JSON values.
    pub fn into_messages(self) -> Tree {
        let message = |turn: Turn| {
            let role = match turn.role {
                TurnRole::User => "user",
                TurnRole::Assistant => "assistant",
            };
            Tree::Object(object([("role", Tree::text(role)), ("content", Tree::Array(turn.blocks))]))
        };
        Tree::Array(self.turns.into_iter().map(message).collect())
    }

    fn add(&mut self, message: &Object, place: &str) -> Result<(), UnsupportedFieldError> {
        let (role, mut blocks) = match message.text("role").map(RawText::as_str) {
            Some("system" | "developer") => (None, content(message, place)?),
            Some("user") => (Some(TurnRole::User), content(message, place)?),
            Some("assistant") => (Some(TurnRole::Assistant), assistant(message, place)?),
            Some("tool") => (Some(TurnRole::User), vec![tool_result(message, place)?]),
            _ => return Err(UnsupportedFieldError::new(format!("{place}.role"), "is a role that Anthropic lacks")),
        };
        if let Some(Tree::Object(last)) = blocks.last_mut() {
            copy(message, "cache_control", last);
        }
        match role {
            None => self.system.append(&mut blocks),
            Some(role) => self.push(role, blocks),
        }
        Ok(())
    }

    fn push(&mut self, role: TurnRole, mut blocks: Vec<Tree>) {
        if blocks.is_empty() {
            return;
        }
        match self.turns.last_mut().filter(|last| last.role == role) {
            Some(last) => last.blocks.append(&mut blocks),
            None => self.turns.push(Turn { role, blocks }),
        }
        // Anthropic requires the results of tools before other content. The sort is stable.
        if let Some(last) = self.turns.last_mut().filter(|_| role == TurnRole::User) {
            last.blocks.sort_by_key(|block| !is_tool_result(block));
        }
    }
}

fn content(message: &Object, place: &str) -> Result<Vec<Tree>, UnsupportedFieldError> {
    blocks(message.get("content"), &format!("{place}.content"))
}

fn is_tool_result(block: &Tree) -> bool {
    block.as_object().and_then(|block| block.text("type")).is_some_and(|kind| kind == "tool_result")
}

/// Returns the blocks of an assistant message: thinking, text, tool calls.
fn assistant(message: &Object, place: &str) -> Result<Vec<Tree>, UnsupportedFieldError> {
    for (name, reason) in [
        ("audio", "is an answer in audio, which Anthropic does not read"),
        ("function_call", "is not supported: use `tool_calls`"),
    ] {
        if message.present(name).is_some() {
            return Err(UnsupportedFieldError::new(format!("{place}.{name}"), reason));
        }
    }
    let thinking = message.present("thinking_blocks").and_then(Tree::as_array);
    let mut blocks: Vec<_> = thinking.into_iter().flatten().filter(|block| is_signed(block)).cloned().collect();
    blocks.append(&mut content(message, place)?);
    blocks.extend(message.text("refusal").and_then(text_block));
    blocks.append(&mut tool_uses(message, place)?);
    Ok(blocks)
}

/// Returns whether Anthropic accepts a thinking block back. It refuses one without its signature.
fn is_signed(block: &Tree) -> bool {
    let Some(block) = block.as_object() else { return false };
    match block.text("type").map(RawText::as_str) {
        Some("thinking") => block.text("signature").is_some(),
        Some("redacted_thinking") => block.text("data").is_some(),
        _ => false,
    }
}

fn tool_result(message: &Object, place: &str) -> Result<Tree, UnsupportedFieldError> {
    let id = message.text("tool_call_id");
    let id = id.ok_or_else(|| UnsupportedFieldError::new(format!("{place}.tool_call_id"), "is missing"))?;
    let mut result = object([("type", Tree::text("tool_result")), ("tool_use_id", tool_id(id))]);
    match message.present("content") {
        Some(Tree::Text(text)) if text.is_empty() => {}
        Some(Tree::Text(text)) => result.set("content", raw(text)),
        _ => {
            let content = content(message, place)?;
            if !content.is_empty() {
                result.set("content", Tree::Array(content));
            }
        }
    }
    copy(message, "is_error", &mut result);
    Ok(Tree::Object(result))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(messages: &Value) -> Result<(Value, Value), String> {
        let conversation = Conversation::read(&messages.to_string()).map_err(|error| error.to_string())?;
        let value = |tree: Tree| serde_json::from_str(&tree.to_json()).expect("JSON");
        Ok((value(Tree::Array(conversation.system.clone())), value(conversation.into_messages())))
    }

    fn text(text: &str) -> Value {
        json!({"type": "text", "text": text})
    }

    #[test]
    fn system_and_developer_messages_become_the_system_prompt() {
        let (system, messages) = read(&json!([
            {"role": "system", "content": "a"},
            {"role": "user", "content": "b"},
            {"role": "developer", "content": [{"type": "text", "text": "c", "cache_control": {"type": "ephemeral"}}]},
        ]))
        .expect("supported");
        let cached = json!({"type": "text", "text": "c", "cache_control": {"type": "ephemeral"}});
        assert_eq!(system, json!([text("a"), cached]));
        assert_eq!(messages, json!([{"role": "user", "content": [text("b")]}]));
    }

    #[test]
    fn messages_of_equal_roles_are_merged_and_empty_ones_left_out() {
        let (_, messages) = read(&json!([
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": ""},
            {"role": "user", "content": [{"type": "text", "text": "b"}], "name": "n"},
            {"role": "assistant", "content": "c"},
            {"role": "assistant", "content": null, "refusal": "d"},
        ]))
        .expect("supported");
        assert_eq!(
            messages,
            json!([
                {"role": "user", "content": [text("a"), text("b")]},
                {"role": "assistant", "content": [text("c"), text("d")]},
            ])
        );
    }

    #[test]
    fn tool_results_in_a_row_are_one_user_message_with_the_results_first() {
        let (_, messages) = read(&json!([
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1.50}"}},
                {"id": "functions.f:1", "type": "function", "function": {"name": "f", "arguments": ""}},
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "one"},
            {"role": "user", "content": "and"},
            {"role": "tool", "tool_call_id": "functions.f:1", "is_error": true, "content": [{"type": "text", "text": "two"}]},
        ]))
        .expect("supported");
        assert_eq!(
            messages,
            json!([
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1.5}},
                    {"type": "tool_use", "id": "functions_f_1", "name": "f", "input": {}},
                ]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "one"},
                    {"type": "tool_result", "tool_use_id": "functions_f_1", "content": [text("two")], "is_error": true},
                    text("and"),
                ]},
            ])
        );
    }

    #[test]
    fn signed_thinking_precedes_text_and_tool_calls_unchanged() {
        let thinking = json!({"type": "thinking", "thinking": "h\u{e9}\n", "signature": "c2ln+/="});
        let redacted = json!({"type": "redacted_thinking", "data": "x"});
        let (_, messages) = read(&json!([{
            "role": "assistant",
            "content": "a",
            "reasoning_content": "dropped",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            "thinking_blocks": [thinking, redacted, {"type": "thinking", "thinking": "unsigned"}, 7],
        }]))
        .expect("supported");
        let call = json!({"type": "tool_use", "id": "c", "name": "f", "input": {}});
        assert_eq!(messages, json!([{"role": "assistant", "content": [thinking, redacted, text("a"), call]}]));
    }

    #[test]
    fn cache_control_of_a_message_marks_its_last_block() {
        let cache = json!({"type": "ephemeral"});
        let (_, messages) =
            read(&json!([{"role": "user", "cache_control": cache, "content": "a"}])).expect("supported");
        assert_eq!(messages[0]["content"], json!([{"type": "text", "text": "a", "cache_control": cache}]));
    }

    #[test]
    fn message_without_a_counterpart_is_refused_by_its_place() {
        let call = |call: Value| json!({"role": "assistant", "tool_calls": [call]});
        for (message, place) in [
            (json!({"role": "function", "name": "f", "content": "x"}), "messages[0].role"),
            (json!({"content": "x"}), "messages[0].role"),
            (json!({"role": "tool", "content": "x"}), "messages[0].tool_call_id"),
            (json!({"role": "assistant", "audio": {"id": "a"}}), "messages[0].audio"),
            (json!({"role": "assistant", "function_call": {"name": "f"}}), "messages[0].function_call"),
            (call(json!({"id": "c", "type": "custom", "custom": {}})), "messages[0].tool_calls[0]"),
            (
                call(json!({"id": "c", "function": {"name": "f", "arguments": "{"}})),
                "messages[0].tool_calls[0].function.arguments",
            ),
            (json!(7), "messages"),
        ] {
            let refused = read(&json!([message])).expect_err(place);
            assert!(refused.starts_with(&format!("`{place}` ")), "{refused}");
        }
    }
}
