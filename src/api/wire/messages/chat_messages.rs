//! Converts the system prompt and the messages of Anthropic's Messages API to chat messages.

use crate::domain::UncarriedField;
use crate::domain::json_values::{object, raw, text};
use crate::json::{Object, RawText, Tree};

/// The chat messages of a request.
#[derive(Debug, Default)]
pub struct ChatMessages {
    messages: Vec<Tree>,
    /// The first content that chat messages cannot carry.
    pub uncarried: Option<UncarriedField>,
}

/// The text between two blocks of text that become one.
const BLANK_LINE: &str = "\\n\\n";

impl ChatMessages {
    /// Adds `system`: a text, or blocks of text.
    pub fn add_system(&mut self, system: &Tree) {
        let content = match system {
            Tree::Text(content) => content.clone(),
            Tree::Array(blocks) => joined(blocks),
            _ => return,
        };
        if !content.is_empty() {
            self.push("system", Tree::Text(content));
        }
    }

    /// Adds the message at `place`.
    pub fn add(&mut self, message: &Object, place: &str) {
        let content = message.present("content");
        let place = format!("{place}.content");
        match (message.text("role").map(RawText::as_str), content) {
            (Some("assistant"), Some(Tree::Array(blocks))) => self.add_assistant(blocks, &place),
            (Some("system"), Some(content)) => self.add_system(content),
            (Some(role), Some(Tree::Array(blocks))) => self.add_user(role, blocks, &place),
            (Some(role), Some(content)) => self.push(role, content.clone()),
            (Some(role), None) => self.push(role, Tree::text("")),
            (None, _) => {}
        }
    }

    pub fn into_json(self) -> String {
        Tree::Array(self.messages).to_json()
    }

    fn push(&mut self, role: &str, content: Tree) {
        self.messages.push(Tree::Object(object([("role", Tree::text(role)), ("content", content)])));
    }

    /// Adds the results of tools first: chat completions have them right after their calls.
    fn add_user(&mut self, role: &str, blocks: &[Tree], place: &str) {
        let (before, mut parts) = (self.messages.len(), Vec::new());
        for (at, block) in blocks.iter().enumerate() {
            let place = format!("{place}[{at}]");
            let Some(block) = block.as_object() else { continue };
            if kind(block) == "tool_result" {
                let result = self.tool_result(block, &place);
                self.messages.push(Tree::Object(result));
            } else if let Some(part) = self.part(block, &place) {
                parts.push(Tree::Object(part));
            }
        }
        match parts.as_slice() {
            [] if self.messages.len() > before => {}
            [] => self.push(role, Tree::text("")),
            [Tree::Object(only)] if kind(only) == "text" => {
                let text = only.text("text").cloned().unwrap_or_default();
                self.push(role, Tree::Text(text));
            }
            _ => self.push(role, Tree::Array(parts)),
        }
    }

    fn tool_result(&mut self, block: &Object, place: &str) -> Object {
        let id = block.text("tool_use_id").cloned().unwrap_or_default();
        let content = match block.present("content") {
            Some(Tree::Text(content)) => content.clone(),
            Some(Tree::Array(blocks)) => {
                if let Some(at) = blocks.iter().position(|block| !is_text(block)) {
                    self.lose(format!("{place}.content[{at}]"), "is a result that is no text");
                }
                joined(blocks)
            }
            _ => RawText::default(),
        };
        object([("role", Tree::text("tool")), ("tool_call_id", Tree::Text(id)), ("content", Tree::Text(content))])
    }

