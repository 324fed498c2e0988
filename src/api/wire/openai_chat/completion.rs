//! The whole completion: the fold of its chunks.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::usage;
use crate::domain::{Chunk, Entry, Event, Part, Shape};

/// A chat completion under construction. Fields that nobody knows are gathered as the known ones are.
#[derive(Debug, Default)]
pub struct Completion {
    gathered: Gathered,
    /// The last shape that was folded, if its chunks only lengthen the content, and of which choice, by its place.
    lengthening: Option<(Arc<Shape>, usize)>,
}

#[derive(Debug, Default, PartialEq)]
struct Gathered {
    members: Map<String, Value>,
    choices: Vec<Map<String, Value>>,
}

impl Completion {
    /// Takes one entry more.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Chunk(chunk) => self.chunk(chunk),
            Event::Done(done) => {
                self.gathered.chunks(&done.trailer.chunks_json);
                self.gathered.chunks(&format!("{{{}}}", done.trailer.head_json));
                self.gathered.members.insert("usage".to_owned(), usage(done));
            }
            Event::Start(_) | Event::Cancelled(_) | Event::Failed(_) => {}
        }
    }

    /// The completion as OpenAI's clients read it.
    pub fn into_json(self) -> Value {
        self.gathered.into_json()
    }

    /// Parses a chunk of another shape than the last; of the same shape the text alone is new, as a rule.
    fn chunk(&mut self, chunk: &Chunk) {
        if let Some((_, place)) = self.lengthening.as_ref().filter(|(shape, _)| Arc::ptr_eq(shape, chunk.shape()))
            && let Some(content) = self.gathered.content(*place)
        {
            content.push_str(&chunk.text().unescape());
            return;
        }
        let lengthened = self.gathered.chunks(&chunk.json().map(|parts| parts.concat()).unwrap_or_default());
        let is_text = matches!(chunk.part(), Part::Text { logprobs_json: None, .. });
        self.lengthening = lengthened.filter(|_| is_text).map(|place| (Arc::clone(chunk.shape()), place));
    }
}

impl Gathered {
    fn content(&mut self, place: usize) -> Option<&mut String> {
        match self.choices.get_mut(place)?.get_mut("delta")?.get_mut("content")? {
            Value::String(content) => Some(content),
            _ => None,
        }
    }

    fn into_json(mut self) -> Value {
        self.choices.sort_by_key(|choice| choice.get("index").and_then(Value::as_u64));
        self.members.insert("object".to_owned(), "chat.completion".into());
        let choices = self.choices.into_iter().map(|mut choice| {
            let mut message = Map::from_iter([
                ("role".to_owned(), json!("assistant")),
                ("content".to_owned(), Value::Null),
                ("refusal".to_owned(), Value::Null),
            ]);
            if let Some(Value::Object(delta)) = choice.shift_remove("delta") {
                message.extend(delta);
            }
            if let Some(Value::Array(calls)) = message.get_mut("tool_calls") {
                for call in calls.iter_mut().filter_map(Value::as_object_mut) {
                    call.shift_remove("index");
                    call.entry("type").or_insert_with(|| "function".into());
                }
            }
            choice.insert("message".to_owned(), message.into());
            choice.entry("logprobs").or_insert(Value::Null);
            Value::Object(choice)
        });
        let choices: Vec<_> = choices.collect();
        self.members.insert("choices".to_owned(), choices.into());
        self.members.into()
    }

    /// Answers the choice whose content is all that would be changed if another text were said in the last line's place.
    fn chunks(&mut self, lines: &str) -> Option<usize> {
        let mut lengthened = None;
        for line in lines.lines() {
            // What is in the log was parsed on its way there.
            let Ok(Value::Object(mut chunk)) = serde_json::from_str(line) else { continue };
            lengthened = None;
            if let Some(Value::Array(choices)) = chunk.shift_remove("choices") {
                let alone = choices.len() == 1;
                for choice in choices {
                    lengthened = self.choice(choice).filter(|_| alone);
                }
            }
            self.members.extend(chunk);
        }
        lengthened
    }

    fn choice(&mut self, choice: Value) -> Option<usize> {
        let Value::Object(choice) = choice else { return None };
        let only_text = choice.iter().all(|(name, value)| match (name.as_str(), value) {
            ("delta", Value::Object(delta)) => {
                let aside = |(name, value): (&String, &Value)| name == "content" || changes_nothing(name, value);
                delta.get("content").is_some_and(Value::is_string) && delta.iter().all(aside)
            }
            (name, value) => changes_nothing(name, value),
        });
        let index = choice.get("index").cloned().unwrap_or_default();
        let known = self.choices.iter_mut().position(|known| known.get("index") == Some(&index));
        let known = known.unwrap_or_else(|| {
            self.choices.push(Map::new());
            self.choices.len() - 1
        });
        if let Some(known) = self.choices.get_mut(known) {
            merge_members(known, choice);
        }
        Some(known).filter(|_| only_text)
    }
}

