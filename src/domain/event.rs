//! The events of a generation.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    ChatKey, Chunk, Epoch, EventPosition, Failure, FailureCode, GenerationId, Notes, Principal, PromptReference,
    ProviderDialect, Sequence, Timestamp, Timings, Usage,
};

/// One event at its position in the log of a generation or a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<E = Event> {
    pub sequence: Sequence,
    /// The epoch in which it was appended; a channel has only the first.
    pub epoch: Epoch,
    pub event: E,
}

impl<E> Entry<E> {
    /// An entry of the first epoch.
    pub const fn new(sequence: Sequence, event: E) -> Self {
        Self { sequence, epoch: Epoch::FIRST, event }
    }

    pub const fn position(&self) -> EventPosition {
        EventPosition { epoch: self.epoch, sequence: self.sequence }
    }
}

/// One event of a generation. Cheap to clone: every viewer's page holds clones.
///
/// Entry 1 is always `Start`; exactly one of `Done`, `Cancelled` and `Failed` is always last.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Start(Arc<Start>),
    Chunk(Chunk),
    Restart(Restart),
    Done(Arc<Done>),
    Cancelled(Arc<Cancelled>),
    Failed(Arc<Failed>),
}

impl Event {
    /// Returns whether this event ends its generation.
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Cancelled(_) | Self::Failed(_))
    }

    /// Returns the usage of a terminal event that has one.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Start(_) | Self::Chunk(_) | Self::Restart(_) => None,
            Self::Done(done) => Some(done.usage),
            Self::Cancelled(cancelled) => Some(cancelled.usage),
            Self::Failed(failed) => failed.usage,
        }
    }
}

/// Up to 16 pairs that the caller attached. Shown in the snapshot, never sent upstream.
pub type Metadata = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    pub generation: GenerationId,
    /// The caller that started it; never sent to a client.
    pub owner: Principal,
    pub model: String,
    pub created_at: Timestamp,
    pub prompt: Option<PromptReference>,
    pub metadata: Metadata,
    pub usage: UsageRequest,
    /// What the wire of the request keeps; never sent to a client of another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<Notes>,
    /// The chat that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatKey>,
}

impl Start {
    /// Returns the bytes of the notes.
    pub fn notes_size(&self) -> usize {
        self.notes.as_ref().map_or(0, Notes::size)
    }
}

/// The answer so far is withdrawn, and another target begins anew. Its first chunk is appended in the same step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// The last entry that stays: the start, or the restart before.
    pub from: Sequence,
    /// Why the answer so far is incomplete.
    pub reason: FailureCode,
}

/// The model completed its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// One for each choice that finished, in the order of the choices; never empty.
    pub finish: Box<[Finish]>,
    pub trailer: Trailer,
    pub usage: Usage,
    pub timings: Timings,
}

impl Done {
    /// Returns how a choice ended.
    pub fn finish_of(&self, choice: u32) -> Option<&Finish> {
        self.finish.iter().find(|finish| finish.choice == choice)
    }
}

/// How one choice ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    pub choice: u32,
    pub reason: FinishReason,
    pub stated: Stated,
}

impl Finish {
    /// Returns an end with the reason that the upstream stated.
    pub fn stated(choice: u32, reason: impl Into<FinishReason>) -> Self {
        Self { choice, reason: reason.into(), stated: Stated::Yes }
    }

    /// Returns an end for which the upstream stated no reason.
    pub fn unstated(choice: u32) -> Self {
        Self { choice, reason: "stop".into(), stated: Stated::No }
    }
}

/// Whether the upstream stated a finish reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stated {
    Yes,
    /// The upstream ended the answer without one: `stop` is used instead and marked (`finish_reason_missing`).
    No,
}

/// The end of a provider's stream in its own JSON, kept for a wire of the same dialect. Every other wire writes the end
/// from the members of [`Done`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Trailer {
    /// `None` if no wire has the provider's dialect. All other members are empty then.
    pub dialect: Option<ProviderDialect>,
    /// The chunks after the last one with a part, a line for each: usually finish reasons.
    pub chunks_json: Box<str>,
    /// The first members of the chunk that holds the usage, without the brace.
    pub head_json: Box<str>,
    /// The provider's usage with all of its fields.
    pub usage_json: Option<Box<str>>,
    /// The whole answer as received, if a whole answer was requested or sent.
    pub whole_json: Option<Arc<str>>,
}

impl Trailer {
    /// Returns the trailer if it is of this dialect.
    pub fn of(&self, dialect: ProviderDialect) -> Option<&Self> {
        Some(self).filter(|trailer| trailer.dialect == Some(dialect))
    }

    /// Returns the bytes of its JSON.
    pub fn size(&self) -> usize {
        let usage = self.usage_json.as_ref().map_or(0, |usage| usage.len());
        self.chunks_json.len() + self.head_json.len() + usage + self.whole_json.as_ref().map_or(0, |json| json.len())
    }
}

/// Whether a request asked for the usage as a chunk of its own (`stream_options.include_usage`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum UsageRequest {
    Asked,
    #[default]
    NotAsked,
}

/// Why a choice ended, as the provider states it: `stop`, `length`, `tool_calls`, `content_filter`, or a value of its
/// own.
pub type FinishReason = Box<str>;

/// The generation was cancelled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cancelled {
    pub reason: CancelReason,
    pub usage: Usage,
    pub timings: Timings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CancelReason {
    /// A client called `cancel` or `DELETE`.
    ClientRequest,
    /// The last viewer disconnected and the grace passed.
    Abandoned,
}

/// The generation failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    pub failure: Failure,
    /// `None` if the request was not sent, or the upstream refused it: nothing was used.
    pub usage: Option<Usage>,
    pub timings: Timings,
}
