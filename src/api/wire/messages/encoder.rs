//! Anthropic's event streams: content blocks that begin and end one after another.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::encoder::{BlockIds, Encoder, Notice};
use super::super::frames::Frames;
use super::super::retry::Retry;
use super::content_state::{CallArguments, HeldBlock, HeldCall, StreamedBlock, non_empty};
use super::error_body::MessagesError;
use super::message::{message_head, usage_json};
use super::message_blocks::MessageBlocks;
use super::message_stop::MessageStop;
use super::provider_blocks::{ProviderBlock, provider_blocks};
use crate::domain::{Chunk, Done, Entry, Escaped, Event, EventId, Part, Start, Usage};
use crate::generation::TextSpan;

/// Encodes the first choice of an answer.
///
/// Anthropic's clients read one block at a time, but other upstreams may send the fragments of several tool calls in
/// turn. Blocks that begin while the arguments of a call are incomplete are held back until the arguments are JSON, or
/// until the end. A held text or call is a span of the log, so it costs no memory; only blocks of
/// Anthropic's own are kept.
#[derive(Debug)]
pub struct MessagesEncoder {
    start: Arc<Start>,
    ids: BlockIds,
    /// Whether the message of the current answer has begun.
    has_begun: bool,
    /// The index of the next block.
    next: u32,
    open: Option<StreamedBlock>,
    held: VecDeque<HeldBlock>,
    stop: MessageStop,
}

impl MessagesEncoder {
    pub fn new(start: Arc<Start>, ids: BlockIds) -> Self {
        Self { start, ids, has_begun: false, next: 0, open: None, held: VecDeque::new(), stop: MessageStop::default() }
    }

    fn begin_message(&mut self, blocks: &mut MessageBlocks<'_>) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        let mut message = message_head(&self.start);
        if let Value::Object(members) = &mut message {
            members.insert("usage".to_owned(), usage_json(&Usage::default()));
        }
        blocks.json("message_start", &json!({"type": "message_start", "message": message}));
    }

