//! Metrics of requests to the service.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The labels of a request, as OpenTelemetry's conventions for HTTP name them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HttpRequestLabels {
    /// A method of RFC 9110, or `_OTHER`.
    pub http_request_method: &'static str,
    /// The path template of the route, or `unmatched`.
    pub http_route: &'static str,
    pub http_response_status_code: u16,
}

#[derive(Debug)]
pub(super) struct HttpMetrics {
    pub requests: Family<HttpRequestLabels, Counter>,
    pub refusals: Family<LimitLabels, Counter>,
    pub panics: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LimitLabels {
    pub limit: &'static str,
}

/// Every limit that refuses requests.
const LIMITS: [&str; 10] = [
    "requests",
    "tokens",
    "publishes",
    "generations",
    "budget",
    "connections",
    "subscribers",
    "memory",
    "lost_answers",
    "body_memory",
];

impl HttpMetrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { requests: Family::default(), refusals: Family::default(), panics: Counter::default() };
        for limit in LIMITS {
            drop(metrics.refusals.get_or_create(&LimitLabels { limit }));
        }
        registry.register(
            "tokenrill_http_requests",
            "Requests by method, route and status, counted when the response head is ready",
            metrics.requests.clone(),
        );
        registry.register("tokenrill_refusals", "Requests refused by a limit, by limit", metrics.refusals.clone());
        registry.register(
            "tokenrill_panics",
            "Panics, each of which ended one request or generation",
            metrics.panics.clone(),
        );
        metrics
    }

    pub fn refusals(&self) -> u64 {
        LIMITS.map(|limit| self.refusals.get_or_create(&LimitLabels { limit }).get()).iter().sum()
    }
}