/// Whether a member, once it has been said, may be said again without a change.
fn changes_nothing(name: &str, value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => text.is_empty() || SAID_ONCE.contains(&name),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// Said once, or each time in full: a name that came in two pieces would be no name.
const SAID_ONCE: [&str; 6] = ["index", "id", "type", "role", "name", "finish_reason"];

fn merge_members(known: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match known.get_mut(&name) {
            Some(known) if SAID_ONCE.contains(&name.as_str()) => {
                if !value.is_null() {
                    *known = value;
                }
            }
            Some(known) => merge(known, value),
            None => _ = known.insert(name, value),
        }
    }
}

/// Strings are fragments; lists are longer by what comes, or merged by `index`; objects member by member.
fn merge(known: &mut Value, more: Value) {
    match (known, more) {
        (_, Value::Null) => {}
        (Value::String(known), Value::String(more)) => known.push_str(&more),
        (Value::Object(known), Value::Object(more)) => merge_members(known, more),
        (Value::Array(known), Value::Array(more)) => {
            for item in more {
                let index = item.get("index").cloned();
                // Without an index there is nothing to look for, in what may be a long list.
                let same = index.and_then(|index| known.iter_mut().find(|known| known.get("index") == Some(&index)));
                match same {
                    Some(same) => merge(same, item),
                    None => known.push(item),
                }
            }
        }
        (known, more) => *known = more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Escaped;

    fn fold(chunks: &[Value]) -> Value {
        let mut completion = Completion::default();
        for chunk in chunks {
            completion.gathered.chunks(&chunk.to_string());
        }
        completion.into_json()
    }

    #[test]
    fn fragments_become_a_message() {
        let completion = fold(&[
            json!({"id": "c", "object": "chat.completion.chunk", "x": 1, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}, "finish_reason": null}]}),
            json!({"id": "c", "choices": [{"index": 0, "delta": {"content": "lo", "reasoning_content": "h"}, "logprobs": {"content": [{"token": "lo"}]}}]}),
            json!({"id": "c", "choices": [{"index": 0, "delta": {"reasoning_content": "m"}, "logprobs": {"content": [{"token": "!"}]}, "finish_reason": "stop"}]}),
        ]);
        assert_eq!(
            completion,
            json!({"id": "c", "object": "chat.completion", "x": 1, "choices": [{
                "index": 0, "finish_reason": "stop", "logprobs": {"content": [{"token": "lo"}, {"token": "!"}]},
                "message": {"role": "assistant", "content": "Hello", "reasoning_content": "hm", "refusal": null},
            }]})
        );
    }

    #[test]
    fn chunks_of_which_only_the_text_is_new_come_to_what_each_of_them_says() {
        let frame = |before: &str, after: &str| {
            let part = Part::Text { choice: 0, logprobs_json: None };
            Arc::new(Shape { frame: Some((before.into(), after.into())), part })
        };
        for shape in [
            frame(r#"{"id":"c","x":[],"choices":[{"index":0,"delta":{"content":""#, r#""}}]}"#),
            // A member that is gathered too, a list that grows, and one that no chunk says alike.
            frame(r#"{"id":"c","choices":[{"index":0,"delta":{"content":""#, r#"","aside":"a"}}]}"#),
            frame(r#"{"id":"c","choices":[{"index":0,"delta":{"list":[1],"content":""#, r#""}}]}"#),
        ] {
            let (mut completion, mut each) = (Completion::default(), Gathered::default());
            for text in ["Hel", "lo\n\"", "\u{e9}", ""] {
                let chunk = Chunk::new(Arc::clone(&shape), Escaped::from_text(text));
                completion.chunk(&chunk);
                each.chunks(&chunk.json().expect("a frame").concat());
            }
            assert_eq!(completion.gathered, each);
        }
    }

    #[test]
    fn tool_calls_are_gathered_by_their_index() {
        let call = |index, name: Value, arguments| json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, "id": name, "function": {"name": name, "arguments": arguments}}]}}]});
        let completion = fold(&[
            call(0, json!("a"), "{"),
            call(1, json!("b"), "["),
            call(0, Value::Null, "}"),
            call(1, Value::Null, "]"),
        ]);
        assert_eq!(
            completion["choices"][0]["message"]["tool_calls"],
            json!([
                {"id": "a", "type": "function", "function": {"name": "a", "arguments": "{}"}},
                {"id": "b", "type": "function", "function": {"name": "b", "arguments": "[]"}},
            ])
        );
    }
}