    /// Converts a block of a user to a part of a chat message.
    fn part(&mut self, block: &Object, place: &str) -> Option<Object> {
        let source = block.present("source").and_then(Tree::as_object);
        let source_kind = source.map_or("", kind);
        let of_source = |name: &str| source.and_then(|source| source.text(name)).cloned().unwrap_or_default();
        match (kind(block), source_kind) {
            ("text", _) => Some(text_part(block.text("text").cloned().unwrap_or_default())),
            ("image", "base64") => Some(image(data_url(&of_source("media_type"), &of_source("data")))),
            ("image", "url") => Some(image(of_source("url"))),
            ("document", "base64") => {
                let name = block.text("title").cloned().unwrap_or_else(|| "document".into());
                let data = data_url(&of_source("media_type"), &of_source("data"));
                let file = object([("filename", Tree::Text(name)), ("file_data", Tree::Text(data))]);
                Some(object([("type", Tree::text("file")), ("file", Tree::Object(file))]))
            }
            ("document", "text") => Some(text_part(of_source("data"))),
            ("document", "content") => match source.and_then(|source| source.present("content")) {
                Some(Tree::Text(content)) => Some(text_part(content.clone())),
                Some(Tree::Array(blocks)) if blocks.iter().all(is_text) => Some(text_part(joined(blocks))),
                _ => self.lose(place.to_owned(), "is a document with content that is no text"),
            },
            ("search_result", _) => {
                let texts = block.present("content").and_then(Tree::as_array).map(|blocks| joined(blocks));
                let head = ["title", "source"].map(|name| block.text(name).cloned().unwrap_or_default());
                let parts = head.into_iter().chain(texts).filter(|text| !text.is_empty());
                Some(text_part(parts.collect::<Vec<_>>().join(BLANK_LINE).into()))
            }
            ("image" | "document", _) => self.lose(place.to_owned(), "has a source that is not in the request"),
            ("thinking" | "redacted_thinking", _) => None,
            _ => self.lose(place.to_owned(), "is a block that chat completions lack"),
        }
    }

    fn add_assistant(&mut self, blocks: &[Tree], place: &str) {
        let (mut texts, mut calls) = (Vec::new(), Vec::new());
        for (at, block) in blocks.iter().enumerate() {
            let Some(block) = block.as_object() else { continue };
            match kind(block) {
                "text" => texts.extend(block.text("text").map(RawText::as_str)),
                "tool_use" => calls.push(Tree::Object(tool_call(block))),
                // Clients return it with every turn. Only its own provider can read it.
                "thinking" | "redacted_thinking" => {}
                _ => _ = self.lose(format!("{place}[{at}]"), "is a block that chat completions lack"),
            }
        }
        let content = if texts.is_empty() { Tree::Literal("null".into()) } else { Tree::Text(texts.concat().into()) };
        let mut message = object([("role", Tree::text("assistant")), ("content", content)]);
        if !calls.is_empty() {
            message.set("tool_calls", Tree::Array(calls));
        } else if texts.is_empty() {
            return;
        }
        self.messages.push(Tree::Object(message));
    }

    fn lose(&mut self, field: String, reason: &'static str) -> Option<Object> {
        self.uncarried.get_or_insert(UncarriedField { field, reason });
        None
    }
}

fn kind(block: &Object) -> &str {
    block.text("type").map_or("", RawText::as_str)
}

fn is_text(block: &Tree) -> bool {
    block.as_object().is_some_and(|block| kind(block) == "text")
}

/// Returns the texts of the blocks that are text, with a blank line between two.
fn joined(blocks: &[Tree]) -> RawText {
    let texts = blocks.iter().filter(|block| is_text(block)).filter_map(|block| block.as_object()?.text("text"));
    texts.map(RawText::as_str).collect::<Vec<_>>().join(BLANK_LINE).into()
}

fn text_part(content: RawText) -> Object {
    object([("type", Tree::text("text")), ("text", Tree::Text(content))])
}

fn image(url: RawText) -> Object {
    let url = Tree::Object(object([("url", Tree::Text(url))]));
    object([("type", Tree::text("image_url")), ("image_url", url)])
}

/// Returns a `data:` URL (RFC 2397).
fn data_url(media_type: &str, data: &str) -> RawText {
    format!("data:{media_type};base64,{data}").into()
}

