//! OpenAI's event streams: chat completion chunks.

use std::sync::Arc;

use serde::Serialize;

use super::super::encoder::{BlockIds, Encoder, Notice};
use super::super::frames::Frames;
use super::super::retry::Retry;
use super::error_body::OpenAiError;
use super::neutral_chunks::NeutralChunks;
use super::usage::usage_json;
use crate::domain::{ChunkJson, Entry, Event, EventId, ProviderDialect, Start, UsageRequest, wire_safe};

/// Encodes chunks as `data:` lines; the last is `[DONE]`.
///
/// The log of an upstream of this dialect holds normalized chunks, so a frame is a copy. One entry may be several
/// blocks: chunks without content before the chunk with content, and the finish reasons and the usage before `[DONE]`.
/// Then the last block has the id. The chunks of any other upstream are written from their parts.
#[derive(Debug)]
pub struct ChatEncoder {
    start: Arc<Start>,
    ids: BlockIds,
    /// Only after a chunk without JSON of this dialect.
    neutral: Option<Box<NeutralChunks>>,
}

const DIALECT: ProviderDialect = ProviderDialect::OpenAiChat;

impl ChatEncoder {
    pub const fn new(start: Arc<Start>, ids: BlockIds) -> Self {
        Self { start, ids, neutral: None }
    }
}

fn neutral<'a>(chunks: &'a mut Option<Box<NeutralChunks>>, start: &Start) -> &'a mut NeutralChunks {
    chunks.get_or_insert_with(|| Box::new(NeutralChunks::new(start)))
}

impl Encoder for ChatEncoder {
    fn entry(&mut self, entry: &Entry, frames: &mut Frames) {
        let id = EventId { generation: self.start.generation, position: entry.position() };
        let mut blocks = EntryBlocks { frames, id, ids: self.ids };
        match &entry.event {
            Event::Start(_) => {}
            Event::Chunk(chunk) => match chunk.json(DIALECT) {
                ChunkJson::Here { silent, pieces } => {
                    for line in silent.lines() {
                        blocks.inner(&[line]);
                    }
                    blocks.last(&pieces);
                }
                ChunkJson::Later => {}
                ChunkJson::Absent => {
                    if let Some(json) = neutral(&mut self.neutral, &self.start).chunk(chunk) {
                        blocks.last(&[&json]);
                    }
                }
            },
            // No `[DONE]` follows: what the client has is not the answer.
            Event::Restart(_) => blocks.end(&[&one_line(&OpenAiError::restarted())]),
            Event::Done(done) => {
                let head_json = if let Some(trailer) = done.trailer.of(DIALECT) {
                    for line in trailer.chunks_json.lines() {
                        blocks.inner(&[line]);
                    }
                    &*trailer.head_json
                } else {
                    let chunks = neutral(&mut self.neutral, &self.start);
                    for json in chunks.ends(done) {
                        blocks.inner(&[&json]);
                    }
                    chunks.head_json()
                };
                if self.start.usage == UsageRequest::Asked {
                    blocks.inner(&["{", head_json, ",\"choices\":[],\"usage\":", &usage_json(done), "}"]);
                }
                blocks.end(&["[DONE]"]);
            }
            // No `[DONE]` follows, because the answer is incomplete.
            Event::Cancelled(_) => blocks.end(&[&one_line(&OpenAiError::cancelled())]),
            Event::Failed(failed) => blocks.end(&[&one_line(&OpenAiError::from(&failed.failure))]),
        }
    }

    fn is_last(&self, event: &Event) -> bool {
        event.is_terminal() || matches!(event, Event::Restart(_))
    }

    fn needs_history(&self, next: &Entry) -> bool {
        match &next.event {
            Event::Chunk(chunk) => chunk.json(DIALECT) == ChunkJson::Absent,
            Event::Done(done) => done.trailer.of(DIALECT).is_none(),
            Event::Start(_) | Event::Restart(_) | Event::Cancelled(_) | Event::Failed(_) => false,
        }
    }

