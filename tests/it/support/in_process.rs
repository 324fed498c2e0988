//! The service without a listener, so that tests can pause tokio's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream;
use tokenrill::channel::Channels;
use tokenrill::domain::GenerationId;
use tokenrill::event_log::{ChannelLimits, Memory, MemoryChannels, MemoryLimits};
use tokenrill::limits::{Admitted, Allowance, GenerationDemand, LimitError, Limits, ProcessLimits, Settled, Spender};
use tokenrill::upstream::{self, Provider};
use tokenrill::{api, auth, generation, limits, prompts, telemetry, usage};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// The routes, and the state behind them.
pub struct Parts {
    pub api: axum::Router,
    pub log: Memory,
    pub metrics: Arc<telemetry::Metrics>,
    pub channels: Channels,
}

/// A provider that panics in each answer and each list.
struct DefectiveProvider;

impl Provider for DefectiveProvider {
    fn identity(&self) -> &Arc<upstream::UpstreamIdentity> {
        super::test_identity()
    }
    fn attempt(&self, _: &Arc<tokenrill::domain::ChatRequest>, _: upstream::AttemptTerms) -> upstream::Answer {
        Box::pin(stream::once(async { panic!("hunter2") }))
    }
    fn models(&self) -> BoxFuture<'_, Result<Vec<upstream::ListedModel>, upstream::AttemptErrorKind>> {
        panic!("hunter2")
    }
}

/// Limits that panic in the handler of the first request that is admitted.
#[derive(Default)]
struct DefectiveLimits {
    inner: ProcessLimits,
    has_panicked: AtomicBool,
}

impl Limits for DefectiveLimits {
    fn take_request<'a>(&'a self, id: GenerationId, spender: &'a Spender) -> BoxFuture<'a, Result<(), LimitError>> {
        self.inner.take_request(id, spender)
    }
    fn admit<'a>(
        &'a self,
        id: GenerationId,
        demand: &'a GenerationDemand,
    ) -> BoxFuture<'a, Result<Admitted, LimitError>> {
        assert!(self.has_panicked.swap(true, Ordering::SeqCst), "hunter2");
        self.inner.admit(id, demand)
    }
    fn settle(&self, id: GenerationId, settled: Settled) -> BoxFuture<'_, ()> {
        self.inner.settle(id, settled)
    }
    fn release(&self, id: GenerationId) -> BoxFuture<'_, ()> {
        self.inner.release(id)
    }
    fn publish<'a>(&'a self, spender: &'a Spender) -> BoxFuture<'a, Result<Allowance, (LimitError, Allowance)>> {
        self.inner.publish(spender)
    }
    fn left<'a>(&'a self, spender: &'a Spender, model: &'a str) -> BoxFuture<'a, Allowance> {
        self.inner.left(spender, model)
    }
}

/// Builds the service. Every duration is `time`, except those of channels. The provider is a [`DefectiveProvider`], and the
/// limits are [`DefectiveLimits`].
pub fn parts(time: Duration) -> Parts {
    let (metrics, tasks) = (telemetry::Metrics::new(), TaskTracker::new());
    let log = Memory::new(MemoryLimits { total: 64 << 20, generation: 1 << 20, running: 0, retention: time });
    let kept = ChannelLimits {
        history: 100,
        retention: Duration::from_hours(1),
        bytes: 1 << 20,
        total: 1 << 20,
        channels: 10,
    };
    let channels = Channels::new(Arc::new(MemoryChannels::new(kept)), 100, Arc::clone(&metrics));
    let terms = generation::Terms {
        upstream_messages: generation::UpstreamMessages::Log,
        max_duration: time,
        on_disconnect: generation::OnDisconnect::Cancel,
        grace: Duration::ZERO,
    };
    let router = upstream::Router::new(Arc::new(DefectiveProvider), Vec::new(), Vec::new(), None, TaskTracker::new());
    let limits = limits::Limiter::new(Arc::new(DefectiveLimits::default()), tasks.clone());
    let admission = api::Admission {
        gate: Arc::new(auth::Gate::Open { tickets: auth::Tickets::new(b"a secret") }),
        origins: api::Origins::Loopback,
        cookie: None,
        policy: Arc::default(),
        proxies: api::TrustedProxies::default(),
        prompts: prompts::Catalog::empty(),
    };
    let ledger = usage::Ledger::default();
    let api = api::Api {
        delivered_ends: Arc::default(),
        connections: api::Connections::new(10_000),
        other_replicas: None,
        body_memory: api::BodyMemory::new(64 << 20),
        large_bodies: api::LargeBodies::default(),
        admission: watch::channel(admission).1,
        generations: generation::Generations::new(
            Arc::new(log.clone()),
            router,
            terms,
            limits.clone(),
            Arc::clone(&metrics),
            tasks,
            ledger.clone(),
        ),
        limits,
        channels: channels.clone(),
        metrics: Arc::clone(&metrics),
        ledger,
        head_wait: time,
        hosts: api::Hosts::Any,
        heartbeat: time,
        body: api::BodyLimits { size: 1 << 20, time },
        channel_terms: api::ChannelTerms { max_event: 1 << 16, idle: Duration::from_mins(10) },
    };
    Parts { api: api::router(api, api::ListenerRole::Sole), log, metrics, channels }
}
