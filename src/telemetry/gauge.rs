//! A gauge that counts something that lives.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::gauge;

/// Adds one to a gauge until it is dropped.
#[derive(Debug)]
pub struct Gauge(gauge::Gauge<i64, AtomicI64>);

impl Gauge {
    pub(super) fn new(gauge: &gauge::Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}
