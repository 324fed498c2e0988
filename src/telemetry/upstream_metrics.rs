//! Metrics of attempts at an upstream.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::generation_metrics::{GenAiLabels, duration_histogram};

/// A counter of requests that were sent to an upstream a second time for one reason. Each scrape calls `count`, which
/// must not block.
pub struct RetryCount {
    pub reason: &'static str,
    pub count: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// The counters of retries, once [`Metrics::set_retry_counts`](super::Metrics::set_retry_counts) was called.
#[derive(Clone, Default)]
pub(super) struct RetryCounts(pub Arc<OnceLock<Vec<RetryCount>>>);

impl Collector for RetryCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(counts) = self.0.get() else { return Ok(()) };
        let help = "Requests that were sent to an upstream a second time, by reason";
        let mut metric = encoder.encode_descriptor("tokenrill_upstream_repeats", help, None, MetricType::Counter)?;
        for RetryCount { reason, count } in counts {
            ConstCounter::<u64>::new(count()).encode(metric.encode_family(&[("reason", *reason)])?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for RetryCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.get().into_iter().flatten().map(|count| count.reason)).finish()
    }
}

#[derive(Debug)]
pub(super) struct UpstreamMetrics {
    pub attempts: Family<AttemptLabels, Counter>,
    pub duration: Family<GenAiLabels, Histogram>,
    pub retries: RetryCounts,
    pub repeated: Family<RepeatLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RepeatLabels {
    pub upstream: Arc<str>,
    pub model: Arc<str>,
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AttemptLabels {
    pub upstream: Arc<str>,
    pub model: Arc<str>,
    pub outcome: &'static str,
    pub error_type: Option<&'static str>,
}

/// An upstream and one of its models.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ModelLabels {
    pub upstream: Arc<str>,
    pub model: Arc<str>,
}

impl UpstreamMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            attempts: Family::default(),
            duration: Family::new_with_constructor(duration_histogram),
            retries: RetryCounts::default(),
            repeated: Family::default(),
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
        registry.register(
            "tokenrill_upstream_repeated_attempts",
            "Attempts that followed a failed one, by upstream and model of the new attempt, and by reason: retry, other_key, \
             fallback",
            metrics.repeated.clone(),
        );
        registry.register_collector(Box::new(metrics.retries.clone()));
        metrics
    }
}
