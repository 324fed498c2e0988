//! Gauges of limited resources: the usage and the limit of each.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// A limited resource. Each scrape calls `used`, which must not block.
pub struct Capacity {
    /// The metric's name, without unit. The limit's name begins with it.
    pub name: &'static str,
    pub help: &'static str,
    /// `None` for a count.
    pub unit: Option<Unit>,
    pub used: Box<dyn Fn() -> u64 + Send + Sync>,
    pub limit: u64,
}

impl Capacity {
    /// `name` is the metric's name, without the unit.
    pub fn bytes(
        name: &'static str,
        help: &'static str,
        limit: usize,
        used: impl Fn() -> usize + Send + Sync + 'static,
    ) -> Self {
        Self { unit: Some(Unit::Bytes), ..Self::count(name, help, limit, used) }
    }

    pub fn count(
        name: &'static str,
        help: &'static str,
        limit: usize,
        used: impl Fn() -> usize + Send + Sync + 'static,
    ) -> Self {
        Self { name, help, unit: None, used: Box::new(move || used() as u64), limit: limit as u64 }
    }
}

/// The capacities, once [`Metrics::set_capacities`](super::Metrics::set_capacities) was called.
#[derive(Clone, Default)]
pub(super) struct Capacities(pub Arc<OnceLock<Vec<Capacity>>>);

impl Collector for Capacities {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Capacity { name, help, unit, used, limit } in self.0.get().into_iter().flatten() {
            let limit_name = format!("{name}_limit");
            for (name, help, value) in
                [(*name, *help, used()), (&limit_name, "The limit of the metric of the same name", *limit)]
            {
                let gauge = ConstGauge::<u64>::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Capacities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.get().into_iter().flatten().map(|capacity| capacity.name)).finish()
    }
}
