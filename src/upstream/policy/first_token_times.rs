//! How fast a model begins to answer.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The times to the first token of one model on one upstream.
#[derive(Debug, Clone, Default)]
pub struct FirstTokenTimes {
    estimate: Option<PeakEstimate>,
    recent: VecDeque<Duration>,
}

/// A peak EWMA (Finagle's load balancer): a worse time counts at once, a better one decays it.
#[derive(Debug, Clone)]
struct PeakEstimate {
    seconds: f64,
    at: Instant,
}

const HALF_LIFE: Duration = Duration::from_secs(10);
const MOST_RECENT: usize = 200;

impl FirstTokenTimes {
    pub fn record(&mut self, time: Duration, now: Instant) {
        if self.recent.len() == MOST_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(time);
        self.estimate(time, now);
    }

    /// Records a failure as the longest time, so that an upstream that refuses quickly does not look fast.
    pub fn record_failure(&mut self, timeout: Duration, now: Instant) {
        self.estimate(timeout, now);
    }

    /// Returns the estimate of the next time; `None` before the first attempt.
    pub fn expected(&self) -> Option<Duration> {
        self.estimate.as_ref().map(|estimate| Duration::from_secs_f64(estimate.seconds))
    }

    /// Returns the number of recent answers.
    pub fn count(&self) -> usize {
        self.recent.len()
    }

    /// Returns the time within which this percentage of the recent answers began; `None` before the first one.
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        if self.recent.is_empty() {
            return None;
        }
        let mut sorted: Vec<_> = self.recent.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len());
        sorted.get(rank - 1).copied()
    }

    fn estimate(&mut self, time: Duration, now: Instant) {
        let measured = time.as_secs_f64();
        let seconds = match &self.estimate {
            Some(PeakEstimate { seconds, at }) if measured < *seconds => {
                let halvings = now.saturating_duration_since(*at).as_secs_f64() / HALF_LIFE.as_secs_f64();
                let kept = 0.5_f64.powf(halvings);
                seconds * kept + measured * (1.0 - kept)
            }
            _ => measured,
        };
        self.estimate = Some(PeakEstimate { seconds, at: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_time_counts_at_once_and_a_better_one_halves_the_distance_in_ten_seconds() {
        let (now, mut times) = (Instant::now(), FirstTokenTimes::default());
        assert_eq!(times.expected(), None);
        times.record(Duration::from_secs(1), now);
        times.record(Duration::from_secs(3), now);
        assert_eq!(times.expected(), Some(Duration::from_secs(3)));
        times.record(Duration::from_secs(1), now + HALF_LIFE);
        assert_eq!(times.expected(), Some(Duration::from_secs(2)));
        times.record_failure(Duration::from_mins(2), now + HALF_LIFE);
        assert_eq!(times.expected(), Some(Duration::from_mins(2)));
    }

    #[test]
    fn percentile_is_of_the_recent_answers() {
        let (now, mut times) = (Instant::now(), FirstTokenTimes::default());
        for millis in 1..=300 {
            assert_eq!(times.percentile(95).is_some(), millis > 1);
            times.record(Duration::from_millis(millis), now);
        }
        assert_eq!(times.percentile(50), Some(Duration::from_millis(200)));
        assert_eq!(times.percentile(95), Some(Duration::from_millis(290)));
        times.record_failure(Duration::from_mins(2), now);
        assert_eq!(times.percentile(100), Some(Duration::from_millis(300)), "a failure has no first token");
    }
}
