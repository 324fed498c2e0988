//! The stored form of entries: one batch for each append.
//!
//! A batch is a sequence of records: a byte that names the kind, the length of the body as a variable-length number
//! (LEB128), the body. The name of an entry's kind is an upper-case letter, that of a record without an entry a
//! lower-case one, so that a reader can count entries of a kind that a later version adds.
//!
//! | Kind | Body |
//! | --- | --- |
//! | `S`, `D`, `X`, `E` | start, done, cancelled, failed, as JSON |
//! | `C` | chunk: number of its shape, text |
//! | `R` | restart: number of the last entry that stays, the name of the reason |
//! | `f` | shape of later chunks: its number, JSON |

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::Serialize;

use crate::domain::{Chunk, Escaped, Event, Part, Raw, Restart, Sequence, Shape};

/// Encodes the batches of one log.
#[derive(Debug, Clone, Default)]
pub struct BatchEncoder {
    /// The latest shapes, with their numbers. A number is never used again.
    shapes: VecDeque<(u64, Arc<Shape>)>,
    next_shape: u64,
}

/// Decodes the batches of one log, from its first one on.
#[derive(Debug, Default)]
pub struct BatchDecoder {
    shapes: HashMap<u64, Arc<Shape>>,
}

/// A batch that no version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a batch of entries")]
pub struct InvalidBatch;

/// The shapes that an encoder compares a chunk with. Streams alternate between a few.
const LATEST_SHAPES: usize = 8;

impl BatchEncoder {
    pub fn encode<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) -> Vec<u8> {
        let mut batch = Vec::new();
        for event in events {
            match event {
                Event::Start(start) => put(&mut batch, b'S', &json(&**start)),
                Event::Done(done) => put(&mut batch, b'D', &json(&**done)),
                Event::Cancelled(cancelled) => put(&mut batch, b'X', &json(&**cancelled)),
                Event::Failed(failed) => put(&mut batch, b'E', &json(&**failed)),
                Event::Restart(restart) => {
                    let mut body = Vec::new();
                    put_number(&mut body, restart.from.get());
                    body.extend(json(&restart.reason));
                    put(&mut batch, b'R', &body);
                }
                Event::Chunk(chunk) => {
                    let mut body = Vec::with_capacity(chunk.text().as_str().len() + 2);
                    put_number(&mut body, self.shape(chunk.shape(), &mut batch));
                    body.extend_from_slice(chunk.text().as_str().as_bytes());
                    put(&mut batch, b'C', &body);
                }
            }
        }
        batch
    }

    /// Defines every shape again, for a log that has lost batches.
    pub fn forget_shapes(&mut self) {
        self.shapes.clear();
    }

    /// Returns the number of a shape, which is defined first if it is new.
    fn shape(&mut self, shape: &Arc<Shape>, batch: &mut Vec<u8>) -> u64 {
        if let Some((number, _)) = self.shapes.iter().find(|(_, known)| Arc::ptr_eq(known, shape)) {
            return *number;
        }
        let number = self.next_shape;
        self.next_shape += 1;
        if self.shapes.len() == LATEST_SHAPES {
            self.shapes.pop_front();
        }
        self.shapes.push_back((number, Arc::clone(shape)));
        let mut body = Vec::new();
        put_number(&mut body, number);
        body.extend(json(&**shape));
        put(batch, b'f', &body);
        number
    }
}

impl BatchDecoder {
    pub fn decode(&mut self, batch: &[u8]) -> Result<Vec<Event>, InvalidBatch> {
        let mut events = Vec::new();
        let mut rest = batch;
        while let Some((&kind, after)) = rest.split_first() {
            let (length, after) = number(after)?;
            let length = usize::try_from(length).map_err(|_| InvalidBatch)?;
            let (body, after) = after.split_at_checked(length).ok_or(InvalidBatch)?;
            rest = after;
            events.extend(self.record(kind, body)?);
        }
        Ok(events)
    }

