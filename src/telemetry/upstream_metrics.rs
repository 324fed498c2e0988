//! Metrics of attempts.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::generation_metrics::{GenAiLabels, duration_histogram};
use super::labels::{GenerationLabels, Outcome, Series};
use super::metrics::Metrics;

/// Why a request was sent to an upstream a second time within one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepeatReason {
    /// The reused connection ended before the request was fully written.
    NotFullyWritten,
    /// The reused connection ended within 1 s after the last byte of the request, without a response.
    KeepAliveRace,
    /// HTTP/2 `REFUSED_STREAM`, or a GOAWAY below the stream.
    RefusedStream,
    /// The upstream refused `stream_options`.
    StreamOptions,
    /// The upstream refused a limit's `max_completion_tokens`.
    MaxCompletionTokens,
    /// The upstream refused `stream: true`.
    Stream,
}

impl RepeatReason {
    const ALL: [Self; 6] = [
        Self::NotFullyWritten,
        Self::KeepAliveRace,
        Self::RefusedStream,
        Self::StreamOptions,
        Self::MaxCompletionTokens,
        Self::Stream,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::NotFullyWritten => "not_fully_written",
            Self::KeepAliveRace => "keep_alive_race",
            Self::RefusedStream => "refused_stream",
            Self::StreamOptions => "stream_options_refused",
            Self::MaxCompletionTokens => "max_completion_tokens_refused",
            Self::Stream => "stream_refused",
        }
    }
}

#[derive(Debug)]
pub(super) struct UpstreamMetrics {
    attempts: Family<AttemptLabels, Counter>,
    duration: Family<GenAiLabels, Histogram>,
    repeats: Family<RepeatLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    upstream: Arc<str>,
    model: Arc<str>,
    outcome: &'static str,
    error_type: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RepeatLabels {
    upstream: Arc<str>,
    reason: &'static str,
}

impl UpstreamMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            attempts: Family::default(),
            duration: Family::new_with_constructor(duration_histogram),
            repeats: Family::default(),
        };
        registry.register(
            "tokenrill_upstream_attempts",
            "Attempts that ended, by upstream, model, outcome and the API's code of the failure",
            metrics.attempts.clone(),
        );
        registry.register_with_unit(
            "gen_ai_client_operation_duration",
            "From the request to an upstream to the end of its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register(
            "tokenrill_upstream_repeats",
            "Requests that were sent to an upstream a second time, by reason",
            metrics.repeats.clone(),
        );
        metrics
    }

    /// Creates the series of an upstream, so that a rate over them has a beginning.
    pub fn create(&self, series: &Series) {
        for reason in RepeatReason::ALL {
            drop(self.repeats.get_or_create(&RepeatLabels::new(&series.upstream, reason)));
        }
    }
}

impl RepeatLabels {
    fn new(upstream: &Arc<str>, reason: RepeatReason) -> Self {
        Self { upstream: Arc::clone(upstream), reason: reason.name() }
    }
}

impl Metrics {
    /// Counts an attempt that has ended after `took`; `error_type` is the API's code of its failure.
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

    /// A request was sent to `upstream` a second time.
    pub fn upstream_repeated(&self, upstream: &str, reason: RepeatReason) {
        self.upstreams.repeats.get_or_create(&RepeatLabels::new(&upstream.into(), reason)).inc();
    }
}
