//! The texts of an answer, collected for counting tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::domain::{Chunk, Event, Part, Sequence};
use crate::event_log::{GenerationLog, read_page};

/// The answers of a log: the one that stands, and those that were withdrawn before it.
#[derive(Debug, Default)]
pub struct AnswerTexts {
    /// In order.
    pub withdrawn: Vec<AnswerText>,
    pub standing: AnswerText,
}

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

impl AnswerTexts {
    /// Reads a log up to `tail`, and then the events that are still pending, and keeps at most `kept` bytes of each
    /// answer. Returns `None` if the log is lost.
    pub async fn read(log: &dyn GenerationLog, tail: Sequence, pending: &[Event], kept: usize) -> Option<Self> {
        let (mut answers, mut room, mut at) = (Self::default(), kept, Sequence::START);
        let mut apply = |event: &Event| match event {
            Event::Chunk(chunk) => room -= answers.standing.apply(chunk, room),
            Event::Restart(_) => {
                answers.withdrawn.push(std::mem::take(&mut answers.standing));
                room = kept;
            }
            _ => {}
        };
        while at < tail {
            let page = read_page(log, at).await.ok()?;
            at = page.entries.last()?.sequence;
            page.entries.iter().for_each(|entry| apply(&entry.event));
        }
        pending.iter().for_each(apply);
        Some(answers)
    }
}

impl AnswerText {
    /// Returns the UTF-8 bytes of all choices.
    pub fn bytes(&self) -> usize {
        self.choices.values().map(|choice| choice.bytes).sum()
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
