//! Metrics of breakers and keys, read at each scrape.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::labels::{GenerationLabels, ModelNames, Series};

/// The health of one upstream.
#[derive(Debug, Clone)]
pub struct UpstreamFigures {
    pub upstream: String,
    pub connections: BreakerFigure,
    pub resting_keys: u64,
    /// The state of each model's breaker.
    pub models: Vec<(String, BreakerFigure)>,
}

/// The state of a breaker: closed, half open or open, as 0, 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BreakerFigure(pub u64);

/// Each scrape calls it. Must not block.
pub type ReadUpstreamFigures = Box<dyn Fn() -> Vec<UpstreamFigures> + Send + Sync>;

/// The figures, once [`Metrics::set_upstreams`](super::Metrics::set_upstreams) was called.
#[derive(Clone)]
pub(super) struct UpstreamHealth {
    pub read: Arc<OnceLock<ReadUpstreamFigures>>,
    models: Arc<ModelNames>,
}

impl UpstreamHealth {
    pub fn new(models: Arc<ModelNames>) -> Self {
        Self { read: Arc::default(), models }
    }

    /// Returns the worst state of the models with the same labels.
    fn by_series(&self, figures: &[UpstreamFigures]) -> Vec<(Series, BreakerFigure)> {
        let all = figures.iter().flat_map(|of_upstream| {
            let upstream = of_upstream.upstream.as_str();
            of_upstream
                .models
                .iter()
                .map(move |(model, state)| (self.models.find(GenerationLabels { upstream, model }), *state))
        });
        let mut worst = BTreeMap::new();
        for (series, state) in all {
            let known =
                worst.entry((Arc::clone(&series.upstream), Arc::clone(&series.model))).or_insert((series, state));
            known.1 = known.1.max(state);
        }
        worst.into_values().collect()
    }
}

impl Collector for UpstreamHealth {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(read) = self.read.get() else { return Ok(()) };
        let figures = read();
        let help = "The breaker of a model: 0 closed, 1 half open, 2 open";
        let mut breakers =
            encoder.encode_descriptor("tokenrill_upstream_breaker_state", help, None, MetricType::Gauge)?;
        for (Series { upstream, model }, BreakerFigure(state)) in self.by_series(&figures) {
            let labels = [("upstream", upstream), ("model", model)];
            ConstGauge::<u64>::new(state).encode(breakers.encode_family(&labels)?)?;
        }
        let help = "The breaker of an upstream's connections: 0 closed, 1 half open, 2 open";
        let name = "tokenrill_upstream_connection_breaker_state";
        let mut connections = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for UpstreamFigures { upstream, connections: BreakerFigure(state), .. } in &figures {
            let labels = [("upstream", upstream.as_str())];
            ConstGauge::<u64>::new(*state).encode(connections.encode_family(&labels)?)?;
        }
        let help = "Keys of an upstream that are not used, because they were refused or their quota is used up";
        let mut keys = encoder.encode_descriptor("tokenrill_upstream_resting_keys", help, None, MetricType::Gauge)?;
        for UpstreamFigures { upstream, resting_keys, .. } in &figures {
            ConstGauge::<u64>::new(*resting_keys).encode(keys.encode_family(&[("upstream", upstream.as_str())])?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for UpstreamHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UpstreamHealth").field(&self.read.get().is_some()).finish()
    }
}
