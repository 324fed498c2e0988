//! Two counts over the last seconds.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Counts of the last `span`, kept per second: old ones cannot be saved up, and its size has a bound.
#[derive(Debug)]
pub struct CountWindow {
    span: Duration,
    seconds: VecDeque<CountedSecond>,
}

/// Two counts of what happened in the second that begins at `from`.
#[derive(Debug)]
struct CountedSecond {
    from: Instant,
    first: u32,
    second: u32,
}

const SECOND: Duration = Duration::from_secs(1);

impl CountWindow {
    pub const fn new(span: Duration) -> Self {
        Self { span, seconds: VecDeque::new() }
    }

    pub fn add_first(&mut self, now: Instant) {
        self.add(now, |counted| &mut counted.first);
    }

    pub fn add_second(&mut self, now: Instant) {
        self.add(now, |counted| &mut counted.second);
    }

    /// Returns the sums of both counts.
    pub fn sums(&mut self, now: Instant) -> (u32, u32) {
        self.forget(now);
        self.seconds.iter().fold((0, 0), |(first, second), counted| {
            (first.saturating_add(counted.first), second.saturating_add(counted.second))
        })
    }

    pub fn clear(&mut self) {
        self.seconds.clear();
    }

    fn forget(&mut self, now: Instant) {
        while self.seconds.front().is_some_and(|counted| now.saturating_duration_since(counted.from) >= self.span) {
            self.seconds.pop_front();
        }
    }

    fn add(&mut self, now: Instant, count: fn(&mut CountedSecond) -> &mut u32) {
        self.forget(now);
        let last = self.seconds.pop_back_if(|counted| now.saturating_duration_since(counted.from) < SECOND);
        let mut counted = last.unwrap_or(CountedSecond { from: now, first: 0, second: 0 });
        let count = count(&mut counted);
        *count = count.saturating_add(1);
        self.seconds.push_back(counted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_forgotten_after_the_span_and_kept_per_second() {
        let start = Instant::now();
        let mut window = CountWindow::new(Duration::from_secs(10));
        for millis in 0..30_000 {
            let now = start + Duration::from_millis(millis);
            window.add_first(now);
            if millis % 2 == 0 {
                window.add_second(now);
            }
            assert!(window.seconds.len() <= 11);
        }
        let (first, second) = window.sums(start + Duration::from_secs(30));
        assert!((9_000..=10_000).contains(&first), "{first}");
        assert_eq!(second, first / 2);
        assert_eq!(window.sums(start + Duration::from_secs(41)), (0, 0));
    }
}
