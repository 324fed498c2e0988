//! The metrics of one service.

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::capacity::{Capacities, Capacity};
use super::cost_metrics::CostMetrics;
use super::generation_metrics::GenerationMetrics;
use super::http_metrics::HttpMetrics;
use super::labels::{GenerationLabels, ModelNames};
use super::process::Process;
use super::redis_metrics::{ReadRedisFigures, RedisMetrics};
use super::stream_metrics::StreamMetrics;
use super::total::{Total, Totals};
use super::upstream_health::{ReadUpstreamFigures, UpstreamHealth};
use super::upstream_metrics::{RetryCount, UpstreamMetrics};
use crate::domain::ReplicaId;

/// The metrics of one service. There is no global recorder, so that each service in the tests has its own.
///
/// The methods that count are in `recording.rs`.
#[derive(Debug)]
pub struct Metrics {
    replica: ReplicaId,
    registry: Registry,
    pub(super) models: Arc<ModelNames>,
    pub(super) generations: GenerationMetrics,
    pub(super) upstreams: UpstreamMetrics,
    pub(super) costs: CostMetrics,
    pub(super) streams: StreamMetrics,
    pub(super) http: HttpMetrics,
    capacities: Capacities,
    pub(super) totals: Totals,
    redis: RedisMetrics,
    upstream_health: UpstreamHealth,
}

impl Metrics {
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::default();
        let (capacities, totals, redis) = (Capacities::default(), Totals::default(), RedisMetrics::default());
        let generations = GenerationMetrics::register(&mut registry);
        let upstreams = UpstreamMetrics::register(&mut registry);
        let costs = CostMetrics::register(&mut registry);
        let streams = StreamMetrics::register(&mut registry);
        let http = HttpMetrics::register(&mut registry);
        let replica = ReplicaId::random();
        let program = [("version", env!("CARGO_PKG_VERSION").to_owned()), ("replica", replica.to_string())];
        registry.register("tokenrill_build", "The program, and this process of it", Info::new(program));
        registry.register_collector(Box::new(capacities.clone()));
        registry.register_collector(Box::new(totals.clone()));
        registry.register_collector(Box::new(redis.clone()));
        let models = Arc::new(ModelNames::default());
        let upstream_health = UpstreamHealth::new(Arc::clone(&models));
        registry.register_collector(Box::new(upstream_health.clone()));
        registry.register_collector(Box::new(Process));
        Arc::new(Self {
            replica,
            registry,
            models,
            generations,
            upstreams,
            costs,
            streams,
            http,
            capacities,
            totals,
            redis,
            upstream_health,
        })
    }

    /// Returns the id of this process, whose figures these are.
    pub const fn replica(&self) -> ReplicaId {
        self.replica
    }

    /// Creates the series of an upstream and of the models that the settings name. Starting them at 0 lets a rate
    /// include their first increment. `models` are names without wildcards.
    pub fn add_upstream<'a>(&self, upstream: &str, models: impl IntoIterator<Item = &'a str>) {
        let other = self.models.find(GenerationLabels { upstream, model: "" });
        self.generations.create(&other);
        for model in models {
            self.generations.create(&self.models.learn(GenerationLabels { upstream, model }));
        }
    }

    /// Adds the gauges of limited resources. Only the first call has an effect.
    pub fn set_capacities(&self, capacities: Vec<Capacity>) {
        _ = self.capacities.0.set(capacities);
    }

    /// Adds the counters of other modules. Only the first call has an effect.
    pub fn set_totals(&self, totals: Vec<Total>) {
        _ = self.totals.0.set(totals);
    }

    /// Adds the figures of Redis. Only the first call has an effect.
    pub fn set_redis(&self, read: ReadRedisFigures) {
        _ = self.redis.0.set(read);
    }

    /// Adds the health of upstreams. Only the first call has an effect.
    pub fn set_upstreams(&self, read: ReadUpstreamFigures) {
        _ = self.upstream_health.read.set(read);
    }

    /// Adds the counters of retried requests. Only the first call has an effect.
    pub fn set_retry_counts(&self, counts: Vec<RetryCount>) {
        _ = self.upstreams.retries.0.set(counts);
    }

    /// Returns the content type and all metrics in the OpenMetrics text format.
    pub fn render(&self) -> (&'static str, String) {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_the_version_and_the_capacities() {
        let metrics = Metrics::new();
        metrics.set_capacities(vec![Capacity::bytes("tokenrill_event_log", "Memory of logs", 100, || 7)]);
        let (_, text) = metrics.render();
        let (version, replica) = (env!("CARGO_PKG_VERSION"), metrics.replica());
        let version = format!("tokenrill_build_info{{version=\"{version}\",replica=\"{replica}\"}} 1");
        for line in [&version, "tokenrill_event_log_bytes 7", "tokenrill_event_log_limit_bytes 100"] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn upstream_has_its_series_before_its_first_generation() {
        let metrics = Metrics::new();
        metrics.add_upstream("local", ["qwen"]);
        let (_, text) = metrics.render();
        for model in ["qwen", "other"] {
            let line = format!(
                "tokenrill_generations_total{{outcome=\"failed\",upstream=\"local\",model=\"{model}\",error_type=\"\"}} 0"
            );
            assert!(text.contains(&line), "{line}: {text}");
        }
    }
}
