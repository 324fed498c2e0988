//! An answer as a UI message: what a page has built when it has read the stream.

use serde_json::{Map, Value, json};

use super::provider_parts::provider_parts;
use crate::domain::{Entry, Event, Part};

/// The parts of an answer so far.
#[derive(Default)]
pub struct UiMessage {
    parts: Vec<MessagePart>,
    /// The text that has not ended.
    open: Option<usize>,
    end: MessageEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum MessageEnd {
    #[default]
    Pending,
    /// Stopped, or failed: a call may lack a part of its arguments.
    Cut,
    Complete,
}

enum MessagePart {
    Text { kind: &'static str, text: String },
    Call { index: u32, id: String, name: String, arguments: String },
    Other(Value),
}

impl UiMessage {
    /// Adds the next entry of the log.
    pub fn apply(&mut self, entry: &Entry) {
        let chunk = match &entry.event {
            Event::Restart(_) => {
                *self = Self::default();
                return;
            }
            Event::Chunk(chunk) if chunk.part().choice() == Some(0) => chunk,
            Event::Start(_) | Event::Chunk(_) => return,
            Event::Done(_) => {
                self.end = MessageEnd::Complete;
                return;
            }
            Event::Cancelled(_) | Event::Failed(_) => {
                self.end = MessageEnd::Cut;
                return;
            }
        };
        let text = chunk.text().unescape();
        match chunk.part() {
            Part::Text { .. } | Part::Refusal { .. } => self.text("text", &text),
            Part::Reasoning { .. } => self.text("reasoning", &text),
            Part::ToolCall { index, id, name, .. } => {
                let [id, name] = [id, name].map(|text| text.as_ref().map(|text| text.unescape().into_owned()));
                self.call(*index, (id, name), &text);
            }
            Part::Other { delta_json, .. } => {
                self.parts.extend(provider_parts(delta_json, entry.sequence).into_iter().map(MessagePart::Other));
            }
            Part::Silent => {}
        }
    }

    fn text(&mut self, new: &'static str, more: &str) {
        match self.open.and_then(|at| self.parts.get_mut(at)) {
            Some(MessagePart::Text { kind, text }) if *kind == new => text.push_str(more),
            _ if more.is_empty() => {}
            _ => {
                self.open = Some(self.parts.len());
                self.parts.push(MessagePart::Text { kind: new, text: more.to_owned() });
            }
        }
    }

    fn call(&mut self, new: u32, (new_id, new_name): (Option<String>, Option<String>), more: &str) {
        self.open = None;
        for part in &mut self.parts {
            if let MessagePart::Call { index, id, name, arguments } = part
                && *index == new
            {
                for (known, new) in [(id, new_id), (name, new_name)] {
                    if known.is_empty() {
                        *known = new.unwrap_or_default();
                    }
                }
                return arguments.push_str(more);
            }
        }
        let id = new_id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{new}"));
        let name = new_name.unwrap_or_default();
        self.parts.push(MessagePart::Call { index: new, id, name, arguments: more.to_owned() });
    }

    /// Returns the parts, with the step that they are.
    pub fn into_parts(self) -> Vec<Value> {
        let open = self.open.filter(|_| self.end == MessageEnd::Pending);
        let is_complete = self.end == MessageEnd::Complete;
        let parts = self.parts.into_iter().enumerate().map(|(at, part)| match part {
            MessagePart::Text { kind, text } => {
                let state = if Some(at) == open { "streaming" } else { "done" };
                json!({"type": kind, "text": text, "state": state})
            }
            MessagePart::Call { id, name, arguments, .. } => {
                let mut part = Map::new();
                part.insert("type".to_owned(), format!("tool-{name}").into());
                part.insert("toolCallId".to_owned(), id.into());
                let input = if arguments.trim().is_empty() { Ok(json!({})) } else { serde_json::from_str(&arguments) };
                let (state, input) = match input {
                    Ok(input) if is_complete => ("input-available", input),
                    _ if is_complete => ("output-error", Value::Null),
                    _ => ("input-streaming", Value::Null),
                };
                part.insert("state".to_owned(), state.into());
                part.insert("input".to_owned(), input);
                if state == "output-error" {
                    part.insert("rawInput".to_owned(), arguments.into());
                    part.insert("errorText".to_owned(), "The arguments of the tool call are not valid JSON.".into());
                }
                Value::Object(part)
            }
            MessagePart::Other(part) => part,
        });
        std::iter::once(json!({"type": "step-start"})).chain(parts).collect()
    }
}
