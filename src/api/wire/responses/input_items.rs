//! Converts input items of the Responses API to the messages of a chat completion.

use serde_json::{Map, Value, json};

use super::unsupported;
use crate::api::problem::Problem;

/// The messages of a conversation.
#[derive(Default)]
pub struct ItemMessages {
    messages: Vec<Value>,
}

impl ItemMessages {
    /// Returns the messages of a conversation that begins with these.
    pub fn after(earlier: &[Value]) -> Self {
        Self { messages: earlier.to_vec() }
    }

    /// Adds an item; `pointer` is its place in the request.
    pub fn add(&mut self, item: &Value, pointer: &str) -> Result<(), Problem> {
        let Some(members) = item.as_object() else { return Err(unsupported::invalid(pointer, "must be an item")) };
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        match (text("type"), text("role")) {
            (None | Some("message"), Some(role)) => self.message(role, members, pointer),
            // A call that was cut has no result, and a model is sent no call without one.
            (Some("function_call"), _) if text("status") == Some("incomplete") => Ok(()),
            (Some("function_call"), _) => {
                let [Some(id), Some(name), Some(arguments)] = ["call_id", "name", "arguments"].map(text) else {
                    return Err(unsupported::invalid(
                        pointer,
                        "must have call_id, name and arguments, which are texts",
                    ));
                };
                let function = json!({"name": name, "arguments": arguments});
                self.call(json!({"id": id, "type": "function", "function": function}));
                Ok(())
            }
            (Some("function_call_output"), _) => {
                let Some(id) = text("call_id") else { return Err(unsupported::invalid(pointer, "must have call_id")) };
                let content = output(members.get("output"), &format!("{pointer}/output"))?;
                self.messages.push(json!({"role": "tool", "tool_call_id": id, "content": content}));
                Ok(())
            }
            // Chat completions have no field for it.
            (Some("reasoning"), _) => Ok(()),
            (Some("item_reference"), _) if text("id").is_some_and(|id| id.starts_with("rs_")) => Ok(()),
            (Some(_), _) => Err(unsupported::value(
                &format!("{pointer}/type"),
                "is a kind of item that this service does not carry",
            )),
            (None, None) => Err(unsupported::invalid(&format!("{pointer}/role"), "must be a string such as \"user\"")),
        }
    }

    pub fn into_messages(self) -> Vec<Value> {
        self.messages
    }

    fn message(&mut self, role: &str, members: &Map<String, Value>, pointer: &str) -> Result<(), Problem> {
        if !["user", "assistant", "system", "developer"].contains(&role) {
            let detail = "must be one of user, assistant, system, developer";
            return Err(unsupported::invalid(&format!("{pointer}/role"), detail));
        }
        let content = match members.get("content") {
            Some(Value::String(text)) => Value::String(text.clone()),
            Some(Value::Array(parts)) => content(parts, &format!("{pointer}/content"))?,
            _ => return Err(unsupported::invalid(&format!("{pointer}/content"), "must be a text or a list of parts")),
        };
        // A text after its own calls: the results of the calls must follow them.
        let last = self.messages.last_mut().and_then(Value::as_object_mut);
        if let Some(called) = last.filter(|last| role == "assistant" && last.contains_key("tool_calls")) {
            let before = called.remove("content").unwrap_or_default();
            called.insert("content".to_owned(), joined(before, content));
            return Ok(());
        }
        self.messages.push(json!({"role": role, "content": content}));
        Ok(())
    }

    /// Adds a call to the message of the assistant before it, or to a new one.
    fn call(&mut self, call: Value) {
        if let Some(last) = self.messages.last_mut().filter(|last| last["role"] == "assistant")
            && let Some(members) = last.as_object_mut()
        {
            let calls = members.entry("tool_calls").or_insert_with(|| Value::Array(Vec::new()));
            if let Some(calls) = calls.as_array_mut() {
                calls.push(call);
            }
            return;
        }
        self.messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]}));
    }
}

/// Joins the contents of two messages.
fn joined(before: Value, after: Value) -> Value {
    match (before, after) {
        (Value::Null, after) => after,
        (Value::String(before), Value::String(after)) => Value::String(before + &after),
        (before, after) => {
            let parts = [before, after].into_iter().flat_map(|content| match content {
                Value::Array(parts) => parts,
                text => vec![json!({"type": "text", "text": text})],
            });
            parts.collect()
        }
    }
}