    fn skip(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Chunk(chunk) if chunk.json(DIALECT) == ChunkJson::Absent => {
                neutral(&mut self.neutral, &self.start).skip(chunk);
            }
            // The next answer has a role of its own.
            Event::Restart(_) => self.neutral = None,
            _ => {}
        }
    }

    fn notice(&mut self, notice: Notice, frames: &mut Frames) {
        match (notice, self.ids) {
            (Notice::Reconnect(retry), BlockIds::Present) => frames.retry_line(retry),
            (Notice::Reconnect(_), BlockIds::Absent) | (Notice::Queued(_), _) => {}
        }
    }
}

/// The blocks of one entry.
struct EntryBlocks<'a> {
    frames: &'a mut Frames,
    id: EventId,
    ids: BlockIds,
}

impl EntryBlocks<'_> {
    /// Writes a block that is not the last one of its entry.
    fn inner(&mut self, data: &[&str]) {
        self.block(data, None);
    }

    /// Writes the last block of its entry.
    fn last(&mut self, data: &[&str]) {
        self.block(data, Some(self.id));
    }

    /// Writes the last block of the stream.
    fn end(&mut self, data: &[&str]) {
        self.frames.set_retry(Retry::DORMANT);
        self.last(data);
    }

    fn block(&mut self, data: &[&str], id: Option<EventId>) {
        let mut block = self.frames.unnamed();
        for part in data {
            block.data().raw(part);
        }
        match self.ids {
            BlockIds::Present => block.end(id),
            BlockIds::Absent => block.end_with_data(),
        }
    }
}

