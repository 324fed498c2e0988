use std::time::Duration;

use tokio::time::Instant;

use super::options::{Options, Rate};

/// When each token is due, counted from the response's head. Deadlines are absolute, so a late token delays no other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    start: Instant,
    first_token: Duration,
    rate: Rate,
}

impl Pace {
    /// Starts the clock now.
    pub(super) fn start(options: &Options) -> Self {
        Self { start: Instant::now(), first_token: options.first_token, rate: options.rate }
    }

    /// Waits until the token of this step, counted from 0, is due. It gives way in any case: hyper writes out what it
    /// has when a body is not ready, so that each token is a write of its own.
    pub(super) async fn wait(self, step: u32) {
        match self.due(step) {
            Some(due) if due <= Instant::now() => tokio::task::yield_now().await,
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Nothing if no clock reaches that far.
    fn due(self, step: u32) -> Option<Instant> {
        let since_first = match self.rate {
            Rate::TokensPerSecond(rate) => Duration::try_from_secs_f64(f64::from(step) / rate).ok()?,
            Rate::Unpaced => Duration::ZERO,
        };
        self.start.checked_add(self.first_token.checked_add(since_first)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn waited(pace: Pace, steps: impl Iterator<Item = u32>) -> Vec<u128> {
        let mut at = Vec::new();
        for step in steps {
            pace.wait(step).await;
            at.push(pace.start.elapsed().as_millis());
        }
        at
    }

    fn pace(options: &str) -> Pace {
        Pace::start(&options.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn by_default_the_first_token_comes_at_once_and_then_fifty_a_second() {
        assert_eq!(waited(pace(""), 0..4).await, [0, 20, 40, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_token_delays_no_other() {
        let pace = pace("rate=10");
        pace.wait(0).await;
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(waited(pace, 1..5).await, [250, 250, 300, 400]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_token_and_the_rate_are_as_asked() {
        assert_eq!(waited(pace("first_token=40s&rate=4"), 0..3).await, [40_000, 40_250, 40_500]);
        assert_eq!(waited(pace("first_token=2s&rate=max"), 0..3).await, [2000, 2000, 2000]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_clock_reaches_is_never_due() {
        let slowest = format!("rate={:e}", f64::MIN_POSITIVE);
        for options in [slowest.as_str(), "first_token=1000000000years&rate=1"] {
            let pace = pace(options);
            assert!(tokio::time::timeout(Duration::from_hours(24), pace.wait(1)).await.is_err(), "{options}");
        }
    }
}
