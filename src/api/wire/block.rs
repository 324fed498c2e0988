//! One block of an event stream (WHATWG HTML, section 9.2.6).

use std::fmt::{Display, Write};

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::Retry;
use crate::domain::{GenerationId, wire_safe};

/// A block under construction: `event`, `data`, `retry`, and `id` last.
///
/// The order matters. fetch-event-source takes an id over when it reads the line, not when the event
/// is dispatched: an id before its data would lose that event if the connection is cut in between.
pub struct Block<'a> {
    out: &'a mut BytesMut,
}

impl<'a> Block<'a> {
    /// `name` is never `error`, `open` or `message`: a browser's `EventSource` mixes them up with its own.
    pub fn new(out: &'a mut BytesMut, name: &str) -> Self {
        out.put_slice(b"event: ");
        out.put_slice(name.as_bytes());
        out.put_slice(b"\ndata: ");
        Self { out }
    }

    /// A block without a name, for the wires of SDKs.
    pub fn unnamed(out: &'a mut BytesMut) -> Self {
        out.put_slice(b"data: ");
        Self { out }
    }

    /// A block whose name and data were written before.
    pub fn started(out: &'a mut BytesMut) -> Self {
        Self { out }
    }

    /// Data that is already fit for one line.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.out.put_slice(json.as_bytes());
        self
    }

    pub fn number(&mut self, number: u32) -> &mut Self {
        self.raw(itoa::Buffer::new().format(number))
    }

    pub fn json(&mut self, value: &impl Serialize) -> &mut Self {
        // Our own values: a failure to write them is impossible, and an empty line would be harmless.
        let json = serde_json::to_vec(value).unwrap_or_default();
        self.out.put_slice(&wire_safe(&json));
        self
    }

    /// Begins an object, which the caller closes. `speaker` is the generation that says it, where the stream is not
    /// that generation's own.
    pub fn open(&mut self, speaker: Option<GenerationId>) -> &mut Self {
        self.raw("{");
        if let Some(generation) = speaker {
            self.raw("\"generation\":\"").text(generation).raw("\",");
        }
        self
    }

    /// An object that has members, with the speaker before them.
    pub fn object(&mut self, speaker: Option<GenerationId>, value: &impl Serialize) -> &mut Self {
        self.open(speaker);
        let json = serde_json::to_vec(value).unwrap_or_default();
        self.out.put_slice(&wire_safe(json.get(1..).unwrap_or_default()));
        self
    }

    fn text(&mut self, value: impl Display) -> &mut Self {
        // Memory takes whatever is written.
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