/// Returns the content of a message: a text if it has nothing else.
fn content(parts: &[Value], pointer: &str) -> Result<Value, Problem> {
    let mut converted = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        converted.push(content_part(part, &format!("{pointer}/{at}"))?);
    }
    let texts: Option<String> = converted.iter().map(|part| part["text"].as_str()).collect();
    Ok(texts.map_or(Value::Array(converted), Value::String))
}

fn content_part(part: &Value, pointer: &str) -> Result<Value, Problem> {
    let text = |name: &str| part.get(name).and_then(Value::as_str);
    let missing = |detail: &str| unsupported::invalid(pointer, detail);
    match text("type") {
        Some("input_text" | "output_text" | "text") => {
            text("text").map(|text| json!({"type": "text", "text": text})).ok_or_else(|| missing("must have a text"))
        }
        Some("refusal") => text("refusal")
            .map(|text| json!({"type": "text", "text": text}))
            .ok_or_else(|| missing("must have a refusal")),
        Some("input_image") => {
            let (Some(url), false) = (text("image_url"), has(part, "file_id")) else {
                return Err(unsupported::value(pointer, "must have image_url alone: this service keeps no files"));
            };
            Ok(json!({"type": "image_url", "image_url": with_text(json!({"url": url}), part, "detail", pointer)?}))
        }
        Some("input_file") => {
            let (Some(data), false) = (text("file_data"), has(part, "file_id") || has(part, "file_url")) else {
                let detail = "must have file_data alone: this service keeps and fetches no files";
                return Err(unsupported::value(pointer, detail));
            };
            Ok(json!({"type": "file", "file": with_text(json!({"file_data": data}), part, "filename", pointer)?}))
        }
        Some("input_audio") => {
            let audio = part.get("input_audio").filter(|audio| audio.is_object());
            let audio = audio.ok_or_else(|| missing("must have input_audio, an object"))?;
            Ok(json!({"type": "input_audio", "input_audio": audio}))
        }
        Some(_) => Err(unsupported::value(pointer, "is a kind of content that this service does not carry")),
        None => Err(missing("must be an object with a type")),
    }
}

fn has(part: &Value, name: &str) -> bool {
    part.get(name).is_some_and(|value| !value.is_null())
}

/// Adds a text of a part, if it has one.
fn with_text(mut converted: Value, part: &Value, name: &str, pointer: &str) -> Result<Value, Problem> {
    match (part.get(name), converted.as_object_mut()) {
        (Some(text @ Value::String(_)), Some(members)) => {
            members.insert(name.to_owned(), text.clone());
        }
        (None | Some(Value::Null), _) => {}
        _ => return Err(unsupported::invalid(&format!("{pointer}/{name}"), "must be a text")),
    }
    Ok(converted)
}

