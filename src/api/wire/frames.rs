//! The blocks of an event stream (WHATWG HTML, section 9.2.6).

use std::collections::VecDeque;
use std::fmt::{Display, Write};

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;

use super::output_piece::{LoggedText, OutputPiece, TextForm};
use super::retry::Retry;
use crate::domain::{GenerationId, wire_safe};
use crate::generation::TextSpan;
use crate::json::WholeJson;

/// The bytes of an event stream that are not sent yet, and the reconnection delay for the next block.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: BytesMut,
    /// The positions in `bytes` at which texts of the log are to be inserted, in order. Most wires have none.
    logged: Vec<(usize, LoggedText)>,
    /// The next block that ends with [`SseBlock::end`] takes it.
    retry: Option<Retry>,
}

impl Frames {
    /// Starts a block. `name` must not be `error`, `open` or `message`, under which a browser's `EventSource` dispatches
    /// events of its own, unless the dialect has that event.
    pub fn event(&mut self, name: &str) -> SseBlock<'_> {
        self.bytes.put_slice(b"event: ");
        self.bytes.put_slice(name.as_bytes());
        self.bytes.put_slice(b"\ndata: ");
        self.unfinished()
    }

    /// Starts a block without a name, for the wires of SDKs.
    pub fn unnamed(&mut self) -> SseBlock<'_> {
        self.bytes.put_slice(b"data: ");
        self.unfinished()
    }

    /// Continues a block that was started and not ended.
    pub const fn unfinished(&mut self) -> SseBlock<'_> {
        SseBlock { frames: self }
    }

    /// Sets the reconnection delay for the next block.
    pub const fn set_retry(&mut self, retry: Retry) {
        self.retry = Some(retry);
    }

    /// Appends a `retry` line between blocks. After it, a blank line would reach fetch-event-source as an empty
    /// message.
    pub fn retry_line(&mut self, retry: Retry) {
        self.bytes.put_slice(b"retry: ");
        self.bytes.put_slice(itoa::Buffer::new().format(retry.millis()).as_bytes());
        self.bytes.put_slice(b"\n");
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Splits off all bytes from the first text of the log on, as pieces; `None` if there is no such text. What remains
    /// can be sent.
    pub fn split_off_logged(&mut self) -> Option<VecDeque<OutputPiece>> {
        let mut at = self.logged.first()?.0;
        let mut rest = self.bytes.split_off(at).freeze();
        let mut pieces = VecDeque::with_capacity(2 * self.logged.len());
        for (place, text) in std::mem::take(&mut self.logged) {
            if place > at {
                pieces.push_back(OutputPiece::Written(rest.split_to(place - at)));
                at = place;
            }
            pieces.push_back(OutputPiece::Logged(text));
        }
        pieces.push_back(OutputPiece::Written(rest));
        Some(pieces)
    }

    /// Returns all bytes, as pieces.
    pub fn into_pieces(mut self) -> VecDeque<OutputPiece> {
        let rest = self.split_off_logged();
        let mut pieces = VecDeque::from([OutputPiece::Written(self.take())]);
        pieces.extend(rest.into_iter().flatten());
        pieces
    }

    /// Appends bytes that were split off.
    pub fn append(&mut self, bytes: &[u8]) {
        self.bytes.put_slice(bytes);
    }

    /// Returns the bytes and removes them. Texts of the log must have been split off.
    pub fn take(&mut self) -> Bytes {
        self.bytes.split().freeze()
    }
}

/// A block under construction. Its lines are `event`, `data`, `retry` and, last, `id`.
///
/// The order matters: fetch-event-source stores an id when it reads the line, not when the event is dispatched. If the
/// connection were cut between an id and the data after it, that event would be lost.
pub struct SseBlock<'a> {
    frames: &'a mut Frames,
}

impl SseBlock<'_> {
    /// Returns the writer of the data.
    pub const fn data(&mut self) -> JsonLine<'_> {
        JsonLine::new(&mut self.frames.bytes)
    }

    /// Appends a JSON string with a text of the log. Only in blocks of entries, which have the log beside them.
    pub fn logged_string(&mut self, span: TextSpan) {
        self.data().raw("\"");
        self.logged(LoggedText { span, form: TextForm::StringContent });
        self.data().raw("\"");
    }

    /// Appends a text of the log that is a JSON value itself. Only in blocks of entries.
    pub fn logged_value(&mut self, span: TextSpan, _: WholeJson) {
        self.logged(LoggedText { span, form: TextForm::Value });
    }

    fn logged(&mut self, text: LoggedText) {
        self.frames.logged.push((self.frames.bytes.len(), text));
    }

    /// Ends the block with the reconnection delay, if one is set, and its id, if it has one.
    pub fn end(self, id: Option<impl Display>) {
        self.frames.bytes.put_slice(b"\n");
        if let Some(retry) = self.frames.retry.take() {
            self.frames.retry_line(retry);
        }
        if let Some(id) = id {
            // Writing to memory does not fail.
            _ = writeln!(self.frames.bytes, "id: {id}");
        }
        self.frames.bytes.put_slice(b"\n");
    }

    /// Ends a block that has only data: some SDKs fail at a block without data, or ignore the other lines.
    pub fn end_with_data(self) {
        self.frames.bytes.put_slice(b"\n\n");
    }
}

/// Writes JSON on one line.
pub struct JsonLine<'a> {
    out: &'a mut BytesMut,
}

impl<'a> JsonLine<'a> {
    pub const fn new(out: &'a mut BytesMut) -> Self {
        Self { out }
    }

    /// Appends JSON that is already on one line.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.out.put_slice(json.as_bytes());
        self
    }

    pub fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.raw(itoa::Buffer::new().format(number))
    }

    /// Appends what is written as itself in a JSON string, such as an id.
    pub fn display(&mut self, value: impl Display) -> &mut Self {
        // Writing to memory does not fail.
        _ = write!(self.out, "{value}");
        self
    }

    pub fn json(&mut self, value: &impl Serialize) -> &mut Self {
        // Cannot fail for these types. If it did, the empty data line would be harmless.
        let json = serde_json::to_vec(value).unwrap_or_default();
        self.out.put_slice(&wire_safe(&json));
        self
    }

    /// Opens an object, which the caller closes. `source` is the generation of the event, if the stream is not that
    /// generation's own.
    pub fn open(&mut self, source: Option<GenerationId>) -> &mut Self {
        self.raw("{");
        if let Some(generation) = source {
            // Writing to memory does not fail.
            _ = write!(self.out, "\"generation\":\"{generation}\",");
        }
        self
    }

    /// Appends a non-empty object, with `source` as its first member.
    pub fn object(&mut self, source: Option<GenerationId>, value: &impl Serialize) -> &mut Self {
        self.open(source);
        let json = serde_json::to_vec(value).unwrap_or_default();
        self.out.put_slice(&wire_safe(json.get(1..).unwrap_or_default()));
        self
    }
}
