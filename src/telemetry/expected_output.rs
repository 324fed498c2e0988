//! The mean length of answers, per upstream and model.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::labels::Series;

/// The mean number of output tokens of recent answers of each series, over all callers. Decays: the newest answer has a
/// weight of one tenth. Used only for a metric: a caller's reservation must not depend on other callers
/// (`limits::OutputEstimate`).
#[derive(Debug, Default)]
pub(super) struct ExpectedOutput(Mutex<HashMap<Series, Mean>>);

#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    answers: u32,
    tokens: f64,
}

/// From this number of answers on, the newest one has a weight of one in this number.
const REMEMBERED: u32 = 10;

impl ExpectedOutput {
    /// Adds a complete answer.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn add(&self, series: Series, tokens: u64) {
        let mut means = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mean = means.entry(series).or_default();
        mean.answers = (mean.answers + 1).min(REMEMBERED);
        mean.tokens += (tokens as f64 - mean.tokens) / f64::from(mean.answers);
    }

    /// Returns `None` before the first answer of the series.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of counts")]
    pub fn mean(&self, series: &Series) -> Option<u64> {
        let means = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        means.get(series).map(|mean| mean.tokens.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(model: &str) -> Series {
        Series { upstream: "u".into(), model: model.into() }
    }

    #[test]
    fn each_model_has_its_own_decaying_mean() {
        let expected = ExpectedOutput::default();
        assert_eq!(expected.mean(&series("short")), None);
        for tokens in [80, 120] {
            expected.add(series("short"), tokens);
        }
        expected.add(series("long"), 10_000);
        assert_eq!(expected.mean(&series("short")), Some(100));
        assert_eq!(expected.mean(&series("long")), Some(10_000));
        for _ in 0..100 {
            expected.add(series("long"), 10);
        }
        assert_eq!(expected.mean(&series("long")), Some(10));
    }
}
