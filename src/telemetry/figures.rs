//! The figures that the metrics page of the playground shows.

use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::metrics::gauge;

use super::generation_metrics::{INPUT, OUTPUT};
use super::metrics::Metrics;

/// The content of an event of the channel `system.metrics`. Totals are since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    pub viewers: u64,
    pub subscribers: u64,
    pub running: u64,
    pub waiting: u64,
    /// Done, cancelled and failed.
    pub ended: [u64; 3],
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub tokens_saved: u64,
    /// Pieces of answers that providers sent.
    pub pieces: u64,
    /// The median and the 95th percentile of the last generations; `None` before the first.
    pub first_token: Option<[Duration; 2]>,
    pub refusals: u64,
}

impl Metrics {
    pub fn figures(&self) -> Figures {
        let now = |gauge: &gauge::Gauge| u64::try_from(gauge.get()).unwrap_or_default();
        let generations = &self.generations;
        let waiting = now(&generations.waiting);
        Figures {
            viewers: now(&self.streams.viewers),
            subscribers: now(&self.streams.subscribers),
            running: now(&generations.live).saturating_sub(waiting),
            waiting,
            ended: generations.totals.each_ref().map(|total| total.load(Ordering::Relaxed)),
            input_tokens: generations.tokens.get_or_create(&INPUT).get(),
            output_tokens: generations.tokens.get_or_create(&OUTPUT).get(),
            tokens_saved: generations.tokens_saved.get(),
            pieces: self.streams.pieces.get(),
            first_token: generations.recent_first_tokens.percentiles(),
            refusals: self.http.refusals(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::GenerationLabels;

    #[test]
    fn percentiles_are_the_nearest_ranks_of_the_last_hundred() {
        let metrics = Metrics::new();
        assert_eq!(metrics.figures().first_token, None);
        let labels = GenerationLabels { upstream: "u", model: "m" };
        (1..=150).for_each(|millis| metrics.first_token(labels, Duration::from_millis(millis)));
        assert_eq!(metrics.figures().first_token, Some([100, 145].map(Duration::from_millis)));
    }
}
