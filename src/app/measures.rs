//! Connects the counters of other modules to `/metrics`.

use std::sync::Arc;

use super::stored_channels::StoredChannels;
use crate::api::{BodyMemory, Connections};
use crate::event_log::Memory;
use crate::redis_client::{CallResult, RedisClient};
use crate::server;
use crate::settings::Settings;
use crate::telemetry::{
    BreakerFigure, Capacity, ReadRedisFigures, ReadUpstreamFigures, RedisFigures, RetryCount, Total, UpstreamFigures,
};
use crate::upstream::{BreakerState, Retries, RetryReason, UpstreamBreakers};

/// Returns the counters of requests that were sent to an upstream a second time.
pub fn retry_counts(retries: &Arc<Retries>) -> Vec<RetryCount> {
    let count = |reason: RetryReason| {
        let retries = Arc::clone(retries);
        RetryCount { reason: reason.name(), count: Box::new(move || retries.count(reason)) }
    };
    RetryReason::ALL.map(count).into()
}

/// Returns the figures of the server that all replicas share.
pub fn redis_figures(client: RedisClient) -> ReadRedisFigures {
    Box::new(move || {
        let counts = client.connection.counts();
        RedisFigures {
            answers: client.connection.is_answered(),
            delivers: client.subscriptions.is_connected(),
            calls: CallResult::ALL.map(|result| (result.name(), counts.count(result))).into(),
            outage: counts.outage(),
        }
    })
}

/// Returns the health of the upstreams.
pub fn upstream_figures(breakers: impl Fn() -> Vec<UpstreamBreakers> + Send + Sync + 'static) -> ReadUpstreamFigures {
    Box::new(move || breakers().iter().map(figures).collect())
}

fn figures(breakers: &UpstreamBreakers) -> UpstreamFigures {
    UpstreamFigures {
        upstream: breakers.identity.name.to_string(),
        connections: breaker(breakers.connections),
        resting_keys: breakers.resting_keys as u64,
        models: breakers.models.iter().map(|(model, state)| (model.to_string(), breaker(*state))).collect(),
    }
}

const fn breaker(state: BreakerState) -> BreakerFigure {
    BreakerFigure(match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    })
}

/// Returns the counters of evicted logs and channel events.
pub fn evictions(log: Option<&Memory>, channel_logs: StoredChannels) -> Vec<Total> {
    let log = log.cloned().map(|log| Total {
        name: "tokenrill_evicted_logs",
        help: "Ended generations that were evicted before their retention ended, to make room",
        count: Box::new(move || log.evicted()),
    });
    let channels = Total {
        name: "tokenrill_channel_evicted_events",
        help: "Channel events that were evicted before they expired, to make room for others",
        count: Box::new(move || channel_logs.evicted()),
    };
    log.into_iter().chain([channels]).collect()
}

/// Returns the gauges of limited resources.
pub fn capacities(
    settings: &Settings,
    bounds: &server::ListenerLimits,
    log: Option<&Memory>,
    channel_logs: &StoredChannels,
    (in_flight, bodies): (Connections, BodyMemory),
) -> Vec<Capacity> {
    let (log, channel_logs, open) = (log.cloned(), channel_logs.clone(), bounds.open.clone());
    let log_limit = settings.event_log.memory.max_bytes.bytes();
    let channel_limit = settings.channels.max_bytes_total.bytes();
    let log = log.map(|log| {
        Capacity::bytes("tokenrill_event_log", "Memory of the logs of generations", log_limit, move || log.bytes())
    });
    let others = [
        Capacity::bytes("tokenrill_channel_log", "Memory of the histories of channels", channel_limit, move || {
            channel_logs.bytes()
        }),
        Capacity::count(
            "tokenrill_connections",
            "Connections that are open on the listener for callers",
            bounds.connections,
            move || open.count(),
        ),
        Capacity::count(
            "tokenrill_requests_in_flight",
            "Event streams, pending JSON responses and unfinished request bodies",
            bounds.connections,
            move || in_flight.count(),
        ),
        Capacity::bytes(
            "tokenrill_body",
            "Memory of request bodies, and of responses that are buffered whole",
            settings.server.max_body_memory.bytes(),
            move || bodies.bytes(),
        ),
    ];
    log.into_iter().chain(others).collect()
}
