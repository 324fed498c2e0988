//! The provider port and its adapters, which request answers from models.
//!
//! A new provider takes one adapter beside `openai` and one line in `app`, which builds the [`Router`].

mod alias;
mod answer_parser;
mod anthropic;
mod attempt_error;
mod attempt_lease;
mod attempt_terms;
mod carry_out;
mod conversation;
mod course;
mod deadlines;
mod echo;
mod embeddings;
mod endpoint;
mod error_report;
mod exchange;
mod first_token;
mod known_conversations;
mod mask;
mod model_catalog;
mod model_list_error;
mod openai;
mod plan;
mod policy;
mod refusal;
mod route;
mod routing;
#[cfg(test)]
mod scripted_provider;
pub mod sse;
mod transport;
mod unsupported_field;
mod upstream_server;
mod upstream_status;

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::BoxStream;
use smallvec::SmallVec;

use crate::domain::{ChatRequest, Chunk, EmbeddingRequest, FinishReason, Trailer, UsageReport};

use unsupported_field::UnsupportedFieldError;

pub use alias::{AliasTarget, ModelAlias};
pub use answer_parser::AnswerParser;
pub use anthropic::{Anthropic, ApiVersion, InvalidVersionError, MessageReader, MessageTerms};
pub use attempt_error::{AttemptError, AttemptErrorKind, Billed, MalformedResponseError, Phase, Sent};
pub use attempt_lease::AttemptLease;
pub use attempt_terms::{AttemptTerms, CacheKeys, Delivery, SentMark};
pub use carry_out::{AttemptObserver, AttemptSeries, CommittedAnswer, PlannedRequest, carry_out};
pub use conversation::ConversationKey;
pub use course::{AttemptNumber, AttemptReason};
pub use deadlines::Timeouts;
pub use echo::without_echo;
pub use embeddings::{AnswerRoom, EmbeddingTerms, Embeddings, NoRoomError, embed};
pub use endpoint::{Endpoint, InvalidEndpointError, KeyHeader};
pub use error_report::{ErrorMessages, ErrorReport, REQUEST_FAULT_CODES};
pub use first_token::FailedAttempt;
pub use known_conversations::KnownConversations;
pub use mask::Masker;
pub use model_catalog::ListedModels;
pub use model_list_error::{ModelListError, list_url};
pub use openai::{AnswerReader, ChatTerms, OpenAi, ShownModel, WholeAnswers, read_completion};
pub use plan::{HedgePolicy, Plan, PlannedTarget, Target};
pub use policy::{BreakerState, BreakerTerms, HedgeBudget, RetryBudgetTerms};
pub use refusal::{LONGEST_REFUSAL, ReportTerms};
pub use routing::{Router, UnknownModelError};
#[cfg(test)]
pub use scripted_provider::ScriptedProvider;
// `Framing` and `ResponseHead` are public for the fuzz target `http1`.
pub use transport::{
    ConnectionTerms, Framing, InvalidFramingError, InvalidPemError, InvalidProxyError, Proxy, ResponseHead, Retries,
    RetryReason, TlsTerms, TransportBuilder, TransportError,
};
pub use upstream_server::{RetryTerms, UpstreamServer};
pub use upstream_status::{KeyStatus, ModelStatus, UpstreamBreakers, UpstreamStatus};

/// An adapter for one kind of upstream.
pub trait Provider: Send + Sync + 'static {
    /// Returns the identity of the upstream, for logs and metrics.
    fn identity(&self) -> &Arc<UpstreamIdentity>;

    /// Makes one attempt at an answer. May be called again with the same request.
    ///
    /// Sends nothing before the stream is polled. Dropping the stream at any moment, also before its first item, cancels
    /// the request to the upstream. An error is the last item. The stream releases the request when the upstream begins
    /// to respond.
    fn attempt(&self, request: &Arc<ChatRequest>, terms: AttemptTerms) -> Answer;

    /// Makes one attempt at embeddings. Sends nothing before the future is polled; dropping it cancels the request.
    ///
    /// Default: a failure of an attempt that is not made, for dialects without embeddings.
    fn embed(
        &self,
        _request: &Arc<EmbeddingRequest>,
        _terms: EmbeddingTerms,
    ) -> BoxFuture<'static, Result<Embeddings, AttemptError>> {
        let lacks = UnsupportedFieldError::new("model", "has no embeddings: its upstream's API does not offer them");
        ready(Err(lacks.into_attempt_error())).boxed()
    }

    /// Returns whether requests have the key of their conversation.
    fn cache_keys(&self) -> CacheKeys {
        CacheKeys::Omitted
    }

    /// Returns the models that the upstream lists.
    fn models(&self) -> BoxFuture<'_, Result<Vec<ListedModel>, AttemptErrorKind>>;
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

/// The stream of one attempt. Each item holds the signals of one read from the upstream, in order.
pub type Answer = BoxStream<'static, Result<Signals, AttemptError>>;

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
