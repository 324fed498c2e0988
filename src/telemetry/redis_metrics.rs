//! Metrics of the Redis server that replicas share.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// How the server does, seen by this process.
#[derive(Debug, Clone)]
pub struct RedisFigures {
    /// Whether the last call was answered.
    pub answers: bool,
    /// Whether messages of other processes arrive.
    pub delivers: bool,
    /// The number of calls by result.
    pub calls: Vec<(&'static str, u64)>,
    /// How long calls have failed; zero if the last one was answered.
    pub outage: Duration,
}

/// Each scrape calls it. Must not block.
pub type ReadRedisFigures = Box<dyn Fn() -> RedisFigures + Send + Sync>;

/// The figures, once [`Metrics::set_redis`](super::Metrics::set_redis) was called.
#[derive(Clone, Default)]
pub(super) struct RedisMetrics(pub Arc<OnceLock<ReadRedisFigures>>);

impl Collector for RedisMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(read) = self.0.get() else { return Ok(()) };
        let RedisFigures { answers, delivers, calls, outage } = read();
        let help = "Whether Redis answers commands (1 or 0), and whether it delivers messages";
        let mut up = encoder.encode_descriptor("tokenrill_redis_up", help, None, MetricType::Gauge)?;
        for (connection, is_up) in [("commands", answers), ("messages", delivers)] {
            let gauge = ConstGauge::<u64>::new(is_up.into());
            gauge.encode(up.encode_family(&[("connection", connection)])?)?;
        }
        let help = "Calls of Redis by result; a call that fails is repeated";
        let mut counters = encoder.encode_descriptor("tokenrill_redis_calls", help, None, MetricType::Counter)?;
        for (result, count) in calls {
            ConstCounter::<u64>::new(count).encode(counters.encode_family(&[("result", result)])?)?;
        }
        let help = "How long calls of Redis have failed; 0 if the last one was answered";
        let gauge = ConstGauge::<f64>::new(outage.as_secs_f64());
        gauge.encode(encoder.encode_descriptor(
            "tokenrill_redis_outage",
            help,
            Some(&Unit::Seconds),
            gauge.metric_type(),
        )?)
    }
}

impl fmt::Debug for RedisMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisMetrics({})", if self.0.get().is_some() { "set" } else { "none" })
    }
}