    fn record(&mut self, kind: u8, body: &[u8]) -> Result<Option<Event>, InvalidBatch> {
        Ok(Some(match kind {
            b'S' => Event::Start(Arc::new(parse(body)?)),
            b'D' => Event::Done(Arc::new(parse(body)?)),
            b'X' => Event::Cancelled(Arc::new(parse(body)?)),
            b'E' => Event::Failed(Arc::new(parse(body)?)),
            b'R' => {
                let (from, reason) = number(body)?;
                Event::Restart(Restart { from: Sequence::new(from), reason: parse(reason)? })
            }
            b'C' => {
                let (shape, text) = number(body)?;
                let shape = self.shapes.get(&shape).ok_or(InvalidBatch)?;
                let text = std::str::from_utf8(text).map_err(|_| InvalidBatch)?;
                Event::Chunk(Chunk::new(Arc::clone(shape), Escaped::from_stored(text)))
            }
            b'f' => {
                let (number, shape) = number(body)?;
                self.shapes.insert(number, Arc::new(parse(shape)?));
                return Ok(None);
            }
            // An entry of a later version: it has a number, and no text that this version could show.
            b'A'..=b'Z' => {
                let silent = Shape { part: Part::Silent, raw: Raw::Absent };
                Event::Chunk(Chunk::new(Arc::new(silent), Escaped::default()))
            }
            _ => return Ok(None),
        }))
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Cannot fail for these types.
    serde_json::to_vec(value).unwrap_or_default()
}

fn parse<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, InvalidBatch> {
    serde_json::from_slice(json).map_err(|_| InvalidBatch)
}

fn put(batch: &mut Vec<u8>, kind: u8, body: &[u8]) {
    batch.push(kind);
    put_number(batch, body.len() as u64);
    batch.extend_from_slice(body);
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// Reads a number; returns the rest.
fn number(bytes: &[u8]) -> Result<(u64, &[u8]), InvalidBatch> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok((number, bytes.get(at + 1..).unwrap_or_default()));
        }
    }
    Err(InvalidBatch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        CancelReason, Cancelled, Done, Failed, Failure, FailureCode, Finish, Frame, Principal, ProviderDialect,
        RequestId, Start, Timestamp, Timings, Trailer, Usage, UsageRequest, Usd,
    };

    const ID: &str = "gen_AAAAAAAAAAAAAAAAAAAAAA";

    fn shape(before: &str) -> Arc<Shape> {
        let frame = Frame::new(ProviderDialect::OpenAiChat, before, "}");
        Arc::new(Shape::new(Some(frame), Part::Text { choice: 0, logprobs_json: None }))
    }

    fn events() -> Vec<Event> {
        let start = Start {
            generation: ID.parse().expect("an id"),
            owner: Principal::Key("web".into()),
            model: "m".into(),
            created_at: Timestamp::from_millis(7),
            prompt: Some("translate@0123456789ab".parse().expect("a reference")),
            metadata: [("a".to_owned(), "b".to_owned())].into(),
            usage: UsageRequest::Asked,
            notes: None,
            chat: None,
        };
        let (usage, timings) = (Usage { output_tokens: Some(2), ..Usage::default() }, Timings::default());
        let failure = Failure {
            code: FailureCode::ReplicaLost,
            detail: "lost".into(),
            remedy: None,
            retry_after: None,
            request_id: "req_AAAAAAAAAAAAAAAAAAAAAA".parse::<RequestId>().expect("an id"),
            upstream: None,
        };
        let shapes = [shape("{"), shape("[")];
        let chunk = |at: usize, text| Event::Chunk(Chunk::new(Arc::clone(&shapes[at]), Escaped::from_text(text)));
        let finish = [Finish::stated(0, "stop")].into();
        vec![
            Event::Start(Arc::new(start)),
            chunk(0, "Zürich \n"),
            chunk(1, ""),
            Event::Restart(Restart { from: Sequence::new(300), reason: FailureCode::UpstreamTimeout }),
            chunk(0, &"x".repeat(300)),
            Event::Done(Arc::new(Done { finish, trailer: Trailer::default(), usage, timings })),
            Event::Cancelled(Arc::new(Cancelled { reason: CancelReason::Abandoned, usage, timings })),
            Event::Failed(Arc::new(Failed { failure, usage: Some(usage), timings })),
        ]
    }

    #[test]
    fn cost_is_stored_and_an_entry_of_an_earlier_version_has_none() {
        let usage = Usage { output_tokens: Some(2), cost: Some(Usd::from_nanos(75)), ..Usage::default() };
        let cancelled = Cancelled { reason: CancelReason::Abandoned, usage, timings: Timings::default() };
        let event = Event::Cancelled(Arc::new(cancelled));
        let batch = BatchEncoder::default().encode([&event]);
        assert_eq!(BatchDecoder::default().decode(&batch), Ok(vec![event]));
        let mut earlier = Vec::new();
        let json =
            br#"{"reason":"Abandoned","usage":{"input_tokens":1,"output_tokens":2,"source":"Provider"},"timings":{}}"#;
        put(&mut earlier, b'X', json);
        let events = BatchDecoder::default().decode(&earlier).expect("a batch");
        let usage = events.first().and_then(Event::usage).expect("usage");
        assert_eq!((usage.input_tokens, usage.output_tokens, usage.cost), (1, Some(2), None));
    }

    #[test]
    fn entries_read_back_as_they_were_written_however_they_are_batched() {
        let events = events();
        for size in 1..=events.len() {
            let (mut encoder, mut decoder) = (BatchEncoder::default(), BatchDecoder::default());
            let read = events.chunks(size).flat_map(|batch| decoder.decode(&encoder.encode(batch)).expect("a batch"));
            assert_eq!(read.collect::<Vec<_>>(), events, "{size} in a batch");
        }
    }

    /// Replicas of two versions run side by side: a change of this text needs a reader of both forms.
    #[test]
    fn stored_form_is_that_of_this_version() {
        let restart = BatchEncoder::default().encode(&events()[3..4]);
        assert_eq!(restart, b"R\x14\xac\x02\"upstream_timeout\"");
        let stored = BatchEncoder::default().encode(&events()[..2]);
        assert_eq!(
            String::from_utf8_lossy(&stored),
            "S\u{fffd}\u{1}{\"generation\":\"gen_AAAAAAAAAAAAAAAAAAAAAA\",\"owner\":{\"Key\":\"web\"},\"model\":\"m\",\
             \"created_at\":7,\"prompt\":\"translate@0123456789ab\",\"metadata\":{\"a\":\"b\"},\"usage\":\"Asked\"}\
             f\u{fffd}\u{1}\0{\"part\":{\"Text\":{\"choice\":0,\"logprobs_json\":null}},\"raw\":{\"Here\":{\"silent\":\"\",\
             \"frame\":{\"dialect\":\"OpenAiChat\",\"before\":\"{\",\"after\":\"}\"}}}}C\u{b}\0Zürich \\n"
        );
    }

    #[test]
    fn unknown_entry_keeps_its_number_and_an_unknown_record_is_skipped() {
        let (mut encoder, mut batch) = (BatchEncoder::default(), Vec::new());
        put(&mut batch, b'Z', b"later");
        put(&mut batch, b'z', b"later");
        batch.extend(encoder.encode(&events()[1..2]));
        let read = BatchDecoder::default().decode(&batch).expect("a batch");
        assert_eq!(read.len(), 2);
        assert_eq!(read[1], events()[1]);
    }

    #[test]
    fn broken_batch_is_an_error_and_no_panic() {
        let whole = BatchEncoder::default().encode(&events());
        for end in 0..whole.len() {
            _ = BatchDecoder::default().decode(&whole[..end]);
        }
        assert_eq!(BatchDecoder::default().decode(b"C\x01\x05"), Err(InvalidBatch), "a shape that was not defined");
        assert_eq!(BatchDecoder::default().decode(b"S\xff"), Err(InvalidBatch));
    }
}
