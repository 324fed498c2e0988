//! Models that answer: the provider port and its adapters.
//!
//! A new provider dialect is one new adapter beside `openai` and one line where `app` builds the
//! [`Router`].

pub mod demo;
mod http1;
mod openai;
mod routing;
pub mod sse;

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use smallvec::SmallVec;

use crate::domain::{ChatRequest, Chunk, FinishReason, Trailer, Usage};

pub use http1::Idle;
pub use openai::{AnswerReader, Endpoint, InvalidEndpoint, OpenAi, Templates, Timeouts};
pub use routing::{Router, UnknownModel};

/// A model that answers as a stream of chunks.
pub trait Provider: Send + Sync + 'static {
    /// Asks. Nothing is sent before the stream is polled; dropping the stream at any moment, also
    /// before its first item, ends the work upstream. After an error nothing follows.
    fn stream(&self, request: ChatRequest) -> Answer;

    /// The models it serves, as it lists them.
    fn models(&self) -> BoxFuture<'_, Result<Vec<Model>, UpstreamError>>;
}

/// What one read from an upstream brought, in order.
pub type Answer = BoxStream<'static, Result<Signals, UpstreamError>>;

/// Without an allocation for the one token that a read brings, as a rule.
pub type Signals = SmallVec<[Signal; 2]>;

/// One thing an upstream said.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal {
    Chunk(Chunk),
    Finish {
        choice: u32,
        reason: FinishReason,
    },
    Usage(Usage),
    /// The answer is whole. What the stream does after this only tidies up its connection.
    End {
        trailer: Trailer,
    },
}

/// A model in a provider's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub id: String,
    pub owned_by: String,
    /// Seconds since 1970, as OpenAI's list has it.
    pub created: u64,
}

/// How an upstream failed. Carries nothing that it said: its words may hold keys and paths.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    #[error("no connection to the upstream")]
    Unreachable,
    #[error("the upstream refused with status {status}")]
    Refused { status: u16, retry_after: Option<Duration> },
    #[error("the upstream reported an error in its stream")]
    Reported,
    #[error("the upstream was silent for too long: {0}")]
    Timeout(Phase),
    #[error("the upstream's answer broke off")]
    Disconnected,
    #[error("the upstream's answer is malformed: {0}")]
    Malformed(Malformed),
}

/// What was being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Connect,
    /// The head of the response.
    Head,
    /// The first text, reasoning or tool call. A byte is not progress.
    FirstToken,
    NextToken,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Head => "waiting for the response's head",
            Self::FirstToken => "waiting for the first token",
            Self::NextToken => "waiting for the next token",
        })
    }
}

/// What is wrong with an upstream's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("not an event stream")]
    ContentType,
    #[error("an event larger than the limit")]
    EventTooLarge,
    #[error("not UTF-8")]
    Encoding,
    #[error("not a chat completion chunk")]
    Chunk,
    #[error("not a list of models")]
    Models,
}
