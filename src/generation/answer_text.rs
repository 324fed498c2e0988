//! The texts of an answer, put together to be counted.

use std::collections::BTreeMap;
use std::fmt;

use crate::domain::{Chunk, Event, Part, Sequence};
use crate::event_log::Log;

/// What each choice of an answer says. Choice 0 is always there.
pub struct AnswerText {
    pub choices: BTreeMap<u32, ChoiceText>,
}

/// One choice of the answer. Never printed: `Debug` shows lengths.
#[derive(Clone, PartialEq, Default)]
pub struct ChoiceText {
    pub text: String,
    pub reasoning: String,
    pub refusal: String,
    pub tool_calls: Vec<ToolCallText>,
}

#[derive(Clone, PartialEq, Default)]
pub struct ToolCallText {
    index: u32,
    pub name: String,
    pub arguments: String,
}

impl AnswerText {
    /// Reads a log to its tail. `None` if the log is lost.
    pub async fn read(log: &dyn Log) -> Option<Self> {
        let tail = log.tail().get().sequence;
        let (mut answer, mut at) = (Self::default(), Sequence::START);
        while at < tail {
            let page = log.read(at).await.ok()?;
            for entry in &page {
                if let Event::Chunk(chunk) = &entry.event {
                    answer.apply(chunk);
                }
            }
            at = page.last()?.sequence;
        }
        Some(answer)
    }

    fn apply(&mut self, chunk: &Chunk) {
        let Some(choice) = chunk.part().choice() else { return };
        let choice = self.choices.entry(choice).or_default();
        let text = chunk.text().unescape();
        match chunk.part() {
            Part::Text { .. } => choice.text.push_str(&text),
            Part::Reasoning { .. } => choice.reasoning.push_str(&text),
            Part::Refusal { .. } => choice.refusal.push_str(&text),
            Part::ToolCall { index, name, .. } => {
                let known = choice.tool_calls.iter().rposition(|call| call.index == *index);
                if known.is_none() {
                    choice.tool_calls.push(ToolCallText { index: *index, ..ToolCallText::default() });
                }
                let call = match known {
                    Some(at) => choice.tool_calls.get_mut(at),
                    None => choice.tool_calls.last_mut(),
                };
                let Some(call) = call else { return };
                if let Some(name) = name {
                    call.name = name.unescape().into_owned();
                }
                call.arguments.push_str(&text);
            }
            Part::Other { .. } | Part::Silent => {}
        }
    }
}

impl Default for AnswerText {
    fn default() -> Self {
        Self { choices: BTreeMap::from([(0, ChoiceText::default())]) }
    }
}

impl ChoiceText {
    /// Whether nothing has come of this choice.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Debug for ChoiceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChoiceText")
            .field("text_bytes", &self.text.len())
            .field("tool_calls", &self.tool_calls.len())
            .finish_non_exhaustive()
    }
}
