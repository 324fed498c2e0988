//! Logs and metrics. Only this module defines the metrics, except the gauges and counters that `app` registers.
//!
//! Names follow OpenTelemetry's semantic conventions for generative AI and for HTTP if there is one, in Prometheus's
//! spelling. The number of values of each label is bounded ([`MAX_MODEL_LABELS`]), so that a client cannot multiply the
//! series. No label names a principal.

mod capacity;
mod cost_metrics;
mod expected_output;
mod figures;
mod gauge;
mod generation_metrics;
mod http_metrics;
mod labels;
mod logging;
mod metrics;
mod process;
mod recent_first_tokens;
mod recording;
mod redis_metrics;
mod stream_metrics;
mod total;
mod upstream_health;
mod upstream_metrics;

pub use capacity::Capacity;
pub use figures::Figures;
pub use gauge::Gauge;
pub use generation_metrics::GenerationEnd;
pub use http_metrics::HttpRequestLabels;
pub use labels::{GenerationLabels, MAX_MODEL_LABELS, Outcome};
pub use logging::{LogFormat, init, log_panics};
pub use metrics::Metrics;
pub use process::resident_memory;
pub use redis_metrics::{ReadRedisFigures, RedisFigures};
pub use stream_metrics::{LiveSubscriber, ResumedBy};
pub use total::Total;
pub use upstream_health::{BreakerFigure, ReadUpstreamFigures, UpstreamFigures};
pub use upstream_metrics::RetryCount;
