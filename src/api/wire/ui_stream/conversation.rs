//! Converts UI messages of the AI SDK to the messages of a chat completion.

use crate::api::problem::FieldError;
use crate::domain::json_values::{object, text, unescape};
use crate::json::{Object, RawText, Tree};

/// The messages of a chat completion.
#[derive(Default)]
pub struct UiConversation {
    messages: Vec<Tree>,
    pub errors: Vec<FieldError>,
}

/// What the assistant has said and called since the last step.
#[derive(Default)]
struct Step {
    texts: String,
    calls: Vec<Tree>,
    results: Vec<Tree>,
}

const MOST_ERRORS: usize = 16;
/// The result of a call that the user did not permit.
const DENIED: &str = "The user did not permit this call.";

impl UiConversation {
    /// Converts the list `messages` of a request.
    pub fn of(messages: &[Tree]) -> Self {
        let mut chat = Self::default();
        for (at, message) in messages.iter().enumerate() {
            if chat.errors.len() >= MOST_ERRORS {
                break;
            }
            match message.as_object() {
                Some(message) => chat.message(message, at),
                None => chat.fail(format!("/messages/{at}"), "must be an object"),
            }
        }
        chat
    }

    pub fn into_json(self) -> String {
        Tree::Array(self.messages).to_json()
    }

    fn fail(&mut self, pointer: String, detail: &str) {
        self.errors.push(FieldError { pointer, detail: detail.to_owned() });
    }

    fn message(&mut self, message: &Object, at: usize) {
        if message.present("id").is_some_and(|id| id.as_text().is_none()) {
            return self.fail(format!("/messages/{at}/id"), "must be a text");
        }
        let role = message.text("role").map_or("", RawText::as_str);
        let parts = match (message.present("parts"), message.present("content")) {
            (Some(Tree::Array(parts)), _) => parts.clone(),
            // Some pages still send the messages of earlier versions.
            (None, Some(content @ Tree::Text(_))) => {
                vec![Tree::Object(object([("type", text("text")), ("text", content.clone())]))]
            }
            _ => return self.fail(format!("/messages/{at}/parts"), "must be a list of parts"),
        };
        let mut objects = Vec::with_capacity(parts.len());
        for (number, part) in parts.iter().enumerate() {
            match part.as_object() {
                Some(part) if is_part(part) => objects.push(part),
                _ => {
                    let detail = "must be an object with a type, and a text if that is its type";
                    return self.fail(format!("/messages/{at}/parts/{number}"), detail);
                }
            }
        }
        match role {
            "system" => {
                let texts: String = objects.iter().filter_map(|part| text_of(part)).collect();
                self.push("system", Tree::Text(texts.into()));
            }
            "user" => self.user(&objects, at),
            "assistant" => self.assistant(&objects),
            _ => self.fail(format!("/messages/{at}/role"), "must be one of system, user, assistant"),
        }
    }

    fn push(&mut self, role: &str, content: Tree) {
        self.messages.push(Tree::Object(object([("role", Tree::text(role)), ("content", content)])));
    }

    fn user(&mut self, parts: &[&Object], at: usize) {
        let mut content: Vec<Tree> = Vec::new();
        let mut texts = String::new();
        let mut has_files = false;
        for (number, part) in parts.iter().enumerate() {
            if let Some(text) = text_of(part) {
                texts.push_str(text);
            } else if part.text("type").is_some_and(|kind| kind == "file") {
                has_files = true;
                take_text(&mut texts, &mut content);
                match file(part) {
                    Ok(file) => content.push(Tree::Object(file)),
                    Err(detail) => self.fail(format!("/messages/{at}/parts/{number}"), detail),
                }
            }
        }
        if !has_files {
            return self.push("user", Tree::Text(texts.into()));
        }
        take_text(&mut texts, &mut content);
        self.push("user", Tree::Array(content));
    }

    fn assistant(&mut self, parts: &[&Object]) {
        let mut step = Step::default();
        for part in parts {
            if part.text("type").is_some_and(|kind| kind == "step-start") {
                self.step(std::mem::take(&mut step));
            } else if let Some(text) = text_of(part) {
                step.texts.push_str(text);
            } else if let Some(name) = tool_name(part) {
                step.call(part, &name);
            }
        }
        self.step(step);
    }

