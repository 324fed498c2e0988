//! The whole completion: the fold of its chunks.

use serde_json::{Map, Value, json};

use super::usage;
use crate::domain::{Entry, Event};

/// A chat completion under construction. Fields that nobody knows are gathered as the known ones are.
#[derive(Debug, Default)]
pub struct Completion {
    members: Map<String, Value>,
    choices: Vec<Map<String, Value>>,
}

impl Completion {
    /// Takes one entry more.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Chunk(chunk) => {
                let json = chunk.json().map(|parts| parts.concat()).unwrap_or_default();
                self.chunks(&json);
            }
            Event::Done(done) => {
                self.chunks(&done.trailer.chunks_json);
                self.chunks(&format!("{{{}}}", done.trailer.head_json));
                self.members.insert("usage".to_owned(), usage(done));
            }
            Event::Start(_) | Event::Cancelled(_) | Event::Failed(_) => {}
        }
    }

    /// The completion as OpenAI's clients read it.
    pub fn into_json(mut self) -> Value {
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

    fn chunks(&mut self, lines: &str) {
        for line in lines.lines() {
            // What is in the log was parsed on its way there.
            let Ok(Value::Object(mut chunk)) = serde_json::from_str(line) else { continue };
            if let Some(Value::Array(choices)) = chunk.shift_remove("choices") {
                for choice in choices {
                    self.choice(choice);
                }
            }
            self.members.extend(chunk);
        }
    }

    fn choice(&mut self, choice: Value) {
        let Value::Object(choice) = choice else { return };
        let index = choice.get("index").cloned().unwrap_or_default();
        let known = self.choices.iter_mut().position(|known| known.get("index") == Some(&index));
        let known = known.unwrap_or_else(|| {
            self.choices.push(Map::new());
            self.choices.len() - 1
        });
        if let Some(known) = self.choices.get_mut(known) {
            merge_members(known, choice);
        }
    }
}

fn merge_members(known: &mut Map<String, Value>, more: Map<String, Value>) {
    for (name, value) in more {
        match known.get_mut(&name) {
            // Said once, or each time in full: a name that came in two pieces would be no name.
            Some(known) if matches!(name.as_str(), "index" | "id" | "type" | "role" | "name" | "finish_reason") => {
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

    fn fold(chunks: &[Value]) -> Value {
        let mut completion = Completion::default();
        for chunk in chunks {
            completion.chunks(&chunk.to_string());
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
