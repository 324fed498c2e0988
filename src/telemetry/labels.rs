//! Labels with a bounded number of values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

/// The number of models that have their own series, over all upstreams. If an upstream accepts any model name, clients
/// choose the names, so further models share the label `other`.
pub const MAX_MODEL_LABELS: usize = 100;

/// The label of a model that has not answered and is not named in the settings, or that was seen after
/// [`MAX_MODEL_LABELS`] others.
const OTHER_MODEL: &str = "other";

/// How a generation or an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Cancelled,
    Failed,
}

impl Outcome {
    pub const ALL: [Self; 3] = [Self::Done, Self::Cancelled, Self::Failed];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// The upstream and the model of a generation or an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationLabels<'a> {
    /// The upstream's name in the settings, or `demo`.
    pub upstream: &'a str,
    /// The name in the request. The label omits a `?` and the text after it: options of the embedded model.
    pub model: &'a str,
}

/// An upstream and one of its models, as labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Series {
    pub upstream: Arc<str>,
    pub model: Arc<str>,
}

/// The models that have their own labels.
#[derive(Debug)]
pub(super) struct ModelNames {
    other: Arc<str>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    models: usize,
    by_upstream: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Default for ModelNames {
    fn default() -> Self {
        Self { other: OTHER_MODEL.into(), known: RwLock::default() }
    }
}

impl ModelNames {
    /// Returns the labels of a model that may not exist; an unknown one is `other`.
    pub fn find(&self, labels: GenerationLabels<'_>) -> Series {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let upstream = known.by_upstream.get_key_value(labels.upstream);
        let model = upstream.and_then(|(_, models)| models.get(labels.name()));
        Series {
            upstream: upstream.map_or_else(|| labels.upstream.into(), |(name, _)| Arc::clone(name)),
            model: Arc::clone(model.unwrap_or(&self.other)),
        }
    }

    /// Returns the labels of a model that exists, since it has answered or the settings name it. Adds it if it is new.
    pub fn learn(&self, labels: GenerationLabels<'_>) -> Series {
        let series = self.find(labels);
        if series.model != self.other {
            return series;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.models >= MAX_MODEL_LABELS {
            return series;
        }
        let model: Arc<str> = labels.name().into();
        let models = known.by_upstream.entry(Arc::clone(&series.upstream)).or_default();
        if models.insert(Arc::clone(&model)) {
            known.models += 1;
        }
        Series { model, ..series }
    }
}

impl<'a> GenerationLabels<'a> {
    fn name(self) -> &'a str {
        self.model.split_once('?').map_or(self.model, |(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels<'a>(upstream: &'a str, model: &'a str) -> GenerationLabels<'a> {
        GenerationLabels { upstream, model }
    }

    #[test]
    fn a_model_that_never_answered_is_labelled_other() {
        let names = ModelNames::default();
        assert_eq!(&*names.find(labels("a", "gpt")).model, OTHER_MODEL);
        assert_eq!(&*names.learn(labels("a", "gpt")).model, "gpt");
        assert_eq!(&*names.find(labels("a", "gpt")).model, "gpt");
        assert_eq!(&*names.find(labels("b", "gpt")).model, OTHER_MODEL);
        assert_eq!(&*names.learn(labels("demo", "demo?rate=20")).model, "demo");
    }

    #[test]
    fn the_number_of_model_labels_is_bounded() {
        let names = ModelNames::default();
        for number in 0..2 * MAX_MODEL_LABELS {
            let model = format!("model-{number}");
            let label = names.learn(labels("a", &model)).model;
            assert_eq!(&*label == OTHER_MODEL, number >= MAX_MODEL_LABELS, "{model}");
        }
        assert_eq!(&*names.find(labels("a", "model-99")).model, "model-99");
    }
}
