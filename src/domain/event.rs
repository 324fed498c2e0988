//! What a generation says, entry by entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Chunk, Failure, GenerationId, Principal, PromptReference, Sequence, Timestamp, Timings, Usage};

/// One event at its position in the log: of a generation, or of a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<E = Event> {
    pub sequence: Sequence,
    pub event: E,
}

/// One thing a generation said. Cheap to clone: every viewer's page holds clones.
///
/// Entry 1 is always `Start`; exactly one of `Done`, `Cancelled` and `Failed` is always last.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Start(Arc<Start>),
    Chunk(Chunk),
    Done(Arc<Done>),
    Cancelled(Arc<Cancelled>),
    Failed(Arc<Failed>),
}

impl Event {
    /// Whether this event ends its generation.
    pub const fn is_terminal(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Cancelled(_) | Self::Failed(_))
    }

    /// Returns the usage of a terminal event that has one.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Start(_) | Self::Chunk(_) => None,
            Self::Done(done) => Some(done.usage),
            Self::Cancelled(cancelled) => Some(cancelled.usage),
            Self::Failed(failed) => failed.usage,
        }
    }
}

/// Up to 16 pairs that the caller attached; shown in the snapshot, never sent upstream.
pub type Metadata = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    pub generation: GenerationId,
    /// Who started it; on no wire.
    pub owner: Principal,
    pub model: String,
    pub created_at: Timestamp,
    pub prompt: Option<PromptReference>,
    pub metadata: Metadata,
    pub usage: UsageWish,
}

/// The model came to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// One for each choice that finished, in the order of the choices; never empty.
    pub finish: Box<[Finish]>,
    pub trailer: Trailer,
    pub usage: Usage,
    pub timings: Timings,
}

/// How one choice ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    pub choice: u32,
    pub reason: FinishReason,
    pub stated: Stated,
}

impl Finish {
    /// An end with the reason that the upstream stated.
    pub fn stated(choice: u32, reason: impl Into<FinishReason>) -> Self {
        Self { choice, reason: reason.into(), stated: Stated::Yes }
    }

    /// An end for which the upstream stated no reason.
    pub fn unstated(choice: u32) -> Self {
        Self { choice, reason: "stop".into(), stated: Stated::No }
    }
}

/// Whether the upstream stated a finish reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stated {
    Yes,
    /// The upstream ended the answer without one: `stop` stands in for it and is marked (`finish_reason_missing`).
    No,
}

/// What a stream of chunks ends with, for those who read it as chunks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trailer {
    /// The chunks after the last that said something, a line for each: finish reasons, as a rule.
    pub chunks_json: Box<str>,
    /// What stands between the brace and the choices of the chunk that holds the usage.
    pub head_json: Box<str>,
    /// The provider's usage, with every field it has.
    pub usage_json: Option<Box<str>>,
    /// The chat completion as it came, where the upstream was asked for a whole answer or gave one.
    pub completion_json: Option<Arc<str>>,
}

/// Whether a request asked for the usage as a chunk of its own (`stream_options.include_usage`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UsageWish {
    Asked,
    #[default]
    NotAsked,
}

/// Why a choice ended, in the provider's word: `stop`, `length`, `tool_calls`, `content_filter`, or
/// one that only this provider knows.
pub type FinishReason = Box<str>;

/// Somebody ended the generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Cancelled {
    pub reason: CancelReason,
    pub usage: Usage,
    pub timings: Timings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelReason {
    /// A call of `cancel` or `DELETE`.
    ClientRequest,
    /// The last viewer has gone.
    Abandoned,
}

/// The generation could not be brought to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    pub failure: Failure,
    /// Absent where the upstream refused the request: it used nothing.
    pub usage: Option<Usage>,
    pub timings: Timings,
}
