//! What operators see of an upstream.

use std::sync::Arc;
use std::time::Duration;

use super::UpstreamIdentity;
use super::policy::{BreakerState, FirstTokenTimes};

/// The health of one upstream.
#[derive(Debug, Clone)]
pub struct UpstreamStatus {
    pub identity: Arc<UpstreamIdentity>,
    /// The breaker of all its models, which opens if the upstream cannot be reached.
    pub connections: BreakerState,
    /// In the order of the settings.
    pub keys: Vec<KeyStatus>,
    /// Those that were requested, by name.
    pub models: Vec<ModelStatus>,
}

/// The health of one key.
#[derive(Debug, Clone, Copy)]
pub struct KeyStatus {
    /// How long it is not used; `None` if it is in use.
    pub rest: Option<Duration>,
}

/// The health of one model.
#[derive(Debug, Clone)]
pub struct ModelStatus {
    pub model: Arc<str>,
    pub breaker: BreakerState,
    /// How long it is not requested; `None` if it is in use.
    pub rest: Option<Duration>,
    /// Answers in progress.
    pub in_flight: u32,
    /// Keys that are not used for this model, because they were limited.
    pub limited_keys: usize,
    /// Times to the first token of the last 200 streamed answers.
    pub first_tokens: FirstTokenTimes,
}

/// The breakers and keys of one upstream, for metrics.
#[derive(Debug, Clone)]
pub struct UpstreamBreakers {
    pub identity: Arc<UpstreamIdentity>,
    pub connections: BreakerState,
    /// Keys that are not used for any model.
    pub resting_keys: usize,
    pub models: Vec<(Arc<str>, BreakerState)>,
}
