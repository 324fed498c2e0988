//! A chat completion that is merged from the chunks of a streamed answer.

use std::sync::Arc;

use super::merge::{ChunkPlace, merge};
use super::neutral_chunks::NeutralChunks;
use super::usage::usage_json;
use crate::domain::{Chunk, ChunkJson, Done, Entry, Event, Part, ProviderDialect, Shape, Start};
use crate::json::{Object, RawText, Tree};

/// A chat completion under construction.
pub struct Completion {
    /// All chunks. The message of each choice is still its `delta`.
    merged: Object,
    neutral: NeutralChunks,
    /// The last shape that was merged, if its chunks contain only text, and the position of its choice.
    plain: Option<(Arc<Shape>, usize)>,
}

impl Completion {
    pub fn new(start: &Start) -> Self {
        Self { merged: Object::default(), neutral: NeutralChunks::new(start), plain: None }
    }

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
        let mut choices = match self.merged.remove("choices") {
            Some(Tree::Array(choices)) => choices,
            _ => Vec::new(),
        };
        choices.sort_by_key(index);
        for choice in choices.iter_mut().filter_map(Tree::as_object_mut) {
            complete(choice);
        }
        self.merged.set("object", Tree::text("chat.completion"));
        self.merged.set("choices", Tree::Array(choices));
        self.merged.to_json()
    }

    fn done(&mut self, done: &Done) {
        if let Some(trailer) = done.trailer.of(ProviderDialect::OpenAiChat) {
            self.lines(&trailer.chunks_json);
            self.lines(&format!("{{{}}}", trailer.head_json));
        } else {
            for chunk in self.neutral.ends(done).collect::<Vec<_>>() {
                self.lines(&chunk);
            }
        }
        if let Ok(usage) = Tree::parse(&usage_json(done)) {
            self.merged.set("usage", usage);
        }
    }

    /// Merges a chunk. It is parsed only if its shape differs from the last one; otherwise only the text is new.
    fn chunk(&mut self, chunk: &Chunk) {
        if let Some((shape, choice)) = &self.plain
            && Arc::ptr_eq(shape, chunk.shape())
            && let Some(content) = content(&mut self.merged, *choice)
        {
            content.push_str(chunk.text().as_str());
            return;
        }
        self.plain = None;
        match chunk.json(ProviderDialect::OpenAiChat) {
            ChunkJson::Later => {}
            ChunkJson::Absent => {
                if let Some(json) = self.neutral.chunk(chunk) {
                    self.lines(&json);
                }
            }
            ChunkJson::Here { silent, pieces } => {
                self.lines(silent);
                let json = pieces.concat();
                let is_text = matches!(chunk.part(), Part::Text { logprobs_json: None, .. });
                self.lines(&json);
                if is_text && silent.is_empty() {
                    self.plain = self.plain_choice(&json).map(|choice| (Arc::clone(chunk.shape()), choice));
                }
            }
        }
    }

    /// Merges chunks, one per line.
    fn lines(&mut self, lines: &str) {
        for line in lines.lines() {
            // Always parses: the log's chunks were written from a tree.
            if let Ok(Tree::Object(chunk)) = Tree::parse(line) {
                merge(&mut self.merged, chunk, ChunkPlace::Chunk);
            }
        }
    }

    /// Returns the position of the choice of a chunk that contains only its text.
    fn plain_choice(&self, chunk: &str) -> Option<usize> {
        let chunk = Tree::parse(chunk).ok()?;
        let [choice] = chunk.as_object()?.get("choices")?.as_array()?.as_slice() else { return None };
        let delta = choice.as_object()?.get("delta")?.as_object()?;
        delta.text("content")?;
        let is_plain = delta.iter().all(|(name, value)| name == "content" || value.is_null());
        let choices = self.merged.get("choices")?.as_array()?;
        is_plain.then(|| choices.iter().position(|known| index(known) == index(choice)))?
    }
}

/// Returns the escaped content of a choice.
fn content(merged: &mut Object, choice: usize) -> Option<&mut RawText> {
    let choice = merged.get_mut("choices")?.as_array_mut()?.get_mut(choice)?.as_object_mut()?;
    match choice.get_mut("delta")?.as_object_mut()?.get_mut("content")? {
        Tree::Text(content) => Some(content),
        _ => None,
    }
}

fn index(choice: &Tree) -> Option<u64> {
    match choice.as_object()?.get("index")? {
        Tree::Literal(json) => json.parse().ok(),
        _ => None,
    }
}

/// Converts the delta of a choice to its message.
fn complete(choice: &mut Object) {
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
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{
        Escaped, Finish, Frame, Principal, Sequence, Stated, Timestamp, Timings, TokenSource, Trailer, Usage,
        UsageRequest,
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
                completion.chunk(&chunk);
                let ChunkJson::Here { silent, pieces } = chunk.json(ProviderDialect::OpenAiChat) else {
                    panic!("a frame")
                };
                each.lines(silent);
                each.lines(&pieces.concat());
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