    fn chunk(&mut self, chunk: &Chunk, entry: &Entry, blocks: &mut MessageBlocks<'_>) {
        if chunk.part().choice() != Some(0) {
            return;
        }
        let may_release = !matches!(self.held.front(), None | Some(HeldBlock::ToolUse(HeldCall { name: None, .. })));
        if may_release && self.open.as_ref().is_none_or(StreamedBlock::is_complete) {
            self.close(blocks);
            self.release(blocks);
        }
        let text = chunk.text().as_str();
        match chunk.part() {
            Part::Text { .. } | Part::Refusal { .. } => {
                if matches!(chunk.part(), Part::Refusal { .. }) {
                    self.stop.refuse();
                }
                if self.holds() {
                    self.hold_text(entry, HeldBlock::Text);
                    return;
                }
                self.open(StreamedBlock::Text, blocks);
                self.delta(r#"{"type":"text_delta","text":""#, text, blocks);
            }
            Part::Reasoning { .. } => {
                if self.holds() {
                    self.hold_text(entry, HeldBlock::Thinking);
                    return;
                }
                self.open(StreamedBlock::Thinking, blocks);
                self.delta(r#"{"type":"thinking_delta","thinking":""#, text, blocks);
            }
            Part::ToolCall { index, id, name, .. } => self.tool_call(*index, (id, name), chunk, entry, blocks),
            Part::Other { delta_json, .. } => {
                self.stop.read(delta_json);
                for block in provider_blocks(delta_json) {
                    if self.holds() {
                        self.held.push_back(HeldBlock::Provider(block));
                    } else {
                        self.provider_block(&block, blocks);
                    }
                }
            }
            Part::Silent => {}
        }
    }

    fn tool_call(
        &mut self,
        call: u32,
        (id, name): (&Option<Escaped>, &Option<Escaped>),
        chunk: &Chunk,
        entry: &Entry,
        blocks: &mut MessageBlocks<'_>,
    ) {
        let fragment = chunk.text();
        if let Some(StreamedBlock::ToolUse { call: open, arguments }) = &mut self.open
            && *open == call
        {
            arguments.push(&fragment.unescape());
            return self.fragment(fragment.as_str(), blocks);
        }
        let known = self.held.iter_mut().find_map(|held| match held {
            HeldBlock::ToolUse(known) if known.call == call => Some(known),
            _ => None,
        });
        if let Some(known) = known {
            // Some servers send the name after the first fragment.
            known.id = known.id.take().or_else(|| non_empty(id.as_ref()));
            known.name = known.name.take().or_else(|| non_empty(name.as_ref()));
            return known.push(fragment, entry);
        }
        // More of a call whose arguments were complete.
        if id.is_none() && name.is_none() {
            return;
        }
        let (id, name) = (non_empty(id.as_ref()), non_empty(name.as_ref()));
        let mut held = HeldCall { call, id, name, arguments: CallArguments::default(), span: None };
        if self.holds() || held.name.is_none() {
            held.push(fragment, entry);
            self.held.push_back(HeldBlock::ToolUse(held));
            return;
        }
        self.close(blocks);
        self.begin_call(&held, blocks);
        held.arguments.push(&fragment.unescape());
        self.open = Some(StreamedBlock::ToolUse { call, arguments: held.arguments });
        self.fragment(fragment.as_str(), blocks);
    }

    /// Whether a block that begins now must wait for the end of the open one.
    fn holds(&self) -> bool {
        !self.held.is_empty() || self.open.as_ref().is_some_and(|open| !open.is_complete())
    }

    fn hold_text(&mut self, entry: &Entry, held: fn(TextSpan) -> HeldBlock) {
        let Some(text) = TextSpan::of(entry) else { return };
        match self.held.back_mut() {
            Some(HeldBlock::Text(span) | HeldBlock::Thinking(span)) if span.kind == text.kind => span.join(text),
            _ => self.held.push_back(held(text)),
        }
    }

    /// Writes the held blocks up to a call whose arguments are incomplete, which is then the open one.
    fn release(&mut self, blocks: &mut MessageBlocks<'_>) {
        while let Some(held) = self.held.pop_front() {
            match held {
                HeldBlock::Text(span) => {
                    self.open(StreamedBlock::Text, blocks);
                    self.delta_of(r#"{"type":"text_delta","text":"#, span, blocks);
                }
                HeldBlock::Thinking(span) => {
                    self.open(StreamedBlock::Thinking, blocks);
                    self.delta_of(r#"{"type":"thinking_delta","thinking":"#, span, blocks);
                }
                HeldBlock::Provider(block) => self.provider_block(&block, blocks),
                HeldBlock::ToolUse(call) => {
                    self.close(blocks);
                    self.begin_call(&call, blocks);
                    if let Some(span) = call.span {
                        self.delta_of(r#"{"type":"input_json_delta","partial_json":"#, span, blocks);
                    }
                    let open = StreamedBlock::ToolUse { call: call.call, arguments: call.arguments };
                    let is_complete = open.is_complete();
                    self.open = Some(open);
                    if !is_complete {
                        return;
                    }
                }
            }
        }
    }

    /// Begins a block of text or thinking, unless it is open.
    fn open(&mut self, block: StreamedBlock, blocks: &mut MessageBlocks<'_>) {
        if matches!(
            (&self.open, &block),
            (Some(StreamedBlock::Text), StreamedBlock::Text) | (Some(StreamedBlock::Thinking), StreamedBlock::Thinking)
        ) {
            return;
        }
        self.close(blocks);
        let content = match block {
            StreamedBlock::Thinking => r#"{"type":"thinking","thinking":"","signature":""}"#,
            StreamedBlock::Text | StreamedBlock::ToolUse { .. } => r#"{"type":"text","text":"","citations":null}"#,
        };
        self.begin(content, blocks);
        self.open = Some(block);
    }

    fn begin(&mut self, content_json: &str, blocks: &mut MessageBlocks<'_>) {
        let mut block = blocks.indexed("content_block_start", self.next);
        block.data().raw(",\"content_block\":").raw(content_json).raw("}");
    }

    fn begin_call(&mut self, call: &HeldCall, blocks: &mut MessageBlocks<'_>) {
        let mut block = blocks.indexed("content_block_start", self.next);
        let [id, name] = [&call.id, &call.name].map(|text| text.as_ref().map_or("", Escaped::as_str));
        block.data().raw(r#","content_block":{"type":"tool_use","id":""#).raw(id);
        block.data().raw(r#"","name":""#).raw(name);
        block.data().raw(r#"","input":{},"caller":{"type":"direct"}}}"#);
    }

    fn close(&mut self, blocks: &mut MessageBlocks<'_>) {
        if self.open.take().is_some() {
            blocks.indexed("content_block_stop", self.next).data().raw("}");
            self.next += 1;
        }
    }

    /// Writes a delta with a text of this entry; `json` is the delta up to its content.
    fn delta(&self, json: &str, text: &str, blocks: &mut MessageBlocks<'_>) {
        let mut block = blocks.indexed("content_block_delta", self.next);
        block.data().raw(",\"delta\":").raw(json).raw(text).raw("\"}}");
    }

    /// Writes a delta with a text of earlier entries.
    fn delta_of(&self, json: &str, span: TextSpan, blocks: &mut MessageBlocks<'_>) {
        let mut block = blocks.indexed("content_block_delta", self.next);
        block.data().raw(",\"delta\":").raw(json);
        block.logged_string(span);
        block.data().raw("}}");
    }

    fn fragment(&self, text: &str, blocks: &mut MessageBlocks<'_>) {
        if !text.is_empty() {
            self.delta(r#"{"type":"input_json_delta","partial_json":""#, text, blocks);
        }
    }

    fn provider_block(&mut self, block: &ProviderBlock, blocks: &mut MessageBlocks<'_>) {
        match block {
            ProviderBlock::Signature(signature_json) => {
                // Signed thinking may be empty.
                self.open(StreamedBlock::Thinking, blocks);
                let mut block = blocks.indexed("content_block_delta", self.next);
                block.data().raw(r#","delta":{"type":"signature_delta","signature":"#).raw(signature_json).raw("}}");
                self.close(blocks);
            }
            ProviderBlock::Citation(citation_json) => {
                if matches!(self.open, Some(StreamedBlock::Text)) {
                    let mut block = blocks.indexed("content_block_delta", self.next);
                    block.data().raw(r#","delta":{"type":"citations_delta","citation":"#).raw(citation_json).raw("}}");
                }
            }
            ProviderBlock::Whole(block_json) => {
                self.close(blocks);
                self.begin(block_json, blocks);
                blocks.indexed("content_block_stop", self.next).data().raw("}");
                self.next += 1;
            }
        }
    }

    fn done(&mut self, done: &Done, blocks: &mut MessageBlocks<'_>) {
        let mut is_cut = self.open.as_ref().is_some_and(StreamedBlock::is_cut);
        self.close(blocks);
        while !self.held.is_empty() {
            self.release(blocks);
            is_cut |= self.open.as_ref().is_some_and(StreamedBlock::is_cut);
            self.close(blocks);
        }
        // SDKs fail at arguments that are no JSON without telling why.
        if is_cut && self.stop.reason(done) == "tool_use" {
            return blocks.error(&MessagesError::invalid_arguments());
        }
        let (delta, usage) = (self.stop.members(done), usage_json(&done.usage));
        blocks.json("message_delta", &json!({"type": "message_delta", "delta": delta, "usage": usage}));
        blocks.json("message_stop", &json!({"type": "message_stop"}));
    }
}

impl Encoder for MessagesEncoder {
    fn entry(&mut self, entry: &Entry, frames: &mut Frames) {
        let id = EventId { generation: self.start.generation, position: entry.position() };
        if self.is_last(&entry.event) && self.ids == BlockIds::Present {
            frames.set_retry(Retry::DORMANT);
        }
        let mut blocks = MessageBlocks::new(frames);
        match &entry.event {
            Event::Start(_) => self.begin_message(&mut blocks),
            Event::Chunk(chunk) => {
                self.begin_message(&mut blocks);
                self.chunk(chunk, entry, &mut blocks);
            }
            // What the client has is not the answer. A viewer that follows after this gets a message of its own.
            Event::Restart(_) => {
                blocks.error(&MessagesError::restarted());
                *self = Self::new(Arc::clone(&self.start), self.ids);
            }
            Event::Done(done) => {
                self.begin_message(&mut blocks);
                self.done(done, &mut blocks);
            }
            Event::Cancelled(_) => blocks.error(&MessagesError::cancelled()),
            Event::Failed(failed) => blocks.error(&MessagesError::from(&failed.failure)),
        }
        blocks.end((self.ids == BlockIds::Present).then_some(id));
    }

    fn is_last(&self, event: &Event) -> bool {
        event.is_terminal() || matches!(event, Event::Restart(_))
    }

    fn needs_history(&self, next: &Entry) -> bool {
        !matches!(next.event, Event::Start(_))
    }

    fn skip(&mut self, entry: &Entry) {
        self.entry(entry, &mut Frames::default());
    }

    fn notice(&mut self, notice: Notice, frames: &mut Frames) {
        match (notice, self.ids) {
            (Notice::Reconnect(retry), BlockIds::Present) => frames.retry_line(retry),
            (Notice::Reconnect(_), BlockIds::Absent) | (Notice::Queued(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ready_writes::ready_writes;
    use crate::api::viewer_source::ViewerSource;
    use crate::domain::{
        CancelReason, Cancelled, Finish, Principal, Sequence, Shape, Timestamp, Timings, TokenSource, Trailer,
        UsageRequest,
    };
    use crate::generation::fixture::FixtureLog;

    fn start() -> Arc<Start> {
        Arc::new(Start {
            generation: "gen_AAAAAAAAAAAAAAAAAAAAAA".parse().expect("an id"),
            owner: Principal::Anonymous,
            model: "m".into(),
            created_at: Timestamp::from_millis(1_795_245_962_001),
            prompt: None,
            metadata: [].into(),
            usage: UsageRequest::NotAsked,
            notes: None,
            chat: None,
        })
    }

    fn done(reason: &str) -> Event {
        let usage = Usage {
            input_tokens: 30,
            cache_read_tokens: Some(20),
            cache_write_tokens: Some(4),
            output_tokens: Some(7),
            source: TokenSource::Provider,
            ..Usage::default()
        };
        let finish = Box::new([Finish::stated(0, reason)]);
        Event::Done(Arc::new(Done { finish, trailer: Trailer::default(), usage, timings: Timings::default() }))
    }

    /// Returns the events of an answer with these parts and this end, in short: the data without the type.
    fn events(parts: Vec<(Part, &str)>, end: Event) -> Vec<(String, Value)> {
        let chunks = parts
            .into_iter()
            .map(|(part, text)| Event::Chunk(Chunk::new(Arc::new(Shape::new(None, part)), Escaped::from_text(text))));
        let start = start();
        let all = std::iter::once(Event::Start(Arc::clone(&start))).chain(chunks).chain([end]);
        let entries: Vec<_> = (1..).map(Sequence::new).zip(all).map(|(at, event)| Entry::new(at, event)).collect();
        let log = FixtureLog::new(entries.clone(), 3);
        log.show(entries.len());
        let encoder = MessagesEncoder::new(start, BlockIds::Absent);
        let mut source = ViewerSource::new(log.viewer(Sequence::START), encoder);
        let stream = ready_writes(&mut source).expect("the log is kept").concat();
        let stream = String::from_utf8(stream).expect("UTF-8");
        let blocks = stream.split_terminator("\n\n").filter(|block| !block.starts_with(':'));
        let event = |block: &str| {
            let (name, data) = block.split_once('\n').expect("two lines");
            let mut data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect(block);
            let name = name.strip_prefix("event: ").expect("a name").to_owned();
            assert_eq!(data.as_object_mut().expect("an object").remove("type"), Some(name.clone().into()));
            (name, data)
        };
        blocks.map(event).collect()
    }

    const TEXT: Part = Part::Text { choice: 0, logprobs_json: None };
    const THINKING: Part = Part::Reasoning { choice: 0 };

    fn call(index: u32, id: Option<&str>) -> Part {
        Part::ToolCall {
            choice: 0,
            index,
            id: id.map(Escaped::from_text),
            name: id.map(|_| Escaped::from_text("weather")),
        }
    }

    /// Returns the content of the blocks of a stream, which must begin and end one after another.
    fn content(events: &[(String, Value)]) -> Vec<Value> {
        let (mut content, mut open) = (Vec::new(), None);
        for (name, data) in events {
            match name.as_str() {
                "content_block_start" => {
                    assert_eq!((&open, &data["index"]), (&None, &json!(content.len())));
                    open = Some(data["content_block"].clone());
                }
                "content_block_delta" => {
                    let block = open.as_mut().expect("an open block");
                    assert_eq!(data["index"], content.len());
                    for member in ["text", "thinking", "partial_json", "signature"] {
                        if let Some(text) = data["delta"][member].as_str() {
                            let known = block[member].as_str().unwrap_or_default().to_owned();
                            block[member] = (known + text).into();
                        }
                    }
                }
                "content_block_stop" => content.push(open.take().expect("an open block")),
                _ => assert_eq!(open, None, "{name}"),
            }
        }
        content
    }

    fn tool_use(id: &str, arguments: &str) -> Value {
        json!({"type": "tool_use", "id": id, "name": "weather", "input": {}, "caller": {"type": "direct"}, "partial_json": arguments})
    }

    fn text(text: &str) -> Value {
        json!({"type": "text", "text": text, "citations": null})
    }

    #[test]
    fn stream_of_a_text_has_the_events_of_anthropics_api() {
        let events = events(vec![(TEXT, "Hel"), (TEXT, "lo\n")], done("stop"));
        let names: Vec<_> = events.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(names, expected);
        let message = &events[0].1["message"];
        assert_eq!((&message["id"], &message["content"]), (&json!("msg_AAAAAAAAAAAAAAAAAAAAAA"), &json!([])));
        assert_eq!(content(&events), [text("Hello\n")]);
        let delta = &events[5].1;
        assert_eq!(delta["delta"]["stop_reason"], "end_turn");
        // Without the tokens that were read from a cache or written to it.
        assert_eq!(
            (&delta["usage"]["input_tokens"], &delta["usage"]["cache_read_input_tokens"]),
            (&json!(6), &json!(20))
        );
    }

    #[test]
    fn thinking_has_its_signature_and_precedes_the_text() {
        let signed = r#"{"thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"sig"}]}"#;
        let redacted = r#"{"thinking_blocks":[{"type":"redacted_thinking","data":"d"}]}"#;
        let other = |json: &str| (Part::Other { choice: 0, delta_json: json.into() }, "");
        let events = events(vec![(THINKING, "hm"), other(signed), other(redacted), (TEXT, "a")], done("stop"));
        let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "sig"});
        assert_eq!(content(&events), [thinking, json!({"type": "redacted_thinking", "data": "d"}), text("a")]);
    }

    #[test]
    fn fragments_of_calls_that_take_turns_are_put_in_blocks_one_after_another() {
        let parts = vec![
            (TEXT, "a"),
            (call(0, Some("t0")), ""),
            (call(1, Some("t1")), "{\"x\""),
            (call(0, None), "{\"y\":"),
            (TEXT, "late"),
            (call(1, None), ":1"),
            (call(0, None), "2}"),
            (call(1, None), "}"),
            (call(2, Some("t2")), "{}"),
        ];
        let events = events(parts, done("tool_calls"));
        let expected =
            [text("a"), tool_use("t0", "{\"y\":2}"), tool_use("t1", "{\"x\":1}"), text("late"), tool_use("t2", "{}")];
        assert_eq!(content(&events), expected);
        assert_eq!(events[events.len() - 2].1["delta"]["stop_reason"], "tool_use");
    }

    #[test]
    fn call_after_a_complete_one_is_streamed_and_one_without_arguments_is_a_block() {
        let parts = vec![(call(0, Some("t0")), "{}"), (call(1, Some("t1")), "{\"a\":"), (call(1, None), "1}")];
        let events = events(parts, done("tool_calls"));
        let deltas = events.iter().filter(|(name, _)| name == "content_block_delta").count();
        assert_eq!((content(&events), deltas), (vec![tool_use("t0", "{}"), tool_use("t1", "{\"a\":1}")], 3));
        let mut no_arguments = tool_use("t0", "");
        no_arguments.as_object_mut().expect("an object").remove("partial_json");
        let events = self::events(vec![(call(0, Some("t0")), "")], done("tool_calls"));
        assert_eq!((content(&events), &*events[events.len() - 1].0), (vec![no_arguments], "message_stop"));
    }

    #[test]
    fn call_is_held_back_until_it_has_a_name() {
        let (id, name) = (Some(Escaped::from_text("t0")), Some(Escaped::default()));
        let unnamed = Part::ToolCall { choice: 0, index: 0, id, name };
        let named = Part::ToolCall { choice: 0, index: 0, id: None, name: Some(Escaped::from_text("weather")) };
        let events = events(vec![(unnamed, ""), (named, "{"), (call(0, None), "}"), (TEXT, "a")], done("tool_calls"));
        assert_eq!(content(&events), [tool_use("t0", "{}"), text("a")]);
    }

    #[test]
    fn end_has_its_stop_reason_or_an_error() {
        let refusal = (Part::Refusal { choice: 0 }, "no");
        for (part, end, expected) in [
            ((TEXT, "a"), done("length"), "max_tokens"),
            ((TEXT, "a"), done("content_filter"), "refusal"),
            (refusal, done("stop"), "refusal"),
            ((TEXT, "a"), done("later"), "end_turn"),
            ((call(0, Some("t0")), "{\"a"), done("length"), "max_tokens"),
        ] {
            let events = events(vec![part], end);
            assert_eq!(events[events.len() - 2].1["delta"]["stop_reason"], expected);
        }
        let usage = Usage::default();
        let cancelled = Cancelled { reason: CancelReason::ClientRequest, usage, timings: Timings::default() };
        for (part, end, code) in [
            ((TEXT, "a"), Event::Cancelled(Arc::new(cancelled)), "cancelled"),
            ((call(0, Some("t0")), "{\"a"), done("tool_calls"), "upstream_malformed"),
        ] {
            let events = events(vec![part], end);
            let (name, data) = events.last().expect("an end");
            assert_eq!((name.as_str(), &data["error"]["details"]["error_code"]), ("error", &json!(code)));
        }
    }
}
