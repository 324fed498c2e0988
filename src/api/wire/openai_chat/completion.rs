//! A chat completion that is merged from the chunks of a streamed answer.

use std::sync::Arc;

use super::super::encoder::{BlockIds, Encoder};
use super::super::frames::Frames;
use super::encoder::ChatEncoder;
use super::merge::{MergeRule, index, merge};
use crate::domain::{Entry, Event, Start, UsageRequest};
use crate::json::{Object, Tree};

/// A chat completion under construction: the chunks that a stream would have, merged.
pub struct Completion {
    start: Arc<Start>,
    encoder: ChatEncoder,
    /// The message of each choice is still its `delta`.
    merged: Object,
}

impl Completion {
    pub fn new(start: &Start) -> Self {
        Self::from_start(Arc::new(Start { usage: UsageRequest::Asked, ..start.clone() }))
    }

    fn from_start(start: Arc<Start>) -> Self {
        let encoder = ChatEncoder::new(Arc::clone(&start), BlockIds::Absent);
        Self { start, encoder, merged: Object::default() }
    }

    /// Merges the blocks of an entry of an answer that has not failed. `[DONE]` is no chunk.
    pub fn apply(&mut self, entry: &Entry) {
        if matches!(entry.event, Event::Restart(_)) {
            *self = Self::from_start(Arc::clone(&self.start));
            return;
        }
        let mut frames = Frames::default();
        self.encoder.entry(entry, &mut frames);
        let blocks = frames.take();
        let lines = str::from_utf8(&blocks).unwrap_or_default().lines();
        lines.filter_map(|line| line.strip_prefix("data: ")).for_each(|json| self.chunk(json));
    }

    fn chunk(&mut self, json: &str) {
        if let Ok(Tree::Object(chunk)) = Tree::parse(json) {
            merge(&mut self.merged, chunk, MergeRule::Replace);
        }
    }

    /// Returns the completion in OpenAI's format.
    pub fn into_json(mut self) -> String {
        let choices = self.merged.remove("choices");
        let mut choices = if let Some(Tree::Array(choices)) = choices { choices } else { Vec::new() };
        choices.sort_by_key(index);
        choices.iter_mut().filter_map(Tree::as_object_mut).for_each(complete);
        self.merged.set("object", Tree::text("chat.completion"));
        self.merged.set("choices", Tree::Array(choices));
        self.merged.to_json()
    }
}

/// Converts the delta of a choice to its message.
fn complete(choice: &mut Object) {
    let delta = choice.remove("delta");
    let mut delta = if let Some(Tree::Object(delta)) = delta { delta } else { Object::default() };
    let calls = delta.get_mut("tool_calls").and_then(Tree::as_array_mut);
    for call in calls.into_iter().flatten().filter_map(Tree::as_object_mut) {
        // `index` belongs only to fragments.
        call.remove("index");
        if call.get("type").is_none() {
            call.set("type", Tree::text("function"));
        }
    }
    let defaults = [("role", Tree::text("assistant")), ("content", Tree::NULL), ("refusal", Tree::NULL)];
    let defaults = defaults.map(|(name, value)| (name.into(), value));
    choice.set("message", Tree::Object(defaults.into_iter().chain(delta).collect()));
    if choice.get("logprobs").is_none() {
        choice.set("logprobs", Tree::NULL);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        Chunk, Done, Escaped, Finish, Part, Principal, Sequence, Shape, Stated, Timestamp, Timings, TokenSource,
        Trailer, Usage,
    };

    fn completion() -> Completion {
        Completion::new(&Start {
            generation: "gen_AAAAAAAAAAAAAAAAAAAAAA".parse().expect("an id"),
            owner: Principal::Anonymous,
            model: "m\"".into(),
            created_at: Timestamp::from_millis(1_795_245_962_001),
            prompt: None,
            metadata: [].into(),
            usage: UsageRequest::NotAsked,
            notes: None,
            chat: None,
        })
    }

    fn merge(chunks: &[Value]) -> Value {
        let mut completion = completion();
        for chunk in chunks {
            completion.chunk(&chunk.to_string());
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
    fn answer_without_json_of_openais_dialect_is_merged_from_its_parts() {
        let mut completion = completion();
        let call = |id: Option<&str>, name: Option<&str>| Part::ToolCall {
            choice: 0,
            index: 0,
            id: id.map(Escaped::from_text),
            name: name.map(Escaped::from_text),
        };
        let parts = [
            (Part::Reasoning { choice: 0 }, "hm"),
            (Part::Text { choice: 0, logprobs_json: None }, "Hel\n"),
            (Part::Text { choice: 0, logprobs_json: None }, "lo"),
            (Part::Other { choice: 0, delta_json: "{\"citations\":[]}".into() }, ""),
            (call(Some("call_1"), Some("weather")), "{\"ci"),
            (call(None, None), "ty\":1}"),
        ];
        let mut events: Vec<_> = parts
            .into_iter()
            .map(|(part, text)| Event::Chunk(Chunk::new(Arc::new(Shape::new(None, part)), Escaped::from_text(text))))
            .collect();
        let usage = Usage {
            input_tokens: 5,
            cache_read_tokens: Some(4),
            output_tokens: Some(2),
            reasoning_tokens: Some(1),
            source: TokenSource::Provider,
            ..Usage::default()
        };
        let finish = Box::new([Finish { choice: 0, reason: "tool_calls".into(), stated: Stated::Yes }]);
        let (trailer, timings) = (Trailer::default(), Timings::default());
        events.push(Event::Done(Arc::new(Done { finish, trailer, usage, timings })));
        for (event, sequence) in events.into_iter().zip(2..) {
            completion.apply(&Entry::new(Sequence::new(sequence), event));
        }
        let json: Value = serde_json::from_str(&completion.into_json()).expect("JSON");
        assert_eq!(
            json,
            json!({
                "id": "chatcmpl-gen_AAAAAAAAAAAAAAAAAAAAAA", "object": "chat.completion", "created": 1_795_245_962,
                "model": "m\"",
                "choices": [{
                    "index": 0, "finish_reason": "tool_calls", "logprobs": null,
                    "message": {
                        "role": "assistant", "content": "Hel\nlo", "reasoning_content": "hm", "refusal": null,
                        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":1}"}}],
                    },
                }],
                "usage": {
                    "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7,
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": {"reasoning_tokens": 1},
                },
            })
        );
    }
}
