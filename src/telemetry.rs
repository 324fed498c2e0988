//! What an operator sees: logs and metrics. Every metric is named here and nowhere else.
//!
//! Names follow OpenTelemetry's semantic conventions for generative AI where there is one, in
//! Prometheus's spelling. Labels come from closed lists, so that no caller can multiply the series.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::panic;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::EnvFilter;

use crate::domain::Usage;

/// The figures of this process. Tests have one each: there is no global recorder.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    generations: Family<OutcomeLabel, Counter>,
    generations_live: gauge::Gauge,
    viewers_live: gauge::Gauge,
    subscribers_live: gauge::Gauge,
    published: Counter,
    pieces: Counter,
    recent: RecentFirstTokens,
    waiting: gauge::Gauge,
    waited: Histogram,
    refusals: Family<LimitLabel, Counter>,
    panics: Counter,
    tokens: Family<TokenLabel, Counter>,
    tokens_saved: Counter,
    whole_answers: WholeAnswers,
    first_token: Histogram,
    duration: Histogram,
}

/// How a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Cancelled,
    Failed,
}

impl Outcome {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabel {
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

/// What there may be not enough of.
const LIMITS: [&str; 6] = ["requests", "tokens", "generations", "connections", "subscribers", "memory"];

const INPUT: TokenLabel = TokenLabel { r#type: "input" };
const OUTPUT: TokenLabel = TokenLabel { r#type: "output" };

impl From<Outcome> for OutcomeLabel {
    fn from(outcome: Outcome) -> Self {
        Self { outcome: outcome.name() }
    }
}

/// One of something that lives; dropping it takes it off its gauge.
#[derive(Debug)]
pub struct Gauge(gauge::Gauge<i64, AtomicI64>);

impl Gauge {
    fn new(gauge: &gauge::Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The buckets that OpenTelemetry advises for the time to the first token and for whole requests, in
/// seconds.
const FIRST_TOKEN_BUCKETS: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const DURATION_BUCKETS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

impl Metrics {
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::default();
        let metrics = Self {
            generations: Family::default(),
            generations_live: gauge::Gauge::default(),
            viewers_live: gauge::Gauge::default(),
            subscribers_live: gauge::Gauge::default(),
            published: Counter::default(),
            pieces: Counter::default(),
            recent: RecentFirstTokens::default(),
            waiting: gauge::Gauge::default(),
            waited: Histogram::new(DURATION_BUCKETS),
            refusals: Family::default(),
            panics: Counter::default(),
            tokens: Family::default(),
            tokens_saved: Counter::default(),
            whole_answers: WholeAnswers::default(),
            first_token: Histogram::new(FIRST_TOKEN_BUCKETS),
            duration: Histogram::new(DURATION_BUCKETS),
            registry: Registry::default(),
        };
        // Every series is there from the start, so that a rate over it has a beginning.
        for outcome in [Outcome::Done, Outcome::Cancelled, Outcome::Failed] {
            drop(metrics.generations.get_or_create(&outcome.into()));
        }
        for limit in LIMITS {
            drop(metrics.refusals.get_or_create(&LimitLabel { limit }));
        }
        for label in [INPUT, OUTPUT] {
            drop(metrics.tokens.get_or_create(&label));
        }
        registry.register("tokenrill_generations", "Generations that ended, by outcome", metrics.generations.clone());
        registry.register("tokenrill_generations_live", "Generations that run now", metrics.generations_live.clone());
        registry.register(
            "tokenrill_viewers_live",
            "Viewers that follow a generation now",
            metrics.viewers_live.clone(),
        );
        registry.register(
            "tokenrill_subscribers_live",
            "Subscribers that follow a channel now",
            metrics.subscribers_live.clone(),
        );
        registry.register("tokenrill_channel_events", "Events that callers published", metrics.published.clone());
        registry.register(
            "tokenrill_pieces",
            "Pieces of answers, each a token as a rule, as providers sent them",
            metrics.pieces.clone(),
        );
        registry.register(
            "tokenrill_generations_waiting",
            "Generations that wait for a place to run",
            metrics.waiting.clone(),
        );
        registry.register_with_unit(
            "tokenrill_queue_time",
            "From the acceptance of a generation to the moment at which its model is asked",
            Unit::Seconds,
            metrics.waited.clone(),
        );
        registry.register("tokenrill_refusals", "Requests beyond a limit, by the limit", metrics.refusals.clone());
        registry.register("tokenrill_panics", "Defects that ended one request or generation", metrics.panics.clone());
        registry.register("tokenrill_tokens", "Tokens of ended generations, by type", metrics.tokens.clone());
        registry.register(
            "tokenrill_tokens_saved",
            "Output tokens that cancelled generations did not come to, an estimate: what they lacked to the mean of those that were done, or to their request's limit where that is less",
            metrics.tokens_saved.clone(),
        );
        registry.register_with_unit(
            "gen_ai_server_time_to_first_token",
            "From the acceptance of a generation to its first text, reasoning or tool call",
            Unit::Seconds,
            metrics.first_token.clone(),
        );
        registry.register_with_unit(
            "gen_ai_server_request_duration",
            "From the acceptance of a generation to its end",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        Arc::new(Self { registry, ..metrics })
    }

    /// All figures in OpenMetrics text, with the content type that belongs to it.
    pub fn render(&self) -> (&'static str, String) {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", text)
    }

    pub fn generation(&self) -> Gauge {
        Gauge::new(&self.generations_live)
    }

    pub fn viewer(&self) -> Gauge {
        Gauge::new(&self.viewers_live)
    }

    pub fn subscriber(&self) -> Gauge {
        Gauge::new(&self.subscribers_live)
    }

    pub fn published(&self) {
        self.published.inc();
    }

    /// A provider sent a piece of an answer.
    pub fn piece(&self) {
        self.pieces.inc();
    }

    pub fn waiting(&self) -> Gauge {
        Gauge::new(&self.waiting)
    }

    pub fn waited(&self, time: Duration) {
        self.waited.observe(time.as_secs_f64());
    }

    /// A request was refused; `limit` is one of those that are registered.
    pub fn refused(&self, limit: &'static str) {
        self.refusals.get_or_create(&LimitLabel { limit }).inc();
    }

    pub fn panicked(&self) {
        self.panics.inc();
    }

    pub fn first_token(&self, after: Duration) {
        self.first_token.observe(after.as_secs_f64());
        self.recent.add(after);
    }

    /// The figures that a page shows. Totals are since the start.
    pub fn figures(&self) -> Figures {
        let ended = |outcome: Outcome| self.generations.get_or_create(&outcome.into()).get();
        let now = |gauge: &gauge::Gauge| u64::try_from(gauge.get()).unwrap_or_default();
        let refused = |limit| self.refusals.get_or_create(&LimitLabel { limit }).get();
        let waiting = now(&self.waiting);
        Figures {
            viewers: now(&self.viewers_live),
            subscribers: now(&self.subscribers_live),
            running: now(&self.generations_live).saturating_sub(waiting),
            waiting,
            ended: [Outcome::Done, Outcome::Cancelled, Outcome::Failed].map(ended),
            input_tokens: self.tokens.get_or_create(&INPUT).get(),
            output_tokens: self.tokens.get_or_create(&OUTPUT).get(),
            tokens_saved: self.tokens_saved.get(),
            pieces: self.pieces.get(),
            first_token: self.recent.percentiles(),
            refusals: LIMITS.map(refused).iter().sum(),
        }
    }

    pub fn ended(&self, outcome: Outcome, usage: Usage, after: Duration) {
        self.generations.get_or_create(&outcome.into()).inc();
        self.tokens.get_or_create(&INPUT).inc_by(usage.input_tokens);
        self.tokens.get_or_create(&OUTPUT).inc_by(usage.output_tokens.unwrap_or_default());
        self.duration.observe(after.as_secs_f64());
        if outcome == Outcome::Done {
            self.whole_answers.add(usage.output_tokens.unwrap_or_default());
        }
    }

    /// How many tokens an answer may come to, of at most `limit`: as many as the others, or before the first a few.
    pub fn expected_output(&self, limit: Option<u64>) -> u64 {
        const FEW: u64 = 256;
        self.whole_answers.mean().unwrap_or(FEW).min(limit.unwrap_or(u64::MAX))
    }

    /// A generation was stopped when it had written so many tokens, of at most `limit`.
    pub fn stopped(&self, written: u64, limit: Option<u64>) {
        let expected = self.whole_answers.mean().unwrap_or_default().min(limit.unwrap_or(u64::MAX));
        self.tokens_saved.inc_by(expected.saturating_sub(written));
    }
}

/// What the process holds of the machine's memory, in bytes, where the system says so (proc(5), `VmRSS`).
pub fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// What [`Metrics::figures`] tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    pub viewers: u64,
    pub subscribers: u64,
    pub running: u64,
    pub waiting: u64,
    /// Done, cancelled, failed.
    pub ended: [u64; 3],
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub tokens_saved: u64,
    /// Pieces of answers that providers sent.
    pub pieces: u64,
    /// The median and the 95th percentile of the last generations, once there was one.
    pub first_token: Option<[Duration; 2]>,
    pub refusals: u64,
}

/// How long the last generations took to their first token.
#[derive(Debug, Default)]
struct RecentFirstTokens(Mutex<VecDeque<Duration>>);

impl RecentFirstTokens {
    const KEPT: usize = 100;

    fn add(&self, after: Duration) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() == Self::KEPT {
            recent.pop_front();
        }
        recent.push_back(after);
    }

    /// The nearest ranks.
    fn percentiles(&self) -> Option<[Duration; 2]> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: Vec<_> = recent.iter().copied().collect();
        drop(recent);
        sorted.sort_unstable();
        let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some([rank(50)?, rank(95)?])
    }
}

/// The answers that came to their end. Before the first there is nothing to expect.
#[derive(Debug, Default)]
struct WholeAnswers {
    count: AtomicU64,
    tokens: AtomicU64,
}

impl WholeAnswers {
    fn add(&self, tokens: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    fn mean(&self) -> Option<u64> {
        self.tokens.load(Ordering::Relaxed).checked_div(self.count.load(Ordering::Relaxed))
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Pretty,
    Json,
}

/// Makes each panic one line of the log, with its place. What it says may hold anything, and is not told.
pub fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
        tracing::error!(place, "a panic: a defect");
    }));
}

/// Writes log lines to standard error, by `RUST_LOG` or else from `info` on.
///
/// async-openai is always off: it logs whole bodies, prompts and answers included, where it cannot
/// parse them.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = match "async_openai=off".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    };
    let colours = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    // A terminal that has gone would make the next line a panic.
    let subscriber = subscriber.log_internal_errors(false);
    match format {
        LogFormat::Pretty => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run as a process of its own, since the hook is the process's.
    #[test]
    fn a_panic_is_told_by_its_place_and_not_by_its_words() {
        const CHILD: &str = "TOKENRILL_TEST_PANICS";
        if std::env::var_os(CHILD).is_some() {
            init(LogFormat::Json);
            log_panics();
            panic!("hunter2");
        }
        let name = "telemetry::tests::a_panic_is_told_by_its_place_and_not_by_its_words";
        let program = std::env::current_exe().expect("a path");
        let child = std::process::Command::new(program).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output();
        let said = child.expect("it runs");
        let said = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
        assert!(said.contains("a panic: a defect") && said.contains("src/telemetry.rs:"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn a_page_is_told_the_nearest_ranks_of_the_last_hundred() {
        let metrics = Metrics::new();
        assert_eq!(metrics.figures().first_token, None);
        (1..=150).for_each(|millis| metrics.first_token(Duration::from_millis(millis)));
        assert_eq!(metrics.figures().first_token, Some([100, 145].map(Duration::from_millis)));
    }

    #[test]
    fn what_a_stop_saves_is_what_was_lacking_to_the_mean_or_the_limit() {
        let metrics = Metrics::new();
        let saved = || metrics.tokens_saved.get();
        metrics.stopped(5, Some(4096));
        assert_eq!(saved(), 0, "nothing is known yet of how long answers are");
        for tokens in [80, 120] {
            let usage = Usage { output_tokens: Some(tokens), ..Usage::default() };
            metrics.ended(Outcome::Done, usage, Duration::ZERO);
        }
        metrics.stopped(10, None);
        assert_eq!(saved(), 90);
        metrics.stopped(10, Some(30));
        assert_eq!(saved(), 110);
        metrics.stopped(500, None);
        assert_eq!(saved(), 110);
    }
}
