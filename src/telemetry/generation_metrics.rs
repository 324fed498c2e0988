//! Metrics of generations.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::expected_output::ExpectedOutput;
use super::labels::{Outcome, Series};
use super::recent_first_tokens::RecentFirstTokens;
use crate::domain::{Timings, Usage};

/// How a generation ended, for [`Metrics::generation_ended`](super::Metrics::generation_ended).
#[derive(Debug, Clone, Copy)]
pub struct GenerationEnd {
    pub outcome: Outcome,
    /// The API's error code of the failure.
    pub error_type: Option<&'static str>,
    /// `None` if the upstream refused the request.
    pub usage: Option<Usage>,
    pub timings: Timings,
    /// The request's limit of output tokens.
    pub output_limit: Option<u64>,
}

#[derive(Debug)]
pub(super) struct GenerationMetrics {
    pub ended: Family<EndedLabels, Counter>,
    /// The sums of `ended` by outcome, in the order of [`Outcome::ALL`].
    pub totals: [AtomicU64; 3],
    pub live: gauge::Gauge,
    pub waiting: gauge::Gauge,
    pub queue_time: Histogram,
    pub tokens: Family<TokenLabels, Counter>,
    pub tokens_saved: Counter,
    pub expected_output: ExpectedOutput,
    pub recent_first_tokens: RecentFirstTokens,
    pub first_token: Family<GenAiLabels, Histogram>,
    pub time_per_token: Family<GenAiLabels, Histogram>,
    pub duration: Family<GenAiLabels, Histogram>,
    pub token_usage: Family<TokenUsageLabels, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct EndedLabels {
    outcome: &'static str,
    upstream: Arc<str>,
    model: Arc<str>,
    error_type: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TokenLabels {
    r#type: &'static str,
}

pub(super) const INPUT: TokenLabels = TokenLabels { r#type: "input" };
pub(super) const OUTPUT: TokenLabels = TokenLabels { r#type: "output" };

/// The attributes that OpenTelemetry's conventions for generative AI require. The provider is the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct GenAiLabels {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: Arc<str>,
    gen_ai_request_model: Arc<str>,
    error_type: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(clippy::struct_field_names, reason = "the names of OpenTelemetry")]
pub(super) struct TokenUsageLabels {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: Arc<str>,
    gen_ai_request_model: Arc<str>,
    gen_ai_token_type: &'static str,
}

/// The operation of every generation.
const CHAT: &str = "chat";

impl GenAiLabels {
    pub fn new(series: &Series, error_type: Option<&'static str>) -> Self {
        Self {
            gen_ai_operation_name: CHAT,
            gen_ai_provider_name: Arc::clone(&series.upstream),
            gen_ai_request_model: Arc::clone(&series.model),
            error_type,
        }
    }
}

impl TokenUsageLabels {
    pub fn new(series: &Series, token_type: &TokenLabels) -> Self {
        Self {
            gen_ai_operation_name: CHAT,
            gen_ai_provider_name: Arc::clone(&series.upstream),
            gen_ai_request_model: Arc::clone(&series.model),
            gen_ai_token_type: token_type.r#type,
        }
    }
}

/// The buckets that OpenTelemetry's conventions for generative AI recommend, in seconds; those of usage are in tokens.
const FIRST_TOKEN_BUCKETS: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const DURATION_BUCKETS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TIME_PER_TOKEN_BUCKETS: [f64; 13] = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
const USAGE_BUCKETS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

pub(super) fn duration_histogram() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

impl GenerationMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            ended: Family::default(),
            totals: Default::default(),
            live: gauge::Gauge::default(),
            waiting: gauge::Gauge::default(),
            queue_time: duration_histogram(),
            tokens: Family::default(),
            tokens_saved: Counter::default(),
            expected_output: ExpectedOutput::default(),
            recent_first_tokens: RecentFirstTokens::default(),
            first_token: Family::new_with_constructor(|| Histogram::new(FIRST_TOKEN_BUCKETS)),
            time_per_token: Family::new_with_constructor(|| Histogram::new(TIME_PER_TOKEN_BUCKETS)),
            duration: Family::new_with_constructor(duration_histogram),
            token_usage: Family::new_with_constructor(|| Histogram::new(USAGE_BUCKETS)),
        };
        for label in [INPUT, OUTPUT] {
            drop(metrics.tokens.get_or_create(&label));
        }
        registry.register(
            "tokenrill_generations",
            "Generations that ended, by outcome, upstream, model and the API's code of the failure",
            metrics.ended.clone(),
        );
        registry.register(
            "tokenrill_generations_live",
            "Generations that are running or waiting",
            metrics.live.clone(),
        );
        registry.register(
            "tokenrill_generations_waiting",
            "Generations that are waiting for a slot",
            metrics.waiting.clone(),
        );
        registry.register_with_unit(
            "tokenrill_queue_time",
            "Time from accepting a generation to sending its upstream request",
            Unit::Seconds,
            metrics.queue_time.clone(),
        );
        registry.register(
            "tokenrill_tokens",
            "Tokens of ended generations and of embeddings, by type",
            metrics.tokens.clone(),
        );
        registry.register(
            "tokenrill_tokens_saved",
            "Estimate of the output tokens that cancellations saved: the recent mean over all callers' answers of the model, or the request's limit if that is less, minus the tokens written",
            metrics.tokens_saved.clone(),
        );
        for (name, help, family) in [
            (
                "gen_ai_server_time_to_first_token",
                "Time from accepting a generation to its first text, reasoning or tool call",
                &metrics.first_token,
            ),
            (
                "gen_ai_server_time_per_output_token",
                "Mean time per output token after the first, of complete answers",
                &metrics.time_per_token,
            ),
            ("gen_ai_server_request_duration", "Time from accepting a generation to its end", &metrics.duration),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
        }
        registry.register(
            "gen_ai_client_token_usage",
            "Tokens of each ended generation, by type",
            metrics.token_usage.clone(),
        );
        metrics
    }

