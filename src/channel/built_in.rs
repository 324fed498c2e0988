//! The channels that the service itself writes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::service::{CALL_TIMEOUT, Channels};
use crate::detached::within;
use crate::domain::{Account, ChannelName, Keeping, Published, Recipient, ReplicaId, Timestamp};
use crate::telemetry::{Figures, Metrics, resident_memory};

/// The time between two events of each channel.
const INTERVAL: Duration = Duration::from_secs(1);
/// Ticks between two sweeps, which remove expired events, also from channels without publishers.
const SWEEP: u32 = 10;
/// Ticks between two refreshes of the roster entries of this process.
const REFRESH: u32 = 2;

impl Channels {
    /// Writes `system.time` and `system.metrics`, and keeps the channels in order, until it is dropped. `logged` returns
    /// the bytes of all logs.
    ///
    /// After the process was suspended, missed ticks are skipped.
    pub async fn run(&self, metrics: &Metrics, logged: impl Fn() -> usize) {
        // Apart from one another: a store that does not answer must not stop the clock.
        tokio::join!(self.maintain(), self.write_built_in(metrics, logged));
    }

    /// Removes expired events, and extends the roster entries of this process.
    async fn maintain(&self) {
        let mut ticks = every_second();
        for count in (0..SWEEP).cycle() {
            ticks.tick().await;
            if count == 0 {
                self.sweep().await;
            }
            if count % REFRESH == 0 {
                within(CALL_TIMEOUT, self.0.rosters.refresh()).await;
            }
        }
    }

    async fn write_built_in(&self, metrics: &Metrics, logged: impl Fn() -> usize) {
        let (time, figures) = (ChannelName::system_time(), ChannelName::system_metrics());
        let mut rate = PieceRate { pieces: metrics.figures().pieces, at: Instant::now() };
        let mut ticks = every_second();
        loop {
            ticks.tick().await;
            let now = Timestamp::now();
            let clock = json!({"time": now.to_string(), "unix_ms": now.millis(), "replica": metrics.replica()});
            let seen = metrics.figures();
            let data = body(&seen, now, rate.since(seen.pieces), logged(), metrics.replica());
            for (channel, name, data) in [(&time, "server-time", clock), (&figures, "metrics", data)] {
                let published = Published {
                    name: name.parse().ok(),
                    data_json: data.to_string().into(),
                    to: Recipient::AllSubscribers,
                    keeping: Keeping::Kept,
                };
                // If the log has no room, the event of this second is dropped.
                _ = self.publish(channel, &Account::Service, published).await;
            }
        }
    }
}

fn every_second() -> Interval {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// The rate of chunks per second since the last call.
struct PieceRate {
    pieces: u64,
    at: Instant,
}

impl PieceRate {
    #[expect(clippy::cast_precision_loss, reason = "a rate that is shown with one digit after the point")]
    fn since(&mut self, pieces: u64) -> f64 {
        let (more, seconds) = (pieces.saturating_sub(self.pieces), self.at.elapsed().as_secs_f64());
        *self = Self { pieces, at: Instant::now() };
        if seconds > 0.0 { (more as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
    }
}

fn body(figures: &Figures, now: Timestamp, tokens_per_second: f64, logged: usize, replica: ReplicaId) -> Value {
    let [done, cancelled, failed] = figures.ended;
    let millis = |time: Duration| (time.as_secs_f64() * 10_000.0).round() / 10.0;
    json!({
        "time": now.to_string(),
        "streams": figures.viewers + figures.subscribers,
        "subscribers": figures.subscribers,
        "generations": {
            "running": figures.running,
            "waiting": figures.waiting,
            "done": done,
            "cancelled": cancelled,
            "failed": failed,
        },
        "tokens": {
            "input": figures.input_tokens,
            "output": figures.output_tokens,
            "saved": figures.tokens_saved,
        },
        "tokens_per_second": tokens_per_second,
        "first_token_ms": {
            "p50": figures.first_token.map(|[median, _]| millis(median)),
            "p95": figures.first_token.map(|[_, most]| millis(most)),
        },
        "refusals": figures.refusals,
        "memory_bytes": resident_memory(),
        "event_log_bytes": logged,
        "replica": replica,
    })
}
