//! The state of a generation, read from its log in pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::Stream;

use crate::domain::{
    Cancelled, Chunk, Done, Entry, Escaped, Event, Failed, Finish, Part, Sequence, Start, Timings, Usage,
};
use crate::event_log::{EntryBatch, GenerationLog, read_page};

/// The state of a generation at one position of its log.
///
/// Holds no text: the response reads the log page by page as its client reads, so that a slow client costs one page.
#[derive(Clone)]
pub struct GenerationState {
    log: Arc<dyn GenerationLog>,
    position: Sequence,
}

/// A state without its texts.
pub struct Outline {
    pub start: Arc<Start>,
    pub position: Sequence,
    pub status: Status,
    /// By index; choice 0 is always there.
    pub choices: BTreeMap<u32, ChoiceOutline>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    Running,
    Done(Arc<Done>),
    Cancelled(Arc<Cancelled>),
    Failed(Arc<Failed>),
}

/// One choice of the answer. An empty text is `None`.
#[derive(Default)]
pub struct ChoiceOutline {
    pub text: Option<TextSpan>,
    pub reasoning: Option<TextSpan>,
    pub refusal: Option<TextSpan>,
    /// In the order in which they began.
    pub tool_calls: Vec<ToolCallOutline>,
    /// The greatest index of `tool_calls`.
    greatest_call: Option<u32>,
}

#[derive(Default)]
pub struct ToolCallOutline {
    pub index: u32,
    pub id: Option<Escaped>,
    pub name: Option<Escaped>,
    pub arguments: Option<TextSpan>,
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

impl GenerationState {
    /// Returns the state after the entry at `position`, which must be in the log.
    pub(super) fn at(log: Arc<dyn GenerationLog>, position: Sequence) -> Self {
        Self { log, position }
    }

    /// Returns the state at the log's tail.
    pub(super) async fn now<E: From<LogLost>>(log: Arc<dyn GenerationLog>) -> Result<Self, E> {
        let position = log.tail().await.map_err(|_| LogLost)?.sequence;
        Ok(Self { log, position })
    }

    /// Reads the log once, without keeping its text.
    pub async fn outline(&self) -> Result<Outline, LogLost> {
        let choices = BTreeMap::from([(0, ChoiceOutline::default())]);
        let start = Arc::clone(self.log.start());
        let mut outline = Outline { start, position: self.position, status: Status::Running, choices };
        let mut at = Sequence::START;
        while let Some(page) = self.page(at, self.position).await? {
            for entry in &page {
                outline.apply(entry);
                at = entry.sequence;
            }
        }
        Ok(outline)
    }

    /// Returns one text, escaped, in pieces of at most 64 KiB. No text is held between two pieces: for a longer
    /// fragment the log is read again.
    pub fn pieces(&self, span: TextSpan) -> impl Stream<Item = Result<String, LogLost>> + Send + use<> {
        let state = self.clone();
        let cursor = TextCursor { after: span.first.before(), offset: 0 };
        futures_util::stream::try_unfold(cursor, move |mut cursor| {
            let state = state.clone();
            async move {
                let Some(page) = state.page(cursor.after, span.last).await? else { return Ok(None) };
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

    /// Returns the entries after a position up to another; `None` if there are none.
    async fn page(&self, after: Sequence, to: Sequence) -> Result<Option<EntryBatch>, LogLost> {
        if after >= to {
            return Ok(None);
        }
        let mut entries = read_page(&*self.log, after).await.map_err(|_| LogLost)?.entries;
        entries.retain(|entry| entry.sequence <= to);
        if entries.is_empty() { Err(LogLost) } else { Ok(Some(entries)) }
    }
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
        let fitting = rest.floor_char_boundary(LARGEST_PIECE.saturating_sub(piece.len()));
        piece.push_str(rest.get(..fitting).unwrap_or_default());
        if fitting < rest.len() {
            self.offset += fitting;
            return false;
        }
        *self = Self { after: entry.sequence, offset: 0 };
        true
    }
}

impl Outline {
    /// Returns how a choice ended, once the generation is done.
    pub fn finish(&self, choice: u32) -> Option<&Finish> {
        let Status::Done(done) = &self.status else { return None };
        done.finish.iter().find(|finish| finish.choice == choice)
    }

    fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Start(_) => {}
            Event::Chunk(chunk) => self.apply_chunk(entry.sequence, chunk),
            Event::Done(done) => self.status = Status::Done(Arc::clone(done)),
            Event::Cancelled(cancelled) => self.status = Status::Cancelled(Arc::clone(cancelled)),
            Event::Failed(failed) => self.status = Status::Failed(Arc::clone(failed)),
        }
    }

    fn apply_chunk(&mut self, sequence: Sequence, chunk: &Chunk) {
        let Some(kind) = TextKind::of(chunk.part()) else {
            if let Some(choice) = chunk.part().choice() {
                self.choices.entry(choice).or_default();
            }
            return;
        };
        let (TextKind::Text { choice }
        | TextKind::Reasoning { choice }
        | TextKind::Refusal { choice }
        | TextKind::Arguments { choice, .. }) = kind;
        let choice = self.choices.entry(choice).or_default();
        let span = match kind {
            TextKind::Text { .. } => &mut choice.text,
            TextKind::Reasoning { .. } => &mut choice.reasoning,
            TextKind::Refusal { .. } => &mut choice.refusal,
            TextKind::Arguments { call, .. } => &mut choice.call(call, chunk.part()).arguments,
        };
        if !chunk.text().as_str().is_empty() {
            span.get_or_insert(TextSpan { kind, first: sequence, last: sequence }).last = sequence;
        }
    }
}

impl Status {
    pub fn usage(&self) -> Option<(Option<Usage>, Timings)> {
        match self {
            Self::Running => None,
            Self::Done(done) => Some((Some(done.usage), done.timings)),
            Self::Cancelled(cancelled) => Some((Some(cancelled.usage), cancelled.timings)),
            Self::Failed(failed) => Some((failed.usage, failed.timings)),
        }
    }
}

impl ChoiceOutline {
    /// Returns the call with this index, updated with the id and the name of the part.
    #[expect(clippy::indexing_slicing, reason = "a call stands at `at`: it was found or pushed there")]
    fn call(&mut self, index: u32, part: &Part) -> &mut ToolCallOutline {
        // Most fragments belong to the last call, and new calls have a greater index: neither case searches all calls.
        let known = || self.tool_calls.iter().rposition(|call| call.index == index);
        let is_known = self.greatest_call.is_some_and(|greatest| index <= greatest);
        let at = is_known.then(known).flatten().unwrap_or(self.tool_calls.len());
        self.greatest_call = self.greatest_call.max(Some(index));
        if at == self.tool_calls.len() {
            self.tool_calls.push(ToolCallOutline { index, ..ToolCallOutline::default() });
        }
        let call = &mut self.tool_calls[at];
        if let Part::ToolCall { id, name, .. } = part {
            call.id = id.clone().or(call.id.take());
            call.name = name.clone().or(call.name.take());
        }
        call
    }
}

impl TextKind {
    fn of(part: &Part) -> Option<Self> {
        match *part {
            Part::Text { choice, .. } => Some(Self::Text { choice }),
            Part::Reasoning { choice, .. } => Some(Self::Reasoning { choice }),
            Part::Refusal { choice, .. } => Some(Self::Refusal { choice }),
            Part::ToolCall { choice, index, .. } => Some(Self::Arguments { choice, call: index }),
            Part::Other { .. } | Part::Silent => None,
        }
    }
}