    /// Creates the series of a model. Starting them at 0 lets a rate include their first increment.
    pub fn create(&self, series: &Series) {
        for outcome in Outcome::ALL {
            drop(self.ended.get_or_create(&EndedLabels::new(series, outcome, None)));
        }
        drop(self.first_token.get_or_create(&GenAiLabels::new(series, None)));
        drop(self.duration.get_or_create(&GenAiLabels::new(series, None)));
    }
}

impl EndedLabels {
    pub fn new(series: &Series, outcome: Outcome, error_type: Option<&'static str>) -> Self {
        Self {
            outcome: outcome.name(),
            upstream: Arc::clone(&series.upstream),
            model: Arc::clone(&series.model),
            error_type,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::{GenerationLabels, Metrics};

    const LABELS: GenerationLabels<'_> = GenerationLabels { upstream: "openai", model: "gpt" };

    fn end(outcome: Outcome, output_tokens: u64, output_limit: Option<u64>) -> GenerationEnd {
        let usage = Usage { input_tokens: 7, output_tokens: Some(output_tokens), ..Usage::default() };
        let timings = Timings { first_token: Some(Duration::from_secs(1)), total: Duration::from_secs(3) };
        GenerationEnd { outcome, error_type: None, usage: Some(usage), timings, output_limit }
    }

    #[test]
    fn cancellation_saves_tokens_up_to_the_mean_or_the_limit() {
        let metrics = Metrics::new();
        let saved = || metrics.generations.tokens_saved.get();
        metrics.generation_ended(LABELS, &end(Outcome::Cancelled, 5, Some(4096)));
        assert_eq!(saved(), 0, "the length of answers is not known yet");
        for tokens in [80, 120] {
            metrics.generation_ended(LABELS, &end(Outcome::Done, tokens, None));
        }
        metrics.generation_ended(LABELS, &end(Outcome::Cancelled, 10, None));
        assert_eq!(saved(), 90);
        metrics.generation_ended(LABELS, &end(Outcome::Cancelled, 10, Some(30)));
        assert_eq!(saved(), 110);
        metrics.generation_ended(LABELS, &end(Outcome::Cancelled, 500, None));
        assert_eq!(saved(), 110);
    }

    #[test]
    fn series_carry_the_attributes_of_the_conventions() {
        let metrics = Metrics::new();
        metrics.first_token(LABELS, Duration::from_millis(300));
        metrics.generation_ended(LABELS, &end(Outcome::Done, 101, None));
        let failed =
            GenerationEnd { error_type: Some("upstream_rejected"), usage: None, ..end(Outcome::Failed, 0, None) };
        metrics.generation_ended(GenerationLabels { model: "typo", ..LABELS }, &failed);
        let (_, text) = metrics.render();
        let gen_ai = |model: &str| {
            format!("gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\",gen_ai_request_model=\"{model}\"")
        };
        for line in [
            format!("gen_ai_server_time_to_first_token_seconds_count{{{},error_type=\"\"}} 1", gen_ai("gpt")),
            format!("gen_ai_server_time_per_output_token_seconds_sum{{{},error_type=\"\"}} 0.02", gen_ai("gpt")),
            format!("gen_ai_server_request_duration_seconds_count{{{},error_type=\"\"}} 1", gen_ai("gpt")),
            format!(
                "gen_ai_server_request_duration_seconds_count{{{},error_type=\"upstream_rejected\"}} 1",
                gen_ai("other")
            ),
            format!("gen_ai_client_token_usage_sum{{{},gen_ai_token_type=\"output\"}} 101.0", gen_ai("gpt")),
            "tokenrill_generations_total{outcome=\"failed\",upstream=\"openai\",model=\"other\",error_type=\"upstream_rejected\"} 1"
                .to_owned(),
            "tokenrill_tokens_total{type=\"input\"} 7".to_owned(),
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}: {text}");
        }
    }
}