    fn step(&mut self, Step { texts, calls, results }: Step) {
        if texts.is_empty() && calls.is_empty() {
            return;
        }
        let content = if texts.is_empty() { Tree::NULL } else { Tree::Text(texts.into()) };
        let mut message = object([("role", Tree::text("assistant")), ("content", content)]);
        if !calls.is_empty() {
            message.set("tool_calls", Tree::Array(calls));
        }
        self.messages.push(Tree::Object(message));
        self.messages.extend(results);
    }
}

impl Step {
    /// Adds a call that has a result. Servers refuse one without.
    fn call(&mut self, part: &Object, name: &RawText) {
        let Some(id) = part.text("toolCallId") else { return };
        let result = match part.text("state").map_or("", RawText::as_str) {
            "output-available" => part.get("output").map_or_else(|| text(""), as_text),
            "output-error" => part.present("errorText").map_or_else(|| text(""), as_text),
            "output-denied" => text(DENIED),
            _ => return,
        };
        let input = part.present("input").or_else(|| part.present("rawInput"));
        let arguments = input.map_or_else(|| text("{}"), as_text);
        let function = object([("name", Tree::Text(name.clone())), ("arguments", arguments)]);
        self.calls.push(Tree::Object(object([
            ("id", Tree::Text(id.clone())),
            ("type", Tree::text("function")),
            ("function", Tree::Object(function)),
        ])));
        self.results.push(Tree::Object(object([
            ("role", Tree::text("tool")),
            ("tool_call_id", Tree::Text(id.clone())),
            ("content", result),
        ])));
    }
}

fn is_part(part: &Object) -> bool {
    let text = part.present("text");
    part.text("type").is_some_and(|kind| kind != "text" || text.is_some())
        && text.is_none_or(|text| text.as_text().is_some())
}

/// Returns the text of a part of that type.
fn text_of(part: &Object) -> Option<&str> {
    let is_text = part.text("type").is_some_and(|kind| kind == "text");
    part.get("text").filter(|_| is_text)?.as_text().map(RawText::as_str)
}

/// Returns the name of the tool that a part calls.
fn tool_name(part: &Object) -> Option<RawText> {
    let kind = part.text("type")?;
    if kind == "dynamic-tool" {
        return part.text("toolName").cloned();
    }
    kind.strip_prefix("tool-").map(RawText::from)
}

/// Returns a text as it is, and any other value as JSON text.
fn as_text(value: &Tree) -> Tree {
    if value.as_text().is_some() { value.clone() } else { text(&value.to_json()) }
}

fn take_text(texts: &mut String, content: &mut Vec<Tree>) {
    if !texts.is_empty() {
        let text = Tree::Text(std::mem::take(texts).into());
        content.push(Tree::Object(object([("type", Tree::text("text")), ("text", text)])));
    }
}

