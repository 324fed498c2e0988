//! An attempt in progress, as the health of its upstream counts it.

use std::sync::Arc;

use tokio::time::Instant;

use super::Delivery;
use super::policy::{AttemptHealth, FailureVerdict};
use super::upstream_server::{BreakerPass, UpstreamServer};

/// One attempt in progress. Its drop counts it as ended. If nothing was recorded, such as after a stop, the health of the
/// upstream stays as it is, and the breaker admits another probe.
#[derive(Debug)]
pub struct AttemptLease {
    server: Arc<UpstreamServer>,
    model: Arc<str>,
    key: usize,
    pass: BreakerPass,
    began: Instant,
    recorded: RecordedHealth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RecordedHealth {
    Nothing,
    FirstToken,
    Failure,
}

impl AttemptLease {
    pub fn new(server: Arc<UpstreamServer>, model: Arc<str>, key: usize, pass: BreakerPass) -> Self {
        server.count_in_flight(&model);
        Self { server, model, key, pass, began: Instant::now(), recorded: RecordedHealth::Nothing }
    }

    /// The attempt delivered its first token, or ended without one as it should.
    pub fn record_first_token(&mut self, delivery: Delivery) {
        let now = Instant::now();
        self.recorded = RecordedHealth::FirstToken;
        self.server.record(&self.model, self.pass, AttemptHealth::Success, now);
        // A whole answer does not show when its model began.
        if delivery == Delivery::Stream {
            self.server.record_first_token(&self.model, now.saturating_duration_since(self.began), now);
        }
    }

    /// The attempt was replaced by its hedge, whose first token was earlier. Its time so far counts as a time to the first
    /// token: without it, the percentile that starts hedges would be one of the quick answers only, and fall.
    pub fn record_replaced(&mut self) {
        let now = Instant::now();
        self.server.record_first_token(&self.model, now.saturating_duration_since(self.began), now);
    }

    /// The attempt failed before its first token.
    pub fn record_failure(&mut self, verdict: &FailureVerdict, now: Instant) {
        self.recorded = RecordedHealth::Failure;
        self.server.record(&self.model, self.pass, verdict.health, now);
        self.server.record_rest(&self.model, self.key, verdict, now);
    }

    /// The answer broke after its first token.
    pub fn record_break(&mut self) {
        if self.recorded == RecordedHealth::FirstToken {
            self.recorded = RecordedHealth::Failure;
            self.server.record(&self.model, self.pass, AttemptHealth::Failure, Instant::now());
        }
    }
}

impl Drop for AttemptLease {
    fn drop(&mut self) {
        if self.recorded == RecordedHealth::Nothing {
            self.server.record(&self.model, self.pass, AttemptHealth::Unknown, Instant::now());
        }
        self.server.uncount_in_flight(&self.model);
    }
}
