//! The targets of a request.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::conversation::ConversationKey;
use super::policy::HedgeBudget;
use super::upstream_server::UpstreamServer;
use super::{Answer, AttemptError, AttemptTerms, CacheKeys, EmbeddingTerms, Embeddings, Provider, UpstreamIdentity};
use crate::domain::{ChatRequest, EmbeddingRequest, FallbackClass, HedgeDelay};

/// The targets of a request, in the order in which they are tried.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The requested model, or the default.
    pub model: Box<str>,
    pub first: PlannedTarget,
    pub others: Vec<PlannedTarget>,
    /// How long an attempt may take until its first token, unless it is the last one; `None`: as its upstream says.
    pub first_token: Option<Duration>,
    /// The refusals after which another target is tried.
    pub fallback_on: Arc<[FallbackClass]>,
    pub hedge: Option<HedgePolicy>,
}

/// When a second attempt begins beside one that has no token yet. The first token of the two wins.
#[derive(Debug, Clone)]
pub struct HedgePolicy {
    pub delay: HedgeDelay,
    /// Of all requests for the model.
    pub budget: Arc<HedgeBudget>,
}

/// A target, and the order of its upstream's keys.
#[derive(Debug, Clone)]
pub struct PlannedTarget {
    pub target: Target,
    /// Never empty.
    pub keys: Vec<usize>,
}

/// A model on an upstream, with the parameters that the settings give it.
#[derive(Clone)]
pub struct Target {
    server: Arc<UpstreamServer>,
    model: Arc<str>,
    /// Fields of the request body that replace the caller's.
    parameters: Option<Arc<BTreeMap<String, Value>>>,
    conversation: Option<ConversationKey>,
}

impl Plan {
    /// Returns a plan with these targets, each with its keys in order.
    pub fn of(model: &str, first: Target, others: impl IntoIterator<Item = Target>) -> Self {
        let others = others.into_iter().map(PlannedTarget::with_all_keys).collect();
        let first = PlannedTarget::with_all_keys(first);
        Self { model: model.into(), first, others, first_token: None, fallback_on: Arc::default(), hedge: None }
    }

    /// Returns all targets, in their order.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        std::iter::once(&self.first).chain(&self.others).map(|planned| &planned.target)
    }
}

impl PlannedTarget {
    pub fn with_all_keys(target: Target) -> Self {
        let keys = (0..target.server.key_count()).collect();
        Self { target, keys }
    }
}

impl Target {
    /// `model` is the name that is sent to the upstream.
    pub fn new(server: Arc<UpstreamServer>, model: impl Into<Arc<str>>) -> Self {
        Self { server, model: model.into(), parameters: None, conversation: None }
    }

    /// Returns this target with fields that replace those of each request.
    #[must_use]
    pub fn with_parameters(self, parameters: BTreeMap<String, Value>) -> Self {
        let parameters = Some(parameters).filter(|parameters| !parameters.is_empty()).map(Arc::new);
        Self { parameters, ..self }
    }

    /// Returns this target for a request of a conversation.
    #[must_use]
    pub fn in_conversation(self, conversation: Option<ConversationKey>) -> Self {
        Self { conversation, ..self }
    }

    /// Creates a target on an upstream that is asked once for each request.
    pub fn single(provider: Arc<dyn Provider>, model: impl Into<Arc<str>>) -> Self {
        Self::new(UpstreamServer::single(provider), model)
    }

    pub fn upstream(&self) -> &Arc<UpstreamIdentity> {
        self.server.identity()
    }

    pub const fn server(&self) -> &Arc<UpstreamServer> {
        &self.server
    }

    pub const fn model(&self) -> &Arc<str> {
        &self.model
    }

    /// Makes one attempt at this target with one of its upstream's keys.
    pub fn attempt(&self, key: usize, request: &Arc<ChatRequest>, mut terms: AttemptTerms) -> Answer {
        let provider = self.server.provider(key);
        terms.conversation = self.conversation.filter(|_| provider.cache_keys() == CacheKeys::Sent);
        match &self.parameters {
            None => provider.attempt(request, terms),
            Some(parameters) => {
                let mut request = ChatRequest::clone(request);
                for (name, value) in parameters.iter() {
                    request.set(name, value);
                }
                provider.attempt(&Arc::new(request), terms)
            }
        }
    }
}

impl Target {
    /// Makes one attempt at embeddings with one of the upstream's keys.
    pub fn embed(
        &self,
        key: usize,
        request: &Arc<EmbeddingRequest>,
        terms: EmbeddingTerms,
    ) -> BoxFuture<'static, Result<Embeddings, AttemptError>> {
        let provider = self.server.provider(key);
        let Some(parameters) = &self.parameters else { return provider.embed(request, terms) };
        let mut request = EmbeddingRequest::clone(request);
        for (name, value) in parameters.iter() {
            request.fields.set(name, value);
        }
        provider.embed(&Arc::new(request), terms)
    }
}

/// Two targets are equal if they are the same model on the same upstream with the same parameters.
impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.upstream() == other.upstream() && self.model == other.model && self.parameters == other.parameters
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.upstream().name, self.model)
    }
}
