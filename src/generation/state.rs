//! The state of a generation, read from its log in pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::log_text::{LogLost, LogTexts, TextKind, TextSpan, page_up_to};
use super::storage::Record;
use crate::domain::{
    Cancelled, Chunk, Done, Entry, Escaped, Event, EventPosition, Failed, Finish, Part, Sequence, Start, Timings, Usage,
};
use crate::event_log::GenerationLog;

/// The state of a generation at one position of its log.
///
/// Holds no text: the response reads the log page by page as its client reads, so that a slow client costs one page.
#[derive(Clone)]
pub struct GenerationState {
    log: Arc<dyn GenerationLog>,
    position: Sequence,
    /// Only for a generation whose record is removed with its last holder.
    record: Option<Arc<Record>>,
}

/// A state without its texts.
pub struct Outline {
    pub start: Arc<Start>,
    pub position: EventPosition,
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

impl GenerationState {
    /// Returns the state after the entry at `position`, which must be in the log.
    pub(super) fn at(log: Arc<dyn GenerationLog>, position: Sequence) -> Self {
        Self { log, position, record: None }
    }

    /// Returns the state at the log's tail.
    pub(super) async fn now<E: From<LogLost>>(
        log: Arc<dyn GenerationLog>,
        record: Option<Arc<Record>>,
    ) -> Result<Self, E> {
        let position = log.tail().await.map_err(|_| LogLost)?.sequence;
        Ok(Self { log, position, record })
    }

    /// Reads the log once, without keeping its text.
    pub async fn outline(&self) -> Result<Outline, LogLost> {
        let choices = BTreeMap::from([(0, ChoiceOutline::default())]);
        let start = Arc::clone(self.log.start());
        let mut outline = Outline { start, position: self.position(), status: Status::Running, choices };
        self.each_entry(|entry| outline.apply(entry)).await?;
        Ok(outline)
    }

    /// Returns the position of the last event.
    pub fn position(&self) -> EventPosition {
        EventPosition { epoch: self.log.epoch_of(self.position), sequence: self.position }
    }

    /// Returns the start of the generation.
    pub fn start(&self) -> &Arc<Start> {
        self.log.start()
    }

    /// Reads the log once, up to this position.
    pub async fn each_entry(&self, mut apply: impl FnMut(&Entry) + Send) -> Result<(), LogLost> {
        let mut at = Sequence::START;
        while let Some(page) = page_up_to(&*self.log, at, self.position).await? {
            for entry in &page {
                apply(entry);
                at = entry.sequence;
            }
        }
        Ok(())
    }

    /// Returns the texts of the log.
    pub fn texts(&self) -> LogTexts {
        LogTexts::new(Arc::clone(&self.log), self.record.clone())
    }
}

impl Outline {
    /// Returns how a choice ended, once the generation is done.
    pub fn finish(&self, choice: u32) -> Option<&Finish> {
        let Status::Done(done) = &self.status else { return None };
        done.finish_of(choice)
    }

    fn apply(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Start(_) => {}
            Event::Chunk(chunk) => self.apply_chunk(entry.sequence, chunk),
            Event::Restart(_) => self.choices = BTreeMap::from([(0, ChoiceOutline::default())]),
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
            let fragment = TextSpan::new(kind, sequence);
            span.get_or_insert(fragment).join(fragment);
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
