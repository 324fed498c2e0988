//! Models that answer: the provider port and its adapters.
//!
//! A new provider dialect is one new adapter beside `openai` and one line where `app` builds the
//! [`Router`].

pub mod demo;
mod echo;
mod error_report;
mod list_failure;
mod mask;
mod model_catalog;
mod openai;
mod refusal;
mod routing;
pub mod sse;
mod transport;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use smallvec::SmallVec;

use crate::domain::{ChatRequest, Chunk, FinishReason, Trailer, UsageReport};

pub use echo::without_echo;
pub use error_report::{ErrorMessages, ErrorReport};
pub use list_failure::{ListFailure, list_url};
pub use mask::Masker;
pub use model_catalog::ListedModels;
pub use openai::{
    AnswerReader, AnswerSizes, Endpoint, InvalidEndpoint, OpenAi, Timeouts, WholeAnswers, read_completion,
};
pub use refusal::{LONGEST_REFUSAL, ReportTerms};
pub use routing::{Router, UnknownModel};
// `Framing` and `ResponseHead` are public for the fuzz target `http1`.
pub use transport::{Framing, InvalidFraming, RepeatReason, Repeats, ResponseHead, TransportBuilder, TransportError};

/// An adapter for one kind of upstream.
pub trait Provider: Send + Sync + 'static {
    /// Returns which upstream this is, for operators.
    fn identity(&self) -> &Arc<UpstreamIdentity>;

    /// Makes one attempt at an answer. Nothing is sent before the stream is polled; dropping the stream at any moment,
    /// also before its first item, ends the work upstream. After an error nothing follows.
    fn attempt(&self, request: ChatRequest, terms: AttemptTerms) -> Answer;

    /// Returns the models it serves, as it lists them.
    fn models(&self) -> BoxFuture<'_, Result<Vec<Model>, UpstreamError>>;
}

/// Which upstream an operator reads of in logs and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamIdentity {
    /// As the settings name it.
    pub name: Box<str>,
    /// The address that chats are sent to, without its query.
    pub url: Box<str>,
}

impl UpstreamIdentity {
    /// `url` loses its query, which may hold a key.
    pub fn new(name: &str, url: &str) -> Arc<Self> {
        let url = url.split('?').next().unwrap_or_default();
        Arc::new(Self { name: name.into(), url: url.into() })
    }
}

/// How one attempt is made.
#[derive(Debug, Clone, Default)]
pub struct AttemptTerms {
    pub delivery: Delivery,
    /// Set by the provider to how the upstream was asked in fact: its settings and its refusals may decide otherwise.
    pub asked: DeliveryMark,
    /// Set by the provider as soon as the first byte of the request may have been written.
    pub sent: SentMark,
}

/// How the upstream is asked to deliver its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    #[default]
    Stream,
    /// As one JSON object, at its end.
    Whole,
}

/// How an upstream was asked last. Outlives the attempt's future; clones share it.
#[derive(Debug, Clone, Default)]
pub struct DeliveryMark(Arc<AtomicBool>);

impl DeliveryMark {
    pub fn set(&self, delivery: Delivery) {
        self.0.store(delivery == Delivery::Whole, Ordering::Release);
    }

    /// `Stream` as long as nothing was asked.
    pub fn get(&self) -> Delivery {
        if self.0.load(Ordering::Acquire) { Delivery::Whole } else { Delivery::Stream }
    }
}

/// Whether an upstream may have seen a request, and so may bill it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    No,
    Maybe,
}

/// A flag that outlives the attempt's future: whether its request may have been sent. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct SentMark(Arc<AtomicBool>);

impl SentMark {
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn get(&self) -> Sent {
        if self.0.load(Ordering::Acquire) { Sent::Maybe } else { Sent::No }
    }
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
    Usage(UsageReport),
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

/// How an attempt failed. What the upstream said is masked where it is read (`mask.rs`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// `cause` is a phrase for operators: "connection refused", "no such host".
    #[error("no connection to the upstream: {cause}")]
    Unreachable { cause: Cow<'static, str> },
    /// `report` is absent where the body is not an error in JSON.
    #[error("the upstream refused the request with status {status}")]
    Refused { status: u16, retry_after: Option<Duration>, report: Option<Box<ErrorReport>> },
    #[error("the upstream reported an error in its answer")]
    Reported(Box<ErrorReport>),
    #[error("the upstream was silent for too long: {0}")]
    Timeout(Phase),
    /// `cause` is a phrase for operators: "connection reset", "closed before a response".
    #[error("the upstream's answer broke off: {cause}")]
    Disconnected { cause: Cow<'static, str> },
    #[error("the upstream's answer is malformed: {0}")]
    Malformed(Malformed),
    /// The answer ended as if it were whole, and holds nothing.
    #[error("the upstream's answer is empty")]
    Empty,
    /// The upstream refuses a limit under each name that there is for it.
    #[error("the upstream refuses every name of the output limit")]
    LimitRefused { status: u16, report: Option<Box<ErrorReport>> },
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
