//! The whole chat completion: the upstream's own, or one that is merged from its chunks.

use std::sync::Arc;

use super::merge::{merge_choice, merge_member};
use super::usage::usage_json;
use crate::domain::{Chunk, Done, Entry, Event, Part, Shape};
use crate::json::{Object, RawText, Tree};

/// A chat completion under construction.
#[derive(Default)]
pub struct Completion {
    /// All members except the choices.
    members: Object,
    choices: Vec<Object>,
    /// The last shape that was merged, if its chunks contain only text, and the position of its choice.
    plain: Option<(Arc<Shape>, usize)>,
    /// The upstream's own completion.
    whole: Option<String>,
}

impl Completion {
    /// Merges an entry.
    pub fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Chunk(chunk) => self.chunk(chunk),
            Event::Done(done) => self.done(done),
            Event::Start(_) | Event::Cancelled(_) | Event::Failed(_) => {}
        }
    }

    /// Returns the completion in OpenAI's format.
    pub fn into_json(mut self) -> String {
        if let Some(whole) = self.whole {
            return whole;
        }
        self.choices.sort_by_key(index);
        self.members.set("object", Tree::text("chat.completion"));
        let choices = self.choices.into_iter().map(|choice| Tree::Object(with_message(choice))).collect();
        self.members.set("choices", Tree::Array(choices));
        self.members.to_json()
    }

    fn done(&mut self, done: &Done) {
        let usage = usage_json(done);
        if let Some(completion) = &done.trailer.completion_json {
            self.whole = Some(with_usage(completion, done, &usage));
            return;
        }
        self.lines(&done.trailer.chunks_json);
        self.lines(&format!("{{{}}}", done.trailer.head_json));
        if let Ok(usage) = Tree::parse(&usage) {
            self.members.set("usage", usage);
        }
    }

    /// Merges a chunk. It is parsed only if its shape differs from the last one; otherwise only the text is new.
    fn chunk(&mut self, chunk: &Chunk) {
        if let Some((shape, choice)) = &self.plain
            && Arc::ptr_eq(shape, chunk.shape())
            && let Some(content) = self.choices.get_mut(*choice).and_then(content)
        {
            content.push_str(chunk.text().as_str());
            return;
        }
        let plain = self.lines(&chunk.json().map(|parts| parts.concat()).unwrap_or_default());
        let is_plain =
            matches!(chunk.part(), Part::Text { logprobs_json: None, .. }) && chunk.shape().silent.is_empty();
        self.plain = plain.filter(|_| is_plain).map(|choice| (Arc::clone(chunk.shape()), choice));
    }

    /// Merges chunks, one per line. Returns the position of the choice if the last chunk contains only its content.
    fn lines(&mut self, lines: &str) -> Option<usize> {
        let mut plain = None;
        for line in lines.lines() {
            // Always parses: the log's chunks were written from a tree.
            let Ok(Tree::Object(chunk)) = Tree::parse(line) else { continue };
            plain = None;
            for (name, value) in chunk {
                match (name.as_str(), value) {
                    ("choices", Tree::Array(choices)) => {
                        let is_alone = choices.len() == 1;
                        for choice in choices {
                            plain = self.choice(choice).filter(|_| is_alone);
                        }
                    }
                    (_, value) => merge_member(&mut self.members, &name, value),
                }
            }
        }
        plain
    }

    fn choice(&mut self, choice: Tree) -> Option<usize> {
        let Tree::Object(choice) = choice else { return None };
        let delta = choice.get("delta").and_then(Tree::as_object);
        let is_plain = delta.is_some_and(|delta| {
            delta.iter().all(|(name, value)| name == "content" || value.is_null()) && delta.text("content").is_some()
        });
        let known = self.choices.iter().position(|known| known.get("index") == choice.get("index"));
        let position = known.unwrap_or(self.choices.len());
        if known.is_none() {
            self.choices.push(Object::default());
        }
        merge_choice(self.choices.get_mut(position)?, choice);
        Some(position).filter(|_| is_plain)
    }
}

/// Returns the escaped content of a choice.
fn content(choice: &mut Object) -> Option<&mut RawText> {
    match choice.get_mut("delta")?.as_object_mut()?.get_mut("content")? {
        Tree::Text(content) => Some(content),
        _ => None,
    }
}

fn index(choice: &Object) -> Option<u64> {
    match choice.get("index")? {
        Tree::Literal(json) => json.parse().ok(),
        _ => None,
    }
}

/// Returns the upstream's completion, byte for byte unless its usage has to be replaced.
fn with_usage(completion: &Arc<str>, done: &Done, usage: &str) -> String {
    if done.trailer.usage_json.as_deref() == Some(usage) {
        return completion.to_string();
    }
    let (Ok(Tree::Object(mut completion)), Ok(usage)) = (Tree::parse(completion), Tree::parse(usage)) else {
        return completion.to_string();
    };
    completion.set("usage", usage);
    completion.to_json()
}