fn tool_call(block: &Object) -> Object {
    let of = |name: &str| block.text(name).map_or_else(|| Tree::text(""), raw);
    let input = block.present("input").map_or_else(|| "{}".to_owned(), Tree::to_json);
    let function = object([("name", of("name")), ("arguments", text(&input))]);
    object([("id", of("id")), ("type", Tree::text("function")), ("function", Tree::Object(function))])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn converted(messages: &Value) -> (Value, Option<String>) {
        let mut chat = ChatMessages::default();
        let Ok(Tree::Array(messages)) = Tree::parse(&messages.to_string()) else { panic!("a list") };
        for (at, message) in messages.iter().enumerate() {
            chat.add(message.as_object().expect("an object"), &format!("messages[{at}]"));
        }
        let uncarried = chat.uncarried.take().map(|uncarried| uncarried.field);
        (serde_json::from_str(&chat.into_json()).expect("JSON"), uncarried)
    }

    #[test]
    fn turn_with_tools_becomes_calls_and_results_before_the_rest_of_the_users_message() {
        let (chat, uncarried) = converted(&json!([
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "Let me "}, {"type": "text", "text": "look.\n"},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Köln", "n": 1.5}},
                {"type": "tool_use", "id": "t2", "name": "time", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "text", "text": "And?"},
                {"type": "tool_result", "tool_use_id": "t1", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "t2", "is_error": true, "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            ]},
        ]));
        assert_eq!(uncarried, None);
        let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        assert_eq!(
            chat,
            json!([
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "content": "Let me look.\n", "tool_calls": [
                    call("t1", "weather", "{\"city\":\"Köln\",\"n\":1.5}"), call("t2", "time", "{}"),
                ]},
                {"role": "tool", "tool_call_id": "t1", "content": "rain"},
                {"role": "tool", "tool_call_id": "t2", "content": "a\n\nb"},
                {"role": "user", "content": "And?"},
            ])
        );
    }

    #[test]
    fn each_kind_of_content_becomes_a_part() {
        for (block, part) in [
            (
                json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}, "cache_control": {"type": "ephemeral"}}),
                json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}),
            ),
            (
                json!({"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}),
                json!({"type": "image_url", "image_url": {"url": "https://a/b.png"}}),
            ),
            (
                json!({"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="}}),
                json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}}),
            ),
            (
                json!({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}}),
                json!({"type": "text", "text": "a"}),
            ),
            (
                json!({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}}),
                json!({"type": "text", "text": "a"}),
            ),
            (
                json!({"type": "search_result", "title": "t", "source": "s", "content": [{"type": "text", "text": "a"}]}),
                json!({"type": "text", "text": "t\n\ns\n\na"}),
            ),
        ] {
            let (chat, uncarried) =
                converted(&json!([{"role": "user", "content": [{"type": "text", "text": "x"}, block]}]));
            assert_eq!(chat, json!([{"role": "user", "content": [{"type": "text", "text": "x"}, part]}]), "{block}");
            assert_eq!(uncarried, None);
        }
    }

    #[test]
    fn content_without_a_counterpart_is_named_by_its_place() {
        for (role, block, place) in [
            ("user", json!({"type": "image", "source": {"type": "file", "file_id": "f"}}), "messages[0].content[0]"),
            ("user", json!({"type": "document", "source": {"type": "url", "url": "u"}}), "messages[0].content[0]"),
            ("user", json!({"type": "container_upload", "file_id": "f"}), "messages[0].content[0]"),
            ("assistant", json!({"type": "server_tool_use", "id": "s"}), "messages[0].content[0]"),
            (
                "user",
                json!({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]}),
                "messages[0].content[0].content[0]",
            ),
        ] {
            let (_, uncarried) = converted(&json!([{"role": role, "content": [block]}]));
            assert_eq!(uncarried.as_deref(), Some(place), "{block}");
        }
    }

    #[test]
    fn system_prompt_is_one_message() {
        for (system, expected) in [
            (json!("be brief"), json!([{"role": "system", "content": "be brief"}])),
            (
                json!([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}]),
                json!([{"role": "system", "content": "a\n\nb"}]),
            ),
            (json!([]), json!([])),
        ] {
            let mut chat = ChatMessages::default();
            chat.add_system(&Tree::parse(&system.to_string()).expect("JSON"));
            assert_eq!(serde_json::from_str::<Value>(&chat.into_json()).expect("JSON"), expected);
        }
    }
}
