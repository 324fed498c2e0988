//! Metrics of attempts at an upstream.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::generation_metrics::{GenAiLabels, duration_histogram};
use super::labels::{GenerationLabels, Outcome, Series};
use super::metrics::Metrics;

/// A counter of requests that were sent to an upstream a second time for one reason. Each scrape calls `count`, which
/// must not block.
pub struct RepeatCount {
    pub reason: &'static str,
    pub count: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// The counters of repeats, once [`Metrics::set_repeat_counts`] was called.
#[derive(Clone, Default)]
struct RepeatCounts(Arc<OnceLock<Vec<RepeatCount>>>);

impl Collector for RepeatCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(counts) = self.0.get() else { return Ok(()) };
        let help = "Requests that were sent to an upstream a second time, by reason";
        let mut metric = encoder.encode_descriptor("tokenrill_upstream_repeats", help, None, MetricType::Counter)?;
        for RepeatCount { reason, count } in counts {
            ConstCounter::<u64>::new(count()).encode(metric.encode_family(&[("reason", *reason)])?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for RepeatCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.get().into_iter().flatten().map(|count| count.reason)).finish()
    }
}

#[derive(Debug)]
pub(super) struct UpstreamMetrics {
    attempts: Family<AttemptLabels, Counter>,
    duration: Family<GenAiLabels, Histogram>,
    repeats: RepeatCounts,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    upstream: Arc<str>,
    model: Arc<str>,
    outcome: &'static str,
    error_type: Option<&'static str>,
}

impl UpstreamMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            attempts: Family::default(),
            duration: Family::new_with_constructor(duration_histogram),
            repeats: RepeatCounts::default(),
        };
        registry.register(
            "tokenrill_upstream_attempts",
            "Attempts that ended, by upstream, model, outcome and the API's code of the failure",
            metrics.attempts.clone(),
        );
        registry.register_with_unit(
            "gen_ai_client_operation_duration",
            "Time from the request to an upstream to the end of its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register_collector(Box::new(metrics.repeats.clone()));
        metrics
    }
}

impl Metrics {
    /// Counts an attempt that ended after `took`. `error_type` is the API's error code of its failure.
    pub fn attempt_ended(
        &self,
        labels: GenerationLabels<'_>,
        outcome: Outcome,
        error_type: Option<&'static str>,
        took: Duration,
    ) {
        let series = if outcome == Outcome::Done { self.models.learn(labels) } else { self.models.find(labels) };
        self.upstreams.duration.get_or_create(&GenAiLabels::new(&series, error_type)).observe(took.as_secs_f64());
        let Series { upstream, model } = series;
        let labels = AttemptLabels { upstream, model, outcome: outcome.name(), error_type };
        self.upstreams.attempts.get_or_create(&labels).inc();
    }

    /// Adds the counters of repeated requests. Only the first call has an effect.
    pub fn set_repeat_counts(&self, counts: Vec<RepeatCount>) {
        _ = self.upstreams.repeats.0.set(counts);
    }
}
