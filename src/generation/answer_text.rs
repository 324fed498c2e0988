//! The texts of an answer, collected for counting tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::domain::{Chunk, Event, Part, Sequence};
use crate::event_log::{GenerationLog, read_page};

/// The texts of all choices of an answer. Choice 0 is always there.
#[derive(Debug)]
pub struct AnswerText {
    pub choices: BTreeMap<u32, ChoiceText>,
}

/// The beginning of one choice's text, reasoning, refusal and tool calls, in the order of their arrival. Never printed:
/// `Debug` shows lengths.
#[derive(Default)]
pub struct ChoiceText {
    pub beginning: String,
    /// UTF-8 bytes of the whole choice.
    pub bytes: usize,
    /// Its tool calls. Some servers repeat the name in each chunk; only the first is counted.
    calls: BTreeSet<u32>,
}

impl AnswerText {
    /// Reads a log up to `tail`, and then the events that are still pending, and keeps at most `kept` bytes of text.
    /// Returns `None` if the log is lost.
    pub async fn read(log: &dyn GenerationLog, tail: Sequence, pending: &[Event], mut kept: usize) -> Option<Self> {
        let (mut answer, mut at) = (Self::default(), Sequence::START);
        while at < tail {
            let page = read_page(log, at).await.ok()?;
            at = page.entries.last()?.sequence;
            kept -= answer.apply_all(page.entries.iter().map(|entry| &entry.event), kept);
        }
        answer.apply_all(pending.iter(), kept);
        Some(answer)
    }

    /// Returns the UTF-8 bytes of all choices.
    pub fn bytes(&self) -> usize {
        self.choices.values().map(|choice| choice.bytes).sum()
    }

    /// Adds the chunks among some events; returns how many of their bytes are kept, at most `room`.
    fn apply_all<'a>(&mut self, events: impl Iterator<Item = &'a Event>, room: usize) -> usize {
        events.fold(0, |kept, event| match event {
            Event::Chunk(chunk) => kept + self.apply(chunk, room - kept),
            _ => kept,
        })
    }

    /// Adds a chunk; returns how many of its bytes are kept, at most `room`.
    fn apply(&mut self, chunk: &Chunk, room: usize) -> usize {
        let Some(choice) = chunk.part().choice() else { return 0 };
        let choice = self.choices.entry(choice).or_default();
        let mut kept = 0;
        if let Part::ToolCall { index, name, .. } = chunk.part()
            && choice.calls.insert(*index)
            && let Some(name) = name
        {
            kept += choice.push(&name.unescape(), room);
        }
        if let Part::Text { .. } | Part::Reasoning { .. } | Part::Refusal { .. } | Part::ToolCall { .. } = chunk.part()
        {
            kept += choice.push(&chunk.text().unescape(), room - kept);
        }
        kept
    }
}

impl Default for AnswerText {
    fn default() -> Self {
        Self { choices: BTreeMap::from([(0, ChoiceText::default())]) }
    }
}

impl ChoiceText {
    fn push(&mut self, text: &str, room: usize) -> usize {
        let kept = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
        self.beginning.push_str(kept);
        self.bytes += text.len();
        kept.len()
    }

    /// Returns whether the choice has no content.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0 && self.calls.is_empty()
    }
}

impl fmt::Debug for ChoiceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChoiceText").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}
