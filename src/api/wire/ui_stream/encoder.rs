//! The AI SDK's UI message stream.

use std::sync::Arc;

use serde_json::{Value, json};

use super::provider_parts::provider_parts;
use super::tool_call::StreamedCall;
use super::ui_notes::message_id;
use crate::api::durations::millis;
use crate::api::wire::encoder::{BlockIds, Encoder, Notice};
use crate::api::wire::entry_frames::EntryFrames;
use crate::api::wire::frames::{Frames, SseBlock};
use crate::api::wire::retry::Retry;
use crate::domain::{CancelReason, Chunk, Done, Entry, Event, EventId, Failure, Part, Sequence, Start};

/// Encodes the first choice of an answer.
///
/// Parts of text end before another kind of part begins. A page's tool runs when its call is available, so that is said
/// only once the answer is complete. What is kept of a call is its span in the log.
#[derive(Debug)]
pub struct UiEncoder {
    start: Arc<Start>,
    ids: BlockIds,
    /// The parts that the message held before: only in a replay for a page that rebuilds the message.
    held: Vec<Value>,
    open: Option<OpenText>,
    calls: Vec<StreamedCall>,
}

/// A part of text that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OpenText {
    kind: TextPart,
    /// Its first entry, which is its id.
    first: Sequence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextPart {
    Text,
    Reasoning,
}

impl TextPart {
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Reasoning => "reasoning",
        }
    }
}

impl UiEncoder {
    pub const fn new(start: Arc<Start>, ids: BlockIds) -> Self {
        Self { start, ids, held: Vec::new(), open: None, calls: Vec::new() }
    }

    /// Returns the encoder of a replay, which begins with the parts that the message held before.
    pub fn after_parts(start: Arc<Start>, held: Vec<Value>) -> Self {
        Self { held, ..Self::new(start, BlockIds::Absent) }
    }

    fn begin(&mut self, blocks: &mut EntryFrames<'_>) {
        json_block(blocks, &json!({"type": "start", "messageId": message_id(&self.start)}));
        // Not kept: they can be as large as a request.
        for part in std::mem::take(&mut self.held) {
            json_block(blocks, &part);
        }
        json_block(blocks, &json!({"type": "start-step"}));
    }

    fn chunk(&mut self, chunk: &Chunk, entry: &Entry, blocks: &mut EntryFrames<'_>) {
        if chunk.part().choice() != Some(0) {
            return;
        }
        match chunk.part() {
            Part::Text { .. } | Part::Refusal { .. } => self.text(TextPart::Text, chunk, entry, blocks),
            Part::Reasoning { .. } => self.text(TextPart::Reasoning, chunk, entry, blocks),
            Part::ToolCall { index, id, name, .. } => {
                self.close(blocks);
                let known = self.calls.iter().position(|call| call.index == *index);
                let at = known.unwrap_or(self.calls.len());
                if known.is_none() {
                    self.calls.push(StreamedCall::new(*index));
                }
                if let Some(call) = self.calls.get_mut(at) {
                    call.push((id.as_ref(), name.as_ref()), chunk.text(), entry, blocks);
                }
            }
            Part::Other { delta_json, .. } => {
                for part in provider_parts(delta_json, entry.sequence) {
                    json_block(blocks, &part);
                }
            }
            Part::Silent => {}
        }
    }

    fn text(&mut self, kind: TextPart, chunk: &Chunk, entry: &Entry, blocks: &mut EntryFrames<'_>) {
        let text = chunk.text().as_str();
        let open = match self.open {
            Some(open) if open.kind == kind => open,
            _ if text.is_empty() => return,
            _ => {
                self.close(blocks);
                let open = OpenText { kind, first: entry.sequence };
                open.block("start", blocks).data().raw("}");
                self.open = Some(open);
                open
            }
        };
        open.block("delta", blocks).data().raw(",\"delta\":\"").raw(text).raw("\"}");
    }

    fn close(&mut self, blocks: &mut EntryFrames<'_>) {
        if let Some(open) = self.open.take() {
            open.block("end", blocks).data().raw("}");
        }
    }

    fn done(&mut self, done: &Done, blocks: &mut EntryFrames<'_>) {
        for call in &mut self.calls {
            call.finish(blocks);
        }
        json_block(blocks, &json!({"type": "finish-step"}));
        json_block(blocks, &json!({"type": "finish", "finishReason": finish_reason(done)}));
    }
}

impl OpenText {
    /// Begins a block about this part; its object is not closed.
    fn block<'a>(self, event: &str, blocks: &'a mut EntryFrames<'_>) -> SseBlock<'a> {
        let kind = self.kind.name();
        let mut block = blocks.unnamed();
        block.data().raw("{\"type\":\"").raw(kind).raw("-").raw(event).raw("\",\"id\":\"");
        block.data().raw(kind.get(..1).unwrap_or_default()).number(self.first.get()).raw("\"");
        block
    }
}

/// Writes a chunk of the stream.
pub fn json_block(blocks: &mut EntryFrames<'_>, chunk: &Value) {
    blocks.unnamed().data().json(chunk);
}

/// Returns one of the words that the AI SDK accepts.
pub fn finish_reason(done: &Done) -> &'static str {
    match done.finish_of(0).map_or("stop", |finish| &*finish.reason) {
        "stop" | "end_turn" => "stop",
        "length" => "length",
        "tool_calls" | "function_call" => "tool-calls",
        "content_filter" => "content-filter",
        _ => "other",
    }
}

/// Returns the sentence that a page shows.
fn sentence(failure: &Failure) -> &str {
    let words = failure.upstream.as_deref().and_then(|words| words.message.as_deref());
    words.unwrap_or(&failure.detail)
}

impl Encoder for UiEncoder {
    fn entry(&mut self, entry: &Entry, frames: &mut Frames) {
        let id = EventId { generation: self.start.generation, position: entry.position() };
        if entry.event.is_terminal() && self.ids == BlockIds::Present {
            frames.set_retry(Retry::DORMANT);
        }
        let mut blocks = EntryFrames::new(frames);
        if entry.event.is_terminal() {
            self.close(&mut blocks);
        }
        match &entry.event {
            Event::Start(_) => self.begin(&mut blocks),
            Event::Chunk(chunk) => self.chunk(chunk, entry, &mut blocks),
            // The client drops the parts of the step.
            Event::Restart(_) => {
                (self.open, self.calls) = (None, Vec::new());
                json_block(&mut blocks, &json!({"type": "reset-step"}));
            }
            Event::Done(done) => self.done(done, &mut blocks),
            Event::Cancelled(cancelled) => {
                let reason = match cancelled.reason {
                    CancelReason::ClientRequest => "stopped",
                    CancelReason::Abandoned => "abandoned",
                };
                json_block(&mut blocks, &json!({"type": "abort", "reason": reason}));
            }
            Event::Failed(failed) => {
                json_block(&mut blocks, &json!({"type": "error", "errorText": sentence(&failed.failure)}));
            }
        }
        if entry.event.is_terminal() {
            blocks.unnamed().data().raw("[DONE]");
        }
        blocks.end((self.ids == BlockIds::Present).then_some(id));
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
            (Notice::Reconnect(_), BlockIds::Absent) => {}
            // Transient: `onData` receives it, and the message does not hold it.
            (Notice::Queued(ahead), _) => {
                let data = json!({"position": ahead.position, "eta_ms": ahead.eta.map(millis)});
                let mut block = frames.unnamed();
                block.data().json(&json!({"type": "data-queue", "data": data, "transient": true}));
                block.end_with_data();
            }
        }
    }
}
