//! OpenAI's event streams: chat completion chunks.

use std::sync::Arc;

use serde::Serialize;

use super::super::encoder::{Encoder, Notice};
use super::super::frames::Frames;
use super::super::retry::Retry;
use super::error_body::OpenAiError;
use super::usage::usage_json;
use crate::domain::{Chunk, Entry, Event, EventId, Start, UsageRequest, wire_safe};

/// Encodes chunks as `data:` lines; the last is `[DONE]`.
///
/// The log holds normalized chunks, so a frame is a copy. One entry may be several blocks: chunks without content
/// before the chunk with content, and the finish reasons and the usage before `[DONE]`. Then the last block has the id.
#[derive(Debug)]
pub struct ChatEncoder {
    start: Arc<Start>,
    ids: BlockIds,
}

/// Whether blocks have ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockIds {
    /// `POST /v1/chat/completions`: an id would make openai-python fail at any later empty block.
    Absent,
    /// `GET /v1/generations/{id}/events?format=openai`: a stream that can be resumed.
    Present,
}

impl ChatEncoder {
    pub const fn new(start: Arc<Start>, ids: BlockIds) -> Self {
        Self { start, ids }
    }
}

impl Encoder for ChatEncoder {
    fn entry(&mut self, entry: &Entry, frames: &mut Frames) {
        let id = EventId { generation: self.start.generation, sequence: entry.sequence };
        let mut blocks = EntryBlocks { frames, id, ids: self.ids };
        match &entry.event {
            Event::Start(_) => {}
            Event::Chunk(chunk) => blocks.chunk(chunk),
            Event::Done(done) => {
                for line in done.trailer.chunks_json.lines() {
                    blocks.inner(&[line]);
                }
                if self.start.usage == UsageRequest::Asked {
                    blocks.inner(&["{", &done.trailer.head_json, ",\"choices\":[],\"usage\":", &usage_json(done), "}"]);
                }
                blocks.end(&["[DONE]"]);
            }
            // No `[DONE]` follows, because the answer is incomplete.
            Event::Cancelled(_) => blocks.end(&[&one_line(&OpenAiError::cancelled())]),
            Event::Failed(failed) => blocks.end(&[&one_line(&OpenAiError::from(&failed.failure))]),
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
    /// Writes a chunk, or nothing if another entry holds its JSON.
    fn chunk(&mut self, chunk: &Chunk) {
        let Some([silent, before, text, after]) = chunk.json() else { return };
        for line in silent.lines() {
            self.inner(&[line]);
        }
        self.block(&[before, text, after], Some(self.id));
    }

    /// Writes a block that is not the last one of its entry.
    fn inner(&mut self, data: &[&str]) {
        self.block(data, None);
    }

    /// Writes the last block of the stream.
    fn end(&mut self, data: &[&str]) {
        self.frames.set_retry(Retry::DORMANT);
        self.block(data, Some(self.id));
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