/// Returns the result of a call as a text.
fn output(output: Option<&Value>, pointer: &str) -> Result<Value, Problem> {
    match output {
        Some(Value::String(text)) => Ok(Value::String(text.clone())),
        Some(Value::Array(parts)) => match content(parts, pointer)? {
            text @ Value::String(_) => Ok(text),
            _ => {
                Err(unsupported::value(pointer, "may hold only text: chat completions carry no other result of a call"))
            }
        },
        _ => Err(unsupported::invalid(pointer, "must be a text or a list of parts")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(items: &[Value]) -> Result<Vec<Value>, String> {
        let mut messages = ItemMessages::default();
        for (at, item) in items.iter().enumerate() {
            messages.add(item, &format!("/input/{at}")).map_err(|problem| problem.errors[0].pointer.clone())?;
        }
        Ok(messages.into_messages())
    }

    #[test]
    fn items_become_messages_and_neighbouring_calls_one_message() {
        let text = |text: &str| json!({"type": "output_text", "text": text, "annotations": []});
        let items = [
            json!({"role": "developer", "content": "d"}),
            json!({"type": "message", "role": "user", "content": [
                {"type": "input_text", "text": "See"},
                {"type": "input_image", "image_url": "https://a", "detail": "low"},
                {"type": "input_file", "file_data": "data:a", "filename": "a.pdf"},
            ]}),
            json!({"type": "reasoning", "id": "rs_1", "summary": []}),
            json!({"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [text("A"), text("B")]}),
            json!({"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}),
            json!({"type": "function_call", "call_id": "2", "name": "g", "arguments": "{}"}),
            json!({"type": "function_call_output", "call_id": "1", "output": "x"}),
            json!({"type": "function_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "y"}]}),
            json!({"type": "function_call", "call_id": "3", "name": "f", "arguments": "{}"}),
            json!({"type": "item_reference", "id": "rs_1"}),
            json!({"role": "assistant", "content": "C"}),
        ];
        let call =
            |id: &str, name: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}});
        assert_eq!(
            converted(&items).expect("valid"),
            [
                json!({"role": "developer", "content": "d"}),
                json!({"role": "user", "content": [
                    {"type": "text", "text": "See"},
                    {"type": "image_url", "image_url": {"url": "https://a", "detail": "low"}},
                    {"type": "file", "file": {"file_data": "data:a", "filename": "a.pdf"}},
                ]}),
                json!({"role": "assistant", "content": "AB", "tool_calls": [call("1", "f"), call("2", "g")]}),
                json!({"role": "tool", "tool_call_id": "1", "content": "x"}),
                json!({"role": "tool", "tool_call_id": "2", "content": "y"}),
                json!({"role": "assistant", "content": "C", "tool_calls": [call("3", "f")]}),
            ]
        );
    }

    #[test]
    fn answer_that_was_cut_can_be_continued() {
        let items = [
            json!({"role": "system", "content": "s"}),
            json!({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "d", "format": "wav"}}]}),
            json!({"role": "assistant", "content": "A"}),
            json!({"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}", "status": "completed"}),
            json!({"role": "assistant", "content": [{"type": "refusal", "refusal": "B"}]}),
            json!({"type": "function_call", "call_id": "2", "name": "f", "arguments": "{\"a", "status": "incomplete"}),
        ];
        let call = json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        assert_eq!(
            converted(&items).expect("valid"),
            [
                json!({"role": "system", "content": "s"}),
                json!({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "d", "format": "wav"}}]}),
                json!({"role": "assistant", "content": "AB", "tool_calls": [call]}),
            ]
        );
    }

    #[test]
    fn what_chat_completions_do_not_carry_is_named() {
        for (item, pointer) in [
            (json!({"type": "web_search_call"}), "/input/0/type"),
            (json!({"role": "critic", "content": "a"}), "/input/0/role"),
            (json!({"role": "user"}), "/input/0/content"),
            (json!({"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}), "/input/0/content/0"),
            (
                json!({"role": "user", "content": [{"type": "input_file", "file_url": "https://a"}]}),
                "/input/0/content/0",
            ),
            (json!({"type": "function_call", "name": "f"}), "/input/0"),
            (json!({"type": "function_call", "call_id": "1", "name": "f", "arguments": {}}), "/input/0"),
            (
                json!({"role": "user", "content": [{"type": "input_image", "image_url": "a", "file_id": "f"}]}),
                "/input/0/content/0",
            ),
            (
                json!({"role": "user", "content": [{"type": "input_image", "image_url": "a", "detail": 1}]}),
                "/input/0/content/0/detail",
            ),
            (
                json!({"role": "user", "content": [{"type": "input_file", "file_data": "a", "file_id": "f"}]}),
                "/input/0/content/0",
            ),
            (
                json!({"role": "user", "content": [{"type": "input_file", "file_data": "a", "filename": 1}]}),
                "/input/0/content/0/filename",
            ),
            (json!({"role": "user", "content": [{"type": "input_audio", "input_audio": "a"}]}), "/input/0/content/0"),
            (
                json!({"type": "function_call_output", "call_id": "1", "output": [{"type": "input_image", "image_url": "https://a"}]}),
                "/input/0/output",
            ),
            (json!(5), "/input/0"),
        ] {
            assert_eq!(converted(std::slice::from_ref(&item)), Err(pointer.to_owned()), "{item}");
        }
    }
}
