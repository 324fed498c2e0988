//! The targets of a request.

use std::fmt;
use std::sync::Arc;

use super::{Answer, AttemptTerms, Provider, UpstreamIdentity};
use crate::domain::ChatRequest;

/// The targets of a request, in the order in which they are tried. A target that is listed again is retried.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The requested model, or the default.
    pub model: Box<str>,
    pub first: Target,
    pub others: Vec<Target>,
}

/// A model on an upstream.
#[derive(Clone)]
pub struct Target {
    provider: Arc<dyn Provider>,
    model: Arc<str>,
}

impl Plan {
    /// Returns a plan with one attempt.
    pub fn of_one(model: &str, target: Target) -> Self {
        Self { model: model.into(), first: target, others: Vec::new() }
    }
}

impl Target {
    /// `model` is the name that is sent to the upstream.
    pub fn new(provider: Arc<dyn Provider>, model: impl Into<Arc<str>>) -> Self {
        Self { provider, model: model.into() }
    }

    pub fn upstream(&self) -> &Arc<UpstreamIdentity> {
        self.provider.identity()
    }

    pub const fn model(&self) -> &Arc<str> {
        &self.model
    }

    /// Makes one attempt at this target.
    pub fn attempt(&self, request: &Arc<ChatRequest>, terms: AttemptTerms) -> Answer {
        self.provider.attempt(request, terms)
    }
}

/// Two targets are equal if they are the same model on the same upstream.
impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.upstream() == other.upstream() && self.model == other.model
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.upstream().name, self.model)
    }
}
