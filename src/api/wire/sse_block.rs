//! One block of an event stream (WHATWG HTML, section 9.2.6).

use std::fmt::{Display, Write};

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::retry::Retry;
use crate::domain::{GenerationId, wire_safe};

/// A block under construction. Its lines are `event`, `data`, `retry` and, last, `id`.
///
/// The order matters: fetch-event-source stores an id when it reads the line, not when the event is dispatched. If the
/// connection were cut between an id and the data after it, that event would be lost.
pub struct SseBlock<'a> {
    out: &'a mut BytesMut,
}

impl<'a> SseBlock<'a> {
    /// `name` must not be `error`, `open` or `message`: a browser's `EventSource` dispatches events of its own under
    /// these names.
    pub fn new(out: &'a mut BytesMut, name: &str) -> Self {
        out.put_slice(b"event: ");
        out.put_slice(name.as_bytes());
        out.put_slice(b"\ndata: ");
        Self { out }
    }

    /// Starts a block without a name, for the wire formats of SDKs.
    pub fn unnamed(out: &'a mut BytesMut) -> Self {
        out.put_slice(b"data: ");
        Self { out }
    }

    /// Continues a block whose name and data have already been written.
    pub fn started(out: &'a mut BytesMut) -> Self {
        Self { out }
    }

    /// Appends JSON that is already on one line.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.out.put_slice(json.as_bytes());
        self
    }

    pub fn number(&mut self, number: u32) -> &mut Self {
        self.raw(itoa::Buffer::new().format(number))
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
            self.raw("\"generation\":\"").text(generation).raw("\",");
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

    fn text(&mut self, value: impl Display) -> &mut Self {
        // Writing to memory does not fail.
        _ = write!(self.out, "{value}");
        self
    }

    pub fn end(mut self, retry: Option<Retry>, id: Option<impl Display>) {
        if let Some(retry) = retry {
            self.out.put_slice(b"\nretry: ");
            self.out.put_slice(itoa::Buffer::new().format(retry.millis()).as_bytes());
        }
        if let Some(id) = id {
            self.raw("\nid: ").text(id);
        }
        self.out.put_slice(b"\n\n");
    }
}
