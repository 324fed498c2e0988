//! A chat completion that is merged from the chunks of a streamed answer.

use std::sync::Arc;

use super::super::encoder::Encoder;
use super::super::frames::Frames;
use super::encoder::{BlockIds, ChatEncoder};
use super::merge::{MergeRule, index, merge};
use crate::domain::{Chunk, ChunkJson, Entry, Escaped, Event, ProviderDialect, Sequence, Shape, Start, UsageRequest};
use crate::json::{Object, Tree};

/// A chat completion under construction: the chunks that a stream would have, merged.
pub struct Completion {
    encoder: ChatEncoder,
    /// The message of each choice is still its `delta`.
    merged: Object,
    /// Chunks that differ only in their text, which are merged as one: their shape and their joined text. Without it, a
    /// repeated request could make the service parse every chunk of a long answer.
    run: Option<(Arc<Shape>, String)>,
}

impl Completion {
    pub fn new(start: &Start) -> Self {
        let start = Arc::new(Start { usage: UsageRequest::Asked, ..start.clone() });
        Self { encoder: ChatEncoder::new(start, BlockIds::Absent), merged: Object::default(), run: None }
    }

    /// Merges an entry of an answer that has not failed.
    pub fn apply(&mut self, entry: &Entry) {
        match (&mut self.run, &entry.event) {
            (Some((shape, text)), Event::Chunk(chunk)) if Arc::ptr_eq(shape, chunk.shape()) => {
                text.push_str(chunk.text().as_str());
            }
            (_, Event::Chunk(chunk)) if is_only_text(chunk) => {
                self.end_run();
                self.run = Some((Arc::clone(chunk.shape()), chunk.text().as_str().to_owned()));
            }
            _ => {
                self.end_run();
                self.blocks(entry);
            }
        }
    }

    /// Returns the completion in OpenAI's format.
    pub fn into_json(mut self) -> String {
        self.end_run();
        let choices = self.merged.remove("choices");
        let mut choices = if let Some(Tree::Array(choices)) = choices { choices } else { Vec::new() };
        choices.sort_by_key(index);
        choices.iter_mut().filter_map(Tree::as_object_mut).for_each(complete);
        self.merged.set("object", Tree::text("chat.completion"));
        self.merged.set("choices", Tree::Array(choices));
        self.merged.to_json()
    }

    fn end_run(&mut self) {
        if let Some((shape, text)) = self.run.take() {
            let event = Event::Chunk(Chunk::new(shape, Escaped::from_stored(&text)));
            self.blocks(&Entry { sequence: Sequence::START, event });
        }
    }

    /// Merges the blocks of an entry.
    fn blocks(&mut self, entry: &Entry) {
        let mut frames = Frames::default();
        self.encoder.entry(entry, &mut frames);
        let blocks = frames.take();
        let lines = str::from_utf8(&blocks).unwrap_or_default().lines();
        lines.filter_map(|line| line.strip_prefix("data: ")).for_each(|json| self.chunk(json));
    }

    /// Merges a chunk. `[DONE]` is not one.
    fn chunk(&mut self, json: &str) {
        if let Ok(Tree::Object(chunk)) = Tree::parse(json) {
            merge(&mut self.merged, chunk, MergeRule::Replace);
        }
    }
}

/// Returns whether a chunk without its text changes nothing when it is merged again.
fn is_only_text(chunk: &Chunk) -> bool {
    let ChunkJson::Here { silent: "", pieces: [before, _, after] } = chunk.json(ProviderDialect::OpenAiChat) else {
        return false;
    };
    let Ok(Tree::Object(frame)) = Tree::parse(&[before, after].concat()) else { return false };
    let mut merged = Object::default();
    merge(&mut merged, frame.clone(), MergeRule::Replace);
    let once = merged.clone();
    merge(&mut merged, frame, MergeRule::Replace);
    merged == once
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
        Done, Finish, Frame, Part, Principal, Stated, Timestamp, Timings, TokenSource, Trailer, Usage,
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
    fn chunks_of_one_shape_merge_as_if_each_was_parsed() {
        let frame = |before: &str, after: &str| {
            let part = Part::Text { choice: 0, logprobs_json: None };
            Arc::new(Shape::new(Some(Frame::new(ProviderDialect::OpenAiChat, before, after)), part))
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
            let (mut completion, mut each) = (completion(), completion());
            let silent = "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n";
            let first = Arc::new(shape.after_silent(silent));
            for (shape, text) in [(&first, "Hel"), (&shape, "lo\n\""), (&shape, "\u{e9}"), (&first, ""), (&shape, "!")]
            {
                let chunk = Chunk::new(Arc::clone(shape), Escaped::from_text(text));
                completion.apply(&Entry { sequence: Sequence::START, event: Event::Chunk(chunk.clone()) });
                let ChunkJson::Here { silent, pieces } = chunk.json(ProviderDialect::OpenAiChat) else {
                    panic!("a frame")
                };
                silent.lines().for_each(|json| each.chunk(json));
                each.chunk(&pieces.concat());
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
            completion.apply(&Entry { sequence: Sequence::new(sequence), event });
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