/// Converts the delta of a choice to its message.
fn with_message(mut choice: Object) -> Object {
    let mut message: Object =
        [("role", Tree::text("assistant")), ("content", Tree::NULL), ("refusal", Tree::NULL)].into_iter().collect();
    if let Some(Tree::Object(delta)) = choice.remove("delta") {
        for (name, value) in delta {
            message.set(name, value);
        }
    }
    let calls = message.get_mut("tool_calls").and_then(Tree::as_array_mut);
    for call in calls.into_iter().flatten().filter_map(Tree::as_object_mut) {
        // `index` belongs only to fragments.
        call.remove("index");
        if call.get("type").is_none() {
            call.set("type", Tree::text("function"));
        }
    }
    choice.set("message", Tree::Object(message));
    if choice.get("logprobs").is_none() {
        choice.set("logprobs", Tree::NULL);
    }
    choice
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{Escaped, Finish, Frame, Sequence, Timings, TokenSource, Trailer, Usage};

    fn merge(chunks: &[Value]) -> Value {
        let mut completion = Completion::default();
        for chunk in chunks {
            completion.lines(&chunk.to_string());
        }
        serde_json::from_str(&completion.into_json()).expect("JSON")
    }

    #[test]
    fn fragments_are_merged_into_a_message() {
        let completion = merge(&[
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
    fn chunks_of_one_shape_merge_as_if_each_was_parsed() {
        let frame = |before: &str, after: &str| {
            let part = Part::Text { choice: 0, logprobs_json: None };
            Arc::new(Shape::new(Some(Frame::new(before, after)), part))
        };
        for shape in [
            frame(r#"{"id":"c","x":[],"choices":[{"index":0,"delta":{"content":""#, r#""}}]}"#),
            // Shapes with other members, which are merged as well.
            frame(r#"{"id":"c","choices":[{"index":0,"delta":{"content":""#, r#"","reasoning":"a"}}]}"#),
            frame(
                r#"{"id":"c","choices":[{"index":0,"delta":{"list":[{"index":0,"text":"t"}],"content":""#,
                r#""}}]}"#,
            ),
        ] {
            let (mut completion, mut each) = (Completion::default(), Completion::default());
            let silent = "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n";
            let first = Arc::new(Shape { silent: silent.into(), ..Shape::clone(&shape) });
            for (shape, text) in [(&first, "Hel"), (&shape, "lo\n\""), (&shape, "\u{e9}"), (&first, ""), (&shape, "!")]
            {
                let chunk = Chunk::new(Arc::clone(shape), Escaped::from_text(text));
                completion.chunk(&chunk);
                each.lines(&chunk.json().expect("a frame").concat());
            }
            assert_eq!(completion.into_json(), each.into_json());
        }
    }

    #[test]
    fn tool_calls_are_merged_by_their_index() {
        let call = |index, name: Value, arguments| json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, "id": name, "function": {"name": name, "arguments": arguments}}]}}]});
        let completion = merge(&[
            call(0, json!("a"), "{"),
            call(1, json!("b"), "["),
            call(0, Value::Null, "}"),
            call(1, json!(""), "]"),
        ]);
        assert_eq!(
            completion["choices"][0]["message"]["tool_calls"],
            json!([
                {"id": "a", "type": "function", "function": {"name": "a", "arguments": "{}"}},
                {"id": "b", "type": "function", "function": {"name": "b", "arguments": "[]"}},
            ])
        );
    }

    #[test]
    fn completion_of_the_upstream_is_returned_unchanged() {
        let completed = |usage_json: &str, source| {
            let usage = Usage { input_tokens: 5, output_tokens: Some(2), source, ..Usage::default() };
            let completion = format!(r#"{{"id": "c", "choices": [], "usage": {usage_json}}}"#);
            let trailer = Trailer {
                usage_json: Some(usage_json.into()),
                completion_json: Some(completion.as_str().into()),
                ..Trailer::default()
            };
            let finish = Box::new([Finish::stated(0, "stop")]);
            let event = Event::Done(Arc::new(Done { finish, trailer, usage, timings: Timings::default() }));
            let mut merged = Completion::default();
            merged.apply(&Entry { sequence: Sequence::new(2), event });
            (completion, merged.into_json())
        };
        let (sent, got) =
            completed(r#"{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"x":1}"#, TokenSource::Provider);
        assert_eq!(got, sent);
        let (_, got) = completed(r#"{"prompt_tokens":5,"x":1}"#, TokenSource::Estimated);
        assert_eq!(
            got,
            r#"{"id":"c","choices":[],"usage":{"prompt_tokens":5,"x":1,"completion_tokens":2,"total_tokens":7,"estimated":true}}"#
        );
    }
}