fn one_line(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).unwrap_or_default();
    String::from_utf8(wire_safe(&json).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::wire::encoder::{CatchUp, PageEffect};
    use crate::domain::{
        Chunk, Done, Escaped, FailureCode, Finish, Part, Principal, Restart, Sequence, Shape, Timestamp, Timings,
        TokenSource, Trailer, Usage,
    };

    fn start() -> Arc<Start> {
        Arc::new(Start {
            generation: "gen_AAAAAAAAAAAAAAAAAAAAAA".parse().expect("an id"),
            owner: Principal::Anonymous,
            model: "m\"".into(),
            created_at: Timestamp::from_millis(1_795_245_962_001),
            prompt: None,
            metadata: [].into(),
            usage: UsageRequest::Asked,
            notes: None,
            chat: None,
        })
    }

    #[test]
    fn answer_that_begins_anew_ends_the_stream_with_an_error_and_is_whole_for_a_viewer_that_resumes_after_it() {
        let chunk = |text: &str| Event::Chunk(Chunk::new(Arc::new(Shape::new(None, TEXT)), Escaped::from_text(text)));
        let restart = Restart { from: Sequence::new(1), reason: FailureCode::UpstreamTimeout };
        let events = [Event::Start(start()), chunk("a"), Event::Restart(restart), chunk("b")];
        let entries: Vec<_> =
            (1..).zip(events).map(|(sequence, event)| Entry::new(Sequence::new(sequence), event)).collect();
        let (mut encoder, mut frames) = (ChatEncoder::new(start(), BlockIds::Present), Frames::default());
        let effect = CatchUp::default().page(&entries, &mut encoder, &mut frames);
        let written = String::from_utf8(frames.take().to_vec()).expect("UTF-8");
        assert_eq!(effect, PageEffect::EncodedLast(3));
        let error = r#"data: {"error":{"message":"The model's server failed, and another one began anew: the answer so far is withdrawn. Follow the generation after this event for the new answer.","type":"server_error","param":null,"code":"upstream_restarted"}}"#;
        let end = format!("{error}\nretry: 86400000\nid: gen_AAAAAAAAAAAAAAAAAAAAAA.3\n\n");
        assert!(written.ends_with(&end), "{written}");

        let (mut encoder, mut catch_up) = (ChatEncoder::new(start(), BlockIds::Present), CatchUp::default());
        assert_eq!(catch_up.page(&entries[3..], &mut encoder, &mut frames), PageEffect::Rewind);
        assert_eq!(catch_up.page(&entries, &mut encoder, &mut frames), PageEffect::Encoded(1));
        let written = String::from_utf8(frames.take().to_vec()).expect("UTF-8");
        assert!(written.contains(r#"{"role":"assistant","content":"b"}"#), "{written}");
    }

    /// Returns the stream of an answer without JSON of the provider.
    fn stream(parts: Vec<(Part, &str)>, finish: Finish) -> String {
        let chunk = |(part, text): (Part, &str)| {
            Event::Chunk(Chunk::new(Arc::new(Shape::new(None, part)), Escaped::from_text(text)))
        };
        let usage =
            Usage { input_tokens: 3, output_tokens: Some(2), source: TokenSource::Provider, ..Usage::default() };
        let (trailer, timings) = (Trailer::default(), Timings::default());
        let done = Done { finish: [finish].into(), trailer, usage, timings };
        let events = [Event::Start(start())].into_iter().chain(parts.into_iter().map(chunk));
        let (mut encoder, mut frames) = (ChatEncoder::new(start(), BlockIds::Absent), Frames::default());
        for (event, sequence) in events.chain([Event::Done(Arc::new(done))]).zip(1..) {
            encoder.entry(&Entry::new(Sequence::new(sequence), event), &mut frames);
        }
        String::from_utf8(frames.take().to_vec()).expect("UTF-8")
    }

    const TEXT: Part = Part::Text { choice: 0, logprobs_json: None };
    const HEAD: &str = r#"{"id":"chatcmpl-gen_AAAAAAAAAAAAAAAAAAAAAA","object":"chat.completion.chunk","created":1795245962,"model":"m\"","choices":["#;
    const THINKING: &str =
        r#"{"thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"s"}],"citations":[]}"#;
    const END: &str =
        "],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\ndata: [DONE]\n\n";

    #[test]
    fn chunks_without_json_of_this_dialect_are_written_from_their_parts() {
        let call = |id: Option<&str>| Part::ToolCall {
            choice: 0,
            index: 1,
            id: id.map(Escaped::from_text),
            name: id.map(|_| Escaped::from_text("weather")),
        };
        let parts = vec![
            (Part::Reasoning { choice: 0 }, "hm"),
            (TEXT, "a\n"),
            (Part::Other { choice: 0, delta_json: "{\"citations\":[]}".into() }, ""),
            (Part::Other { choice: 0, delta_json: THINKING.into() }, ""),
            (Part::Refusal { choice: 0 }, "no"),
            (call(Some("call_1")), "{\"a\""),
            (call(None), ":1}"),
        ];
        let deltas = [
            r#""role":"assistant","reasoning_content":"hm""#,
            r#""content":"a\n""#,
            r#""thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"s"}]"#,
            r#""refusal":"no""#,
            r#""tool_calls":[{"index":1,"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"a\""}}]"#,
            r#""tool_calls":[{"index":1,"function":{"arguments":":1}"}}]"#,
        ];
        let chunks = deltas.map(|delta| {
            format!("data: {HEAD}{{\"index\":0,\"delta\":{{{delta}}},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n")
        });
        let finish = format!("data: {HEAD}{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"tool_calls\"}}]}}\n\n");
        let expected = chunks.concat() + &finish + "data: " + HEAD + END;
        assert_eq!(stream(parts, Finish::stated(0, "tool_calls")), expected);
    }

    #[test]
    fn choice_without_chunks_begins_with_its_end() {
        let delta = r#"{"role":"assistant","content":""}"#;
        let end = format!(r#"{{"index":0,"delta":{delta},"finish_reason":"stop","finish_reason_missing":true}}]}}"#);
        let expected = format!("data: {HEAD}{end}\n\ndata: {HEAD}{END}");
        assert_eq!(stream(Vec::new(), Finish::unstated(0)), expected);
    }
}
