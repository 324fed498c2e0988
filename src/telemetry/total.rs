//! Counters that other modules maintain.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

/// A counter of another module. Each scrape calls `count`, which must not block.
pub struct Total {
    /// The metric's name, without `_total`.
    pub name: &'static str,
    pub help: &'static str,
    pub count: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// The totals, once [`Metrics::set_totals`](super::Metrics::set_totals) was called.
#[derive(Clone, Default)]
pub(super) struct Totals(pub Arc<OnceLock<Vec<Total>>>);

impl Collector for Totals {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Total { name, help, count } in self.0.get().into_iter().flatten() {
            let counter = ConstCounter::<u64>::new(count());
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.get().into_iter().flatten().map(|total| total.name)).finish()
    }
}
