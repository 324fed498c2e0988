//! The texts of a log, read in pages.

use std::sync::Arc;

use futures_util::Stream;
use memchr::memchr;
use tokio::task::consume_budget;

use super::storage::Record;
use crate::domain::{Entry, Event, Part, Sequence};
use crate::event_log::{EntryBatch, GenerationLog, read_page};

/// Reads the texts of one log. Holds no text, and keeps the record of its generation.
#[derive(Clone)]
pub struct LogTexts {
    log: Arc<dyn GenerationLog>,
    _record: Option<Arc<Record>>,
}

/// The range of the log that holds the fragments of one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSpan {
    pub kind: TextKind,
    first: Sequence,
    last: Sequence,
}

/// Identifies a text of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKind {
    Text { choice: u32 },
    Reasoning { choice: u32 },
    Refusal { choice: u32 },
    Arguments { choice: u32, call: u32 },
}

/// The log was lost while a viewer read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is lost")]
pub struct LogLost;

impl LogTexts {
    pub(super) const fn new(log: Arc<dyn GenerationLog>, record: Option<Arc<Record>>) -> Self {
        Self { log, _record: record }
    }

    /// Returns one text, escaped, in pieces of at most 64 KiB, none of which ends in an escape. No text is held between
    /// two pieces: for a longer fragment the log is read again.
    pub fn pieces(&self, span: TextSpan) -> impl Stream<Item = Result<String, LogLost>> + Send + use<> {
        let log = Arc::clone(&self.log);
        let cursor = TextCursor { after: span.first.before(), offset: 0 };
        futures_util::stream::try_unfold(cursor, move |mut cursor| {
            let log = Arc::clone(&log);
            async move {
                // The text may be spread over many pages of a log that is read without a wait.
                consume_budget().await;
                let Some(page) = page_up_to(&*log, cursor.after, span.last).await? else { return Ok(None) };
                let mut piece = String::new();
                for entry in &page {
                    if !cursor.take(entry, span.kind, &mut piece) {
                        break;
                    }
                }
                Ok(Some((piece, cursor)))
            }
        })
    }
}

/// Returns the entries after a position up to another; `None` if there are none.
pub(super) async fn page_up_to(
    log: &dyn GenerationLog,
    after: Sequence,
    to: Sequence,
) -> Result<Option<EntryBatch>, LogLost> {
    if after >= to {
        return Ok(None);
    }
    let mut entries = read_page(log, after).await.map_err(|_| LogLost)?.entries;
    entries.retain(|entry| entry.sequence <= to);
    if entries.is_empty() { Err(LogLost) } else { Ok(Some(entries)) }
}

/// How far a text was read: the last entry that was read whole, and the bytes read of the next.
struct TextCursor {
    after: Sequence,
    offset: usize,
}

/// Bytes of one piece of a text.
const LARGEST_PIECE: usize = 64 << 10;

impl TextCursor {
    /// Appends as much of an entry's text as fits; returns `false` if some of it remains.
    fn take(&mut self, entry: &Entry, kind: TextKind, piece: &mut String) -> bool {
        let text = match &entry.event {
            Event::Chunk(chunk) if TextKind::of(chunk.part()) == Some(kind) => chunk.text().as_str(),
            _ => "",
        };
        let rest = text.get(self.offset..).unwrap_or_default();
        let fitting = floor_escape(rest, LARGEST_PIECE.saturating_sub(piece.len()));
        piece.push_str(rest.get(..fitting).unwrap_or_default());
        if fitting < rest.len() {
            self.offset += fitting;
            return false;
        }
        *self = Self { after: entry.sequence, offset: 0 };
        true
    }
}

/// Returns the last position up to `most` that is in no character, in no escape and not between two escaped halves of a
/// surrogate pair.
fn floor_escape(escaped: &str, most: usize) -> usize {
    let end = escaped.floor_char_boundary(most);
    if end == escaped.len() {
        return end;
    }
    let bytes = escaped.as_bytes();
    let mut at = 0;
    while let Some(plain) = memchr(b'\\', bytes.get(at..end).unwrap_or_default()) {
        let start = at + plain;
        at = start
            + match bytes.get(start + 1..).unwrap_or_default() {
                [b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', ..] => 12,
                [b'u', ..] => 6,
                _ => 2,
            };
        if at > end {
            return start;
        }
    }
    end
}

impl TextSpan {
    pub(super) const fn new(kind: TextKind, sequence: Sequence) -> Self {
        Self { kind, first: sequence, last: sequence }
    }

    /// Returns the span of one entry; `None` if the entry belongs to no text.
    pub fn of(entry: &Entry) -> Option<Self> {
        let Event::Chunk(chunk) = &entry.event else { return None };
        TextKind::of(chunk.part()).map(|kind| Self::new(kind, entry.sequence))
    }

    /// Extends the span to the end of a later one of the same text. Fragments of other texts in between are not part of
    /// it.
    pub const fn join(&mut self, later: Self) {
        self.last = later.last;
    }
}

impl TextKind {
    pub(super) fn of(part: &Part) -> Option<Self> {
        match *part {
            Part::Text { choice, .. } => Some(Self::Text { choice }),
            Part::Reasoning { choice, .. } => Some(Self::Reasoning { choice }),
            Part::Refusal { choice, .. } => Some(Self::Refusal { choice }),
            Part::ToolCall { choice, index, .. } => Some(Self::Arguments { choice, call: index }),
            Part::Other { .. } | Part::Silent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn piece_ends_before_an_escape_that_does_not_fit() {
        for (escaped, ends) in [
            (r"a\u00e9b", &[0, 1, 1, 1, 1, 1, 1, 7, 8][..]),
            (r"\\n-", &[0, 0, 2, 3, 4]),
            (r#"\n\""#, &[0, 0, 2, 2, 4]),
            (r"\ud83d\uDE00-", &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 13]),
            (r"\ud7ff\n", &[0, 0, 0, 0, 0, 0, 6, 6, 8]),
            ("\u{e9}a", &[0, 0, 2, 3]),
        ] {
            let found: Vec<_> = (0..=escaped.len()).map(|most| floor_escape(escaped, most)).collect();
            assert_eq!(found, ends, "{escaped}");
        }
    }
}
