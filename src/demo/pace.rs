use std::time::Duration;

use tokio::time::Instant;

use super::options::{Options, TokenRate};

/// The deadline of each token, counted from the response headers. Deadlines are absolute, so a late token does not
/// delay later ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    start: Instant,
    first_token: Duration,
    rate: TokenRate,
}

impl Pace {
    /// Starts the clock now.
    pub(super) fn start(options: &Options) -> Self {
        Self { start: Instant::now(), first_token: options.first_token, rate: options.rate }
    }

    /// Waits until the token of this step, counted from 0, is due. Always yields at least once: hyper flushes when the
    /// body is pending, so each token is a write of its own.
    pub(super) async fn wait(self, step: u32) {
        match self.due(step) {
            Some(due) if due <= Instant::now() => tokio::task::yield_now().await,
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Returns `None` if the deadline is beyond the range of the clock.
    fn due(self, step: u32) -> Option<Instant> {
        let since_first = match self.rate {
            TokenRate::TokensPerSecond(rate) => Duration::try_from_secs_f64(f64::from(step) / rate).ok()?,
            TokenRate::Unpaced => Duration::ZERO,
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
    async fn default_is_50_tokens_per_second_without_initial_delay() {
        assert_eq!(waited(pace(""), 0..4).await, [0, 20, 40, 60]);
    }

    #[tokio::test(start_paused = true)]
    async fn late_token_does_not_delay_later_ones() {
        let pace = pace("rate=10");
        pace.wait(0).await;
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(waited(pace, 1..5).await, [250, 250, 300, 400]);
    }

    #[tokio::test(start_paused = true)]
    async fn first_token_and_rate_options_set_the_deadlines() {
        assert_eq!(waited(pace("first_token=40s&rate=4"), 0..3).await, [40_000, 40_250, 40_500]);
        assert_eq!(waited(pace("first_token=2s&rate=max"), 0..3).await, [2000, 2000, 2000]);
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_beyond_the_clock_is_never_due() {
        let slowest = format!("rate={:e}", f64::MIN_POSITIVE);
        for options in [slowest.as_str(), "first_token=1000000000years&rate=1"] {
            let pace = pace(options);
            assert!(tokio::time::timeout(Duration::from_hours(24), pace.wait(1)).await.is_err(), "{options}");
        }
    }
}
