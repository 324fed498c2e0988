//! OpenAI's wire format: chat completion chunks, and the whole completion that they are merged into.

mod completion;
mod merge;
mod usage;

use bytes::BytesMut;
use serde::Serialize;

use super::super::openai_error::OpenAiError;
use super::format::WireFormat;
use super::retry::Retry;
use super::sse_block::SseBlock;
use crate::domain::{Chunk, Entry, Event, EventId, GenerationId, UsageRequest};

pub use completion::Completion;
pub use usage::usage_json;

/// Chunks as `data:` lines; the last is `[DONE]`.
///
/// The log holds normalized chunks, so a frame is a copy. One entry may be several blocks: chunks without content
/// before the chunk with content, and the finish reasons and the usage before `[DONE]`. Then the last block has the id.
#[derive(Debug, Clone, Copy)]
pub struct OpenAiChat {
    /// Whether the generation's request asked for the usage chunk.
    pub usage: UsageRequest,
    pub ids: Ids,
}

/// Whether blocks have ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// `POST /v1/chat/completions`: an id would make openai-python fail at any later empty block.
    Absent,
    /// `GET /v1/generations/{id}/events?format=openai`: a stream that can be resumed.
    Present,
}

impl WireFormat for OpenAiChat {
    fn encode_retry(&self, retry: Retry, out: &mut BytesMut) {
        if self.ids == Ids::Present {
            retry.write_alone(out);
        }
    }

    fn encode(&self, generation: GenerationId, entry: &Entry, retry: &mut Option<Retry>, out: &mut BytesMut) {
        let mut blocks = Blocks {
            out,
            retry: retry.take().filter(|_| self.ids == Ids::Present),
            id: (self.ids == Ids::Present).then_some(EventId { generation, sequence: entry.sequence }),
        };
        match &entry.event {
            Event::Start(_) => *retry = blocks.retry,
            Event::Chunk(chunk) => {
                if !blocks.chunk(chunk) {
                    *retry = blocks.retry;
                }
            }
            Event::Done(done) => {
                for line in done.trailer.chunks_json.lines() {
                    blocks.inner(&[line]);
                }
                if self.usage == UsageRequest::Asked {
                    blocks.inner(&["{", &done.trailer.head_json, ",\"choices\":[],\"usage\":", &usage_json(done), "}"]);
                }
                blocks.last(&["[DONE]"], Retry::DORMANT);
            }
            Event::Cancelled(_) => blocks.error(&OpenAiError::cancelled()),
            Event::Failed(failed) => blocks.error(&OpenAiError::from(&failed.failure)),
        }
    }
}

/// The blocks of one entry.
struct Blocks<'a> {
    out: &'a mut BytesMut,
    retry: Option<Retry>,
    id: Option<EventId>,
}

impl Blocks<'_> {
    /// Writes a chunk. Returns `false` if another entry holds its JSON.
    fn chunk(&mut self, chunk: &Chunk) -> bool {
        let Some([silent, before, text, after]) = chunk.json() else { return false };
        for line in silent.lines() {
            self.inner(&[line]);
        }
        let (retry, id) = (self.retry.take(), self.id);
        self.block(&[before, text, after], retry, id);
        true
    }

    fn inner(&mut self, data: &[&str]) {
        let retry = self.retry.take();
        self.block(data, retry, None);
    }

    fn last(&mut self, data: &[&str], retry: Retry) {
        let id = self.id;
        self.block(data, id.map(|_| retry), id);
    }

    /// Writes an error. No `[DONE]` follows, because the answer is incomplete.
    fn error(&mut self, error: &OpenAiError) {
        let json = one_line(error);
        self.last(&[&json], Retry::DORMANT);
    }

    fn block(&mut self, data: &[&str], retry: Option<Retry>, id: Option<EventId>) {
        let mut block = SseBlock::unnamed(self.out);
        for part in data {
            block.raw(part);
        }
        block.end(retry, id);
    }
}

fn one_line(value: &impl Serialize) -> String {
    let json = serde_json::to_vec(value).unwrap_or_default();
    String::from_utf8(crate::domain::wire_safe(&json).into_owned()).unwrap_or_default()
}
