//! The provider port and its adapters, which request answers from models.
//!
//! A new provider takes one adapter beside `openai` and one line in `app`, which builds the [`Router`].

mod echo;
mod error_report;
mod mask;
mod model_catalog;
mod model_list_error;
mod openai;
mod refusal;
mod route;
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
pub use mask::Masker;
pub use model_catalog::ListedModels;
pub use model_list_error::{ModelListError, list_url};
pub use openai::{
    AnswerReader, AnswerSizes, Endpoint, InvalidEndpointError, OpenAi, Timeouts, WholeAnswers, read_completion,
};
pub use refusal::{LONGEST_REFUSAL, ReportTerms};
pub use routing::{Router, UnknownModelError};
// `Framing` and `ResponseHead` are public for the fuzz target `http1`.
pub use transport::{
    Framing, InvalidFramingError, ResponseHead, Retries, RetryReason, TransportBuilder, TransportError,
};

/// An adapter for one kind of upstream.
pub trait Provider: Send + Sync + 'static {
    /// Returns the identity of the upstream, for logs and metrics.
    fn identity(&self) -> &Arc<UpstreamIdentity>;

    /// Makes one attempt at an answer. Sends nothing before the stream is polled. Dropping the stream at any moment,
    /// also before its first item, cancels the request to the upstream. An error is the last item.
    fn attempt(&self, request: ChatRequest, terms: AttemptTerms) -> Answer;

    /// Returns the models that the upstream lists.
    fn models(&self) -> BoxFuture<'_, Result<Vec<ListedModel>, UpstreamError>>;
}

/// Identifies an upstream in logs and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamIdentity {
    /// The name of the upstream in the settings.
    pub name: Box<str>,
    /// The URL that chat requests are sent to, without its query.
    pub url: Box<str>,
}

impl UpstreamIdentity {
    /// Creates an identity. Removes the query of `url`, which may hold a key.
    pub fn new(name: &str, url: &str) -> Arc<Self> {
        let url = url.split('?').next().unwrap_or_default();
        Arc::new(Self { name: name.into(), url: url.into() })
    }
}

/// Parameters of one attempt.
#[derive(Debug, Clone, Default)]
pub struct AttemptTerms {
    pub delivery: Delivery,
    /// Set by the provider to the delivery that it requested. This can differ from `delivery` because of the settings
    /// or the refusals of the upstream.
    pub asked: DeliveryMark,
    /// Set by the provider as soon as the first byte of the request may have been written.
    pub sent: SentMark,
}

/// How the upstream is requested to deliver its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    #[default]
    Stream,
    /// As one JSON object, when the answer is complete.
    Whole,
}

/// The delivery of the last request to the upstream. Outlives the future of the attempt; clones share the value.
#[derive(Debug, Clone, Default)]
pub struct DeliveryMark(Arc<AtomicBool>);

impl DeliveryMark {
    pub fn set(&self, delivery: Delivery) {
        self.0.store(delivery == Delivery::Whole, Ordering::Release);
    }

    /// Returns the delivery; `Stream` before the first request.
    pub fn get(&self) -> Delivery {
        if self.0.load(Ordering::Acquire) { Delivery::Whole } else { Delivery::Stream }
    }
}

/// Whether an upstream may have received a request, and so may bill it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    No,
    Maybe,
}

/// Whether the request of an attempt may have been sent. Outlives the future of the attempt; clones share the flag.
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

/// The stream of one attempt. Each item holds the signals of one read from the upstream, in order.
pub type Answer = BoxStream<'static, Result<Signals, UpstreamError>>;

/// A read usually brings one token: its signals fit into the inline capacity, without an allocation.
pub type Signals = SmallVec<[Signal; 2]>;

/// One part of an upstream's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal {
    Chunk(Chunk),
    Finish {
        choice: u32,
        reason: FinishReason,
    },
    Usage(UsageReport),
    /// The answer is complete. Polling the stream further only drains the connection for reuse.
    End {
        trailer: Trailer,
    },
}

/// A model in a provider's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedModel {
    pub id: String,
    pub owned_by: String,
    /// Seconds since 1970, as in OpenAI's list.
    pub created: u64,
}

/// Why an attempt failed. The adapter masks all texts of the upstream (`mask.rs`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// `cause` is a phrase for operators, such as "connection refused" or "no such host".
    #[error("no connection to the upstream: {cause}")]
    Unreachable { cause: Cow<'static, str> },
    /// `report` is absent if the body is not an error in JSON.
    #[error("the upstream refused the request with status {status}")]
    Refused { status: u16, retry_after: Option<Duration>, report: Option<Box<ErrorReport>> },
    #[error("the upstream reported an error in its answer")]
    Reported(Box<ErrorReport>),
    #[error("the upstream timed out while {0}")]
    Timeout(Phase),
    /// `cause` is a phrase for operators, such as "connection reset" or "closed before a response".
    #[error("the upstream's answer was interrupted: {cause}")]
    Disconnected { cause: Cow<'static, str> },
    #[error("the upstream's answer is malformed: {0}")]
    Malformed(MalformedResponseError),
    /// The answer ended normally without content or finish reason.
    #[error("the upstream's answer is empty")]
    Empty,
    /// The upstream refused the output limit under each of its names.
    #[error("the upstream refused every name of the output limit")]
    LimitRefused { status: u16, report: Option<Box<ErrorReport>> },
}

/// The step that timed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Connect,
    /// The response headers.
    Head,
    /// The first text, reasoning or tool call. Other bytes do not count as progress.
    FirstToken,
    NextToken,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Head => "waiting for the response headers",
            Self::FirstToken => "waiting for the first token",
            Self::NextToken => "waiting for the next token",
        })
    }
}

/// Why the bytes of an upstream cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedResponseError {
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
