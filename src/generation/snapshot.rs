//! What a generation has come to so far: the fold of its log.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{
    Cancelled, Chunk, Done, Entry, Event, EventId, Failed, Finish, GenerationId, Metadata, Part, PromptReference,
    Sequence, Start, Timestamp, Timings, Usage,
};
use crate::event_log::Log;

/// The state of a generation at one position of its log.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub id: GenerationId,
    pub model: String,
    pub created_at: Timestamp,
    pub prompt: Option<PromptReference>,
    pub metadata: Metadata,
    pub status: Status,
    /// By index; choice 0 is always there.
    pub choices: BTreeMap<u32, ChoiceSnapshot>,
    pub last_event_id: EventId,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    Running,
    Done(Arc<Done>),
    Cancelled(Arc<Cancelled>),
    Failed(Arc<Failed>),
}

/// One choice of the answer. Never printed: `Debug` shows lengths.
#[derive(Clone, PartialEq, Default)]
pub struct ChoiceSnapshot {
    pub text: String,
    pub reasoning: String,
    pub refusal: String,
    pub tool_calls: Vec<ToolCall>,
}

#[derive(Clone, PartialEq, Default)]
pub struct ToolCall {
    pub index: u32,
    pub id: String,
    pub name: String,
    pub arguments: String,
}

impl Snapshot {
    /// The state at the log's tail. `None` if the log is lost.
    pub async fn read(log: &dyn Log) -> Option<Self> {
        let tail = log.tail().get().sequence;
        Self::read_to(log, tail).await
    }

    /// The state after the entry at `position`, which is there.
    pub async fn read_to(log: &dyn Log, position: Sequence) -> Option<Self> {
        let mut snapshot = Self::new(log.start());
        while snapshot.last_event_id.sequence < position {
            let page = log.read(snapshot.last_event_id.sequence).await.ok()?;
            let wanted = page.iter().take_while(|entry| entry.sequence <= position);
            let before = snapshot.last_event_id.sequence;
            wanted.for_each(|entry| snapshot.apply(entry));
            if snapshot.last_event_id.sequence == before {
                return None;
            }
        }
        Some(snapshot)
    }

    /// The state after the first entry.
    pub fn new(start: &Start) -> Self {
        Self {
            id: start.generation,
            model: start.model.clone(),
            created_at: start.created_at,
            prompt: start.prompt.clone(),
            metadata: start.metadata.clone(),
            status: Status::Running,
            choices: BTreeMap::from([(0, ChoiceSnapshot::default())]),
            last_event_id: EventId { generation: start.generation, sequence: Sequence::START.plus(1) },
        }
    }

    /// The state after one entry more.
    pub fn apply(&mut self, entry: &Entry) {
        self.last_event_id.sequence = entry.sequence;
        match &entry.event {
            Event::Start(_) => {}
            Event::Chunk(chunk) => apply(&mut self.choices, chunk),
            Event::Done(done) => self.status = Status::Done(Arc::clone(done)),
            Event::Cancelled(cancelled) => self.status = Status::Cancelled(Arc::clone(cancelled)),
            Event::Failed(failed) => self.status = Status::Failed(Arc::clone(failed)),
        }
    }

    /// Returns how a choice ended, once the model has come to its end.
    pub fn finish(&self, choice: u32) -> Option<&Finish> {
        let Status::Done(done) = &self.status else { return None };
        done.finish.iter().find(|finish| finish.choice == choice)
    }
}

impl ChoiceSnapshot {
    /// Whether nothing has come of this choice.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
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

fn apply(choices: &mut BTreeMap<u32, ChoiceSnapshot>, chunk: &Chunk) {
    let Some(choice) = chunk.part().choice() else { return };
    let choice = choices.entry(choice).or_default();
    let text = chunk.text().unescape();
    match chunk.part() {
        Part::Text { .. } => choice.text.push_str(&text),
        Part::Reasoning { .. } => choice.reasoning.push_str(&text),
        Part::Refusal { .. } => choice.refusal.push_str(&text),
        Part::ToolCall { index, id, name, .. } => {
            let known = choice.tool_calls.iter().position(|call| call.index == *index);
            if known.is_none() {
                choice.tool_calls.push(ToolCall { index: *index, ..ToolCall::default() });
            }
            let call = match known {
                Some(at) => choice.tool_calls.get_mut(at),
                None => choice.tool_calls.last_mut(),
            };
            let Some(call) = call else { return };
            if let Some(id) = id {
                call.id = id.unescape().into_owned();
            }
            if let Some(name) = name {
                call.name = name.unescape().into_owned();
            }
            call.arguments.push_str(&text);
        }
        Part::Other { .. } | Part::Silent => {}
    }
}

impl std::fmt::Debug for ChoiceSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChoiceSnapshot")
            .field("text_bytes", &self.text.len())
            .field("tool_calls", &self.tool_calls.len())
            .finish_non_exhaustive()
    }
}
