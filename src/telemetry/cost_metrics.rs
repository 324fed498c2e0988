//! Metrics of money.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::Series;
use super::upstream_metrics::ModelLabels;
use crate::domain::Usd;

#[derive(Debug)]
pub(super) struct CostMetrics {
    pub costs: CostSums,
    pub unpriced: Family<ModelLabels, Counter>,
    pub lost_lines: Counter,
}

/// Costs by upstream and model. They are summed in integers and become floats only in the text of the metrics.
#[derive(Debug, Clone, Default)]
pub(super) struct CostSums(Arc<Mutex<BTreeMap<Series, Usd>>>);

impl CostMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { costs: CostSums::default(), unpriced: Family::default(), lost_lines: Counter::default() };
        registry.register_collector(Box::new(metrics.costs.clone()));
        registry.register(
            "tokenrill_unpriced_generations",
            "Generations whose cost is unknown, because their model has no price or their tokens are unknown",
            metrics.unpriced.clone(),
        );
        registry.register(
            "tokenrill_usage_lines_lost",
            "Lines of the usage ledger that could not be written",
            metrics.lost_lines.clone(),
        );
        metrics
    }
}

impl CostSums {
    pub fn add(&self, series: Series, cost: Usd) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = sums.entry(series).or_default();
        *sum = sum.plus(cost);
    }
}

impl Collector for CostSums {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sums = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let help = "Cost in US dollars, by upstream and model";
        let mut metric = encoder.encode_descriptor("tokenrill_cost_usd", help, None, MetricType::Counter)?;
        for (Series { upstream, model }, cost) in &sums {
            let dollars: f64 = cost.to_string().parse().unwrap_or_default();
            let labels = [("upstream", &**upstream), ("model", &**model)];
            ConstCounter::<f64>::new(dollars).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::labels::GenerationLabels;
    use super::super::metrics::Metrics;
    use super::*;

    #[test]
    fn costs_are_summed_exactly_by_upstream_and_model() {
        let metrics = Metrics::new();
        for (model, nanos) in [("m", 100_000_000), ("m", 200_000_000), ("n", 1)] {
            metrics.spent(GenerationLabels { upstream: "a", model }, Usd::from_nanos(nanos));
        }
        let (_, text) = metrics.render();
        for line in [
            "tokenrill_cost_usd_total{upstream=\"a\",model=\"m\"} 0.3",
            "tokenrill_cost_usd_total{upstream=\"a\",model=\"n\"} 0.000000001",
        ] {
            let found = text.lines().any(|found| same_value(found, line));
            assert!(found, "{line}: {text}");
        }
    }

    /// Returns whether two lines have the same labels and, as numbers, the same value.
    fn same_value(one: &str, other: &str) -> bool {
        let parts = |line: &str| {
            let (labels, value) = line.rsplit_once(' ')?;
            Some((labels.to_owned(), value.parse::<f64>().ok()?.to_bits()))
        };
        parts(one).is_some() && parts(one) == parts(other)
    }
}
