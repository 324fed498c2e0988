//! The encoders of the wires: from the entries of a log to the bytes of an event stream.

use super::frames::Frames;
use super::retry::Retry;
use crate::domain::{Entry, Event, Sequence};
use crate::limits::QueuePosition;

/// Encodes the entries of one generation for one viewer, in the order of the log.
///
/// Its output is a function of the entries, so that a replay has the same bytes as the live stream, apart from `retry`
/// and heartbeats. What it keeps about earlier entries must be small: an open block, counters, ids, spans of texts. A
/// block with a whole text names its span ([`SseBlock::logged_string`](super::frames::SseBlock::logged_string)), and the
/// stream inserts the text from the log.
pub trait Encoder: Send + 'static {
    /// Appends the blocks of one entry, or nothing if this wire has none for it.
    fn entry(&mut self, entry: &Entry, frames: &mut Frames);

    /// Appends what is not an entry of the log, in the wires that have an event for it. It has no id and is not
    /// replayed.
    fn notice(&mut self, _notice: Notice, _frames: &mut Frames) {}

    /// Returns whether nothing follows the blocks of this event: it is terminal, or it withdraws texts in a format that
    /// cannot withdraw them. A viewer that resumes after such a withdrawal receives the texts that follow it.
    fn is_last(&self, event: &Event) -> bool {
        event.is_terminal()
    }

    /// Returns whether the blocks of `next`, the first entry after the position at which a viewer resumes, depend on
    /// the entries before it. They are then passed to [`skip`](Self::skip) first.
    fn needs_history(&self, _next: &Entry) -> bool {
        false
    }

    /// Updates the state by an entry that the viewer has received before.
    fn skip(&mut self, _entry: &Entry) {}
}

/// Whether blocks have ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockIds {
    /// A wire's own operation: an id would make openai-python fail at any later empty block.
    Absent,
    /// `GET /v1/generations/{id}/events?format=`: a stream that can be resumed after any event.
    Present,
}

/// What a stream tells its client beside the entries of the log.
#[derive(Debug, Clone, Copy)]
pub enum Notice {
    /// The generation waits for its slot.
    Queued(QueuePosition),
    /// The client should reconnect after this delay when the stream ends.
    Reconnect(Retry),
}

/// Brings the encoder of a viewer to the position at which the viewer resumes.
///
/// The log is read from its beginning only if the encoder needs that, page by page, so that it costs no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CatchUp {
    /// No entry has been read.
    #[default]
    Undecided,
    /// The entries before this one have been sent to the client before.
    Before(Sequence),
    Done,
}

/// The result of a page for a viewer's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageEffect {
    /// Entries of this number were encoded.
    Encoded(usize),
    /// The same, and no event follows them.
    EncodedLast(usize),
    /// All entries of the page precede the viewer's position.
    Skipped,
    /// The log must be read again from its beginning.
    Rewind,
}

impl CatchUp {
    /// Encodes the entries of a page that the viewer has not received.
    pub fn page(&mut self, page: &[Entry], encoder: &mut impl Encoder, frames: &mut Frames) -> PageEffect {
        let new = match *self {
            Self::Done => page,
            Self::Undecided => match page.first() {
                Some(next) if next.sequence.before() > Sequence::START && encoder.needs_history(next) => {
                    *self = Self::Before(next.sequence);
                    return PageEffect::Rewind;
                }
                _ => page,
            },
            Self::Before(next) => {
                let (known, new) = page.split_at(page.partition_point(|entry| entry.sequence < next));
                for entry in known {
                    encoder.skip(entry);
                }
                if new.is_empty() {
                    return PageEffect::Skipped;
                }
                new
            }
        };
        *self = Self::Done;
        for (entry, encoded) in new.iter().zip(1..) {
            encoder.entry(entry, frames);
            if encoder.is_last(&entry.event) {
                return PageEffect::EncodedLast(encoded);
            }
        }
        PageEffect::Encoded(new.len())
    }

    /// Whether the encoder is not at the viewer's position yet.
    pub const fn is_behind(self) -> bool {
        matches!(self, Self::Before(_))
    }
}
