//! The methods that count.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::gauge::Gauge;
use super::generation_metrics::{EndedLabels, GenAiLabels, GenerationEnd, INPUT, OUTPUT, TokenUsageLabels};
use super::http_metrics::{HttpRequestLabels, LimitLabels};
use super::labels::{GenerationLabels, Outcome, Series};
use super::metrics::Metrics;
use super::stream_metrics::{LiveSubscriber, ResumeLabels, ResumedBy};
use super::upstream_metrics::{AttemptLabels, ModelLabels, RepeatLabels};
use crate::domain::Usd;

impl Metrics {
    /// Counts a generation as live until the gauge is dropped.
    pub fn generation(&self) -> Gauge {
        Gauge::new(&self.generations.live)
    }

    /// Counts a generation as waiting for a slot until the gauge is dropped.
    pub fn waiting(&self) -> Gauge {
        Gauge::new(&self.generations.waiting)
    }

    pub fn waited(&self, time: Duration) {
        self.generations.queue_time.observe(time.as_secs_f64());
    }

    /// Records the first text, reasoning or tool call of a generation, `after` its acceptance.
    pub fn first_token(&self, labels: GenerationLabels<'_>, after: Duration) {
        let series = self.models.learn(labels);
        let histogram = self.generations.first_token.get_or_create(&GenAiLabels::new(&series, None));
        histogram.observe(after.as_secs_f64());
        drop(histogram);
        self.generations.recent_first_tokens.add(after);
    }

    /// Counts a generation that has ended, with its tokens and times, and the tokens saved if it was cancelled.
    pub fn generation_ended(&self, labels: GenerationLabels<'_>, end: &GenerationEnd) {
        let GenerationEnd { outcome, error_type, usage, timings, output_limit } = *end;
        let series = if outcome == Outcome::Done { self.models.learn(labels) } else { self.models.find(labels) };
        let metrics = &self.generations;
        metrics.ended.get_or_create(&EndedLabels::new(&series, outcome, error_type)).inc();
        if let Some(total) = metrics.totals.get(outcome as usize) {
            total.fetch_add(1, Ordering::Relaxed);
        }
        let duration = metrics.duration.get_or_create(&GenAiLabels::new(&series, error_type));
        duration.observe(timings.total.as_secs_f64());
        drop(duration);
        let output_tokens = usage.and_then(|usage| usage.output_tokens);
        for (label, tokens) in [(INPUT, usage.map(|usage| usage.input_tokens)), (OUTPUT, output_tokens)] {
            let Some(tokens) = tokens else { continue };
            metrics.tokens.get_or_create(&label).inc_by(tokens);
            metrics.token_usage.get_or_create(&TokenUsageLabels::new(&series, &label)).observe(tokens_as_f64(tokens));
        }
        let Some(output_tokens) = output_tokens else { return };
        match outcome {
            Outcome::Done => {
                if let Some(first_token) = timings.first_token.filter(|_| output_tokens > 1) {
                    let after_first = timings.total.saturating_sub(first_token).as_secs_f64();
                    let histogram = metrics.time_per_token.get_or_create(&GenAiLabels::new(&series, None));
                    histogram.observe(after_first / tokens_as_f64(output_tokens - 1));
                }
                metrics.expected_output.add(series, output_tokens);
            }
            Outcome::Cancelled => {
                let expected = metrics.expected_output.mean(&series).unwrap_or_default();
                let expected = expected.min(output_limit.unwrap_or(u64::MAX));
                metrics.tokens_saved.inc_by(expected.saturating_sub(output_tokens));
            }
            Outcome::Failed => {}
        }
    }

    /// Counts the tokens of a request for embeddings that has ended.
    pub fn embedded(&self, input_tokens: u64) {
        self.generations.tokens.get_or_create(&INPUT).inc_by(input_tokens);
    }

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

    /// Counts an attempt that follows a failed one.
    pub fn attempt_repeated(&self, labels: GenerationLabels<'_>, reason: &'static str) {
        let Series { upstream, model } = self.models.find(labels);
        self.upstreams.repeated.get_or_create(&RepeatLabels { upstream, model, reason }).inc();
    }

    /// Counts what an attempt cost. Its model exists, since it has a price.
    pub fn spent(&self, labels: GenerationLabels<'_>, cost: Usd) {
        self.costs.costs.add(self.models.learn(labels), cost);
    }

    /// Counts a generation whose cost is unknown.
    pub fn unpriced(&self, labels: GenerationLabels<'_>) {
        let Series { upstream, model } = self.models.find(labels);
        self.costs.unpriced.get_or_create(&ModelLabels { upstream, model }).inc();
    }

    /// Counts lines of the usage ledger that could not be written.
    pub fn usage_lines_lost(&self, lines: u64) {
        self.costs.lost_lines.inc_by(lines);
    }

    pub fn lost_usage_lines(&self) -> u64 {
        self.costs.lost_lines.get()
    }

    /// Counts a viewer until the gauge is dropped.
    pub fn viewer(&self) -> Gauge {
        Gauge::new(&self.streams.viewers)
    }

    /// Counts a subscriber until the return value is dropped.
    pub fn subscriber(&self) -> LiveSubscriber {
        LiveSubscriber::new(&self.streams.subscribers, self.streams.gaps.clone())
    }

    pub fn published(&self) {
        self.streams.published.inc();
    }

    /// Counts a piece of an answer that an upstream sent.
    pub fn piece(&self) {
        self.streams.pieces.inc();
    }

    pub fn resumed(&self, by: ResumedBy) {
        self.streams.resumes.get_or_create(&ResumeLabels { by: by.name() }).inc();
    }

    /// Counts a resume or a repeat that was refused with `history_lost`.
    pub fn history_lost(&self) {
        self.streams.history_lost.inc();
    }

    /// Counts a request whose response head is ready.
    pub fn http_request(&self, labels: &HttpRequestLabels) {
        self.http.requests.get_or_create(labels).inc();
    }

    /// Counts a request that `limit` refused, which must be one of `LIMITS`.
    pub fn refused(&self, limit: &'static str) {
        self.http.refusals.get_or_create(&LimitLabels { limit }).inc();
    }

    pub fn panicked(&self) {
        self.http.panics.inc();
    }
}

#[expect(clippy::cast_precision_loss, reason = "a histogram's sum is a float")]
const fn tokens_as_f64(tokens: u64) -> f64 {
    tokens as f64
}
