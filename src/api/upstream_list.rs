//! The health of the upstreams, for operators: `/v1/upstreams`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::durations::millis;
use super::state::Api;
use crate::generation::{BreakerState, KeyStatus, ModelStatus, UpstreamStatus};

/// The upstreams as this replica sees them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamList {
    /// In the order of the settings; first the embedded model.
    pub data: Vec<UpstreamBody>,
    /// The replica that responds, whose attempts these figures are of.
    #[schema(example = "rep_AAAAAAAAAAAAAAAAAAAAAA")]
    pub replica: String,
}

/// One upstream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Upstream)]
pub struct UpstreamBody {
    #[schema(example = "openai")]
    pub name: String,
    /// The URL of its chat API, without a query.
    #[schema(example = "https://api.openai.com/v1/chat/completions")]
    pub url: String,
    /// Whether it is connected to: `open` while it cannot be reached.
    pub connections: BreakerBody,
    /// In the order of the settings. The keys themselves are never shown.
    pub keys: Vec<KeyBody>,
    /// The models that were requested, by name, at most 1,000.
    pub models: Vec<ModelHealthBody>,
}

/// One key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpstreamKey)]
pub struct KeyBody {
    /// From 1.
    pub number: usize,
    /// How long the key is not used, because it was refused or its quota is used up. Absent if it is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_ms: Option<u64>,
}

/// One model of an upstream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ModelHealth)]
pub struct ModelHealthBody {
    /// The name that the upstream knows.
    pub model: String,
    pub breaker: BreakerBody,
    /// How long the model is not requested, because the upstream is overloaded or does not have it. Absent if it is in
    /// use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest_ms: Option<u64>,
    /// Answers in progress.
    pub in_flight: u32,
    /// Keys that are not used for this model for the moment, because the upstream limited them.
    pub limited_keys: usize,
    /// The time to the first token of half of the last 200 streamed answers. Absent before the first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_p50_ms: Option<u64>,
    /// The time to the first token of 95 % of the last 200 streamed answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_p95_ms: Option<u64>,
}

/// The state of a circuit breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Breaker)]
pub enum BreakerBody {
    /// Requests are sent.
    Closed,
    /// The next request finds out whether it has recovered.
    HalfOpen,
    /// Requests go to other targets.
    Open,
}

/// List the upstreams with their health.
///
/// Breakers, keys that rest and times to the first token, as the replica that responds sees them.
#[utoipa::path(
    get,
    path = "/v1/upstreams",
    operation_id = "list_upstreams",
    tag = "operations",
    responses((status = 200, description = "The upstreams", body = UpstreamList)),
)]
pub async fn list(State(api): State<Api>, _: Caller) -> Json<UpstreamList> {
    let data = api.generations.upstreams().iter().map(upstream_body).collect();
    Json(UpstreamList { data, replica: api.metrics.replica().to_string() })
}

fn upstream_body(status: &UpstreamStatus) -> UpstreamBody {
    UpstreamBody {
        name: status.identity.name.to_string(),
        url: status.identity.url.to_string(),
        connections: status.connections.into(),
        keys: (1..).zip(&status.keys).map(|(number, key)| key_body(number, key)).collect(),
        models: status.models.iter().map(model_body).collect(),
    }
}

fn key_body(number: usize, KeyStatus { rest }: &KeyStatus) -> KeyBody {
    KeyBody { number, rest_ms: rest.map(millis) }
}

fn model_body(status: &ModelStatus) -> ModelHealthBody {
    let time = |time: Option<Duration>| time.map(millis);
    ModelHealthBody {
        model: status.model.to_string(),
        breaker: status.breaker.into(),
        rest_ms: time(status.rest),
        in_flight: status.in_flight,
        limited_keys: status.limited_keys,
        first_token_p50_ms: time(status.first_tokens.percentile(50)),
        first_token_p95_ms: time(status.first_tokens.percentile(95)),
    }
}

impl From<BreakerState> for BreakerBody {
    fn from(state: BreakerState) -> Self {
        match state {
            BreakerState::Closed => Self::Closed,
            BreakerState::HalfOpen => Self::HalfOpen,
            BreakerState::Open => Self::Open,
        }
    }
}