fn file(part: &Object) -> Result<Object, &'static str> {
    let Some(url) = part.text("url") else { return Err("must have the url of the file") };
    let Some(media) = part.text("mediaType") else { return Err("must have the mediaType of the file") };
    let named = |name, value| object([("type", Tree::text(name)), (name, Tree::Object(value))]);
    if media.starts_with("image/") {
        return Ok(named("image_url", object([("url", Tree::Text(url.clone()))])));
    }
    if let Some(format) = media.strip_prefix("audio/") {
        let Some((_, data)) = unescape(url).split_once(";base64,").map(|(head, data)| (head.len(), data.to_owned()))
        else {
            return Err("must have audio as a data URL in base64");
        };
        let format = if format == "mpeg" { "mp3" } else { format.trim_start_matches("x-") };
        return Ok(named("input_audio", object([("data", text(&data)), ("format", Tree::text(format))])));
    }
    let mut members = object([("file_data", Tree::Text(url.clone()))]);
    if let Some(name) = part.text("filename") {
        members.set("filename", Tree::Text(name.clone()));
    }
    Ok(named("file", members))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn converted(messages: &Value) -> Result<Value, Vec<String>> {
        let Ok(Tree::Array(messages)) = Tree::parse(&messages.to_string()) else { panic!("a list") };
        let chat = UiConversation::of(&messages);
        match chat.errors.as_slice() {
            [] => Ok(serde_json::from_str(&chat.into_json()).expect("JSON")),
            errors => Err(errors.iter().map(|error| error.pointer.clone()).collect()),
        }
    }

    #[test]
    fn parts_of_a_user_become_a_text_or_a_list() {
        let message = |parts: Value| json!([{"id": "u", "role": "user", "parts": parts}]);
        let content = |parts: Value| converted(&message(parts)).expect("valid")[0]["content"].clone();
        assert_eq!(content(json!([{"type": "text", "text": "a\n"}, {"type": "text", "text": "b"}])), "a\nb");
        assert_eq!(
            content(json!([
                {"type": "text", "text": "See"},
                {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AA"},
                {"type": "file", "mediaType": "application/pdf", "url": "data:application/pdf;base64,BB", "filename": "a.pdf"},
                {"type": "file", "mediaType": "audio/mpeg", "url": "data:audio/mpeg;base64,CC"},
                {"type": "data-x", "data": 1},
            ])),
            json!([
                {"type": "text", "text": "See"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,BB", "filename": "a.pdf"}},
                {"type": "input_audio", "input_audio": {"data": "CC", "format": "mp3"}},
            ])
        );
    }

    #[test]
    fn steps_of_an_assistant_become_messages_with_their_results() {
        let tool = |id: &str, state: &str, more: Value| {
            let mut part = json!({"type": "tool-weather", "toolCallId": id, "state": state});
            part.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            part
        };
        let parts = json!([
            {"type": "step-start"}, {"type": "reasoning", "text": "hm"}, {"type": "text", "text": "Let me see."},
            tool("1", "output-available", json!({"input": {"city": "Paris"}, "output": {"degrees": 20}})),
            tool("2", "output-error", json!({"rawInput": "{\"ci", "errorText": "no JSON"})),
            tool("3", "input-available", json!({"input": {}})),
            {"type": "step-start"},
            {"type": "dynamic-tool", "toolName": "clock", "toolCallId": "4", "state": "output-denied", "input": {}},
            {"type": "step-start"}, {"type": "text", "text": "20 degrees."},
        ]);
        let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
        let result = |id: &str, content: &str| json!({"role": "tool", "tool_call_id": id, "content": content});
        assert_eq!(
            converted(&json!([{"id": "a", "role": "assistant", "parts": parts}])),
            Ok(json!([
                {"role": "assistant", "content": "Let me see.", "tool_calls": [
                    call("1", "weather", "{\"city\":\"Paris\"}"), call("2", "weather", "{\"ci"),
                ]},
                result("1", "{\"degrees\":20}"), result("2", "no JSON"),
                {"role": "assistant", "content": null, "tool_calls": [call("4", "clock", "{}")]},
                result("4", DENIED),
                {"role": "assistant", "content": "20 degrees."},
            ]))
        );
    }

    #[test]
    fn what_is_no_message_is_named() {
        for (messages, pointer) in [
            (json!([5]), "/messages/0"),
            (json!([{"role": "user"}]), "/messages/0/parts"),
            (json!([{"id": 5, "role": "user", "parts": []}]), "/messages/0/id"),
            (json!([{"role": "user", "parts": [{}]}]), "/messages/0/parts/0"),
            (json!([{"role": "user", "parts": [{"type": "text", "text": {}}]}]), "/messages/0/parts/0"),
            (json!([{"role": "tool", "parts": []}]), "/messages/0/role"),
            (json!([{"role": "user", "parts": [{"type": "file", "mediaType": "image/png"}]}]), "/messages/0/parts/0"),
            (
                json!([{"role": "user", "parts": [{"type": "file", "mediaType": "audio/wav", "url": "https://a"}]}]),
                "/messages/0/parts/0",
            ),
        ] {
            assert_eq!(converted(&messages), Err(vec![pointer.to_owned()]), "{messages}");
        }
        let earlier =
            json!([{"role": "user", "content": "Hello"}, {"role": "system", "parts": [{"type": "text", "text": "s"}]}]);
        assert_eq!(
            converted(&earlier),
            Ok(json!([{"role": "user", "content": "Hello"}, {"role": "system", "content": "s"}]))
        );
    }
}
