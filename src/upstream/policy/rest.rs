//! A time in which a key or a target is not asked.

use std::time::Duration;

use tokio::time::Instant;

/// The end of a rest. Of two rests the later end applies.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rest(Option<Instant>);

impl Rest {
    pub fn extend(&mut self, now: Instant, wait: Duration) {
        let until = now.checked_add(wait).unwrap_or(now);
        self.0 = self.0.max(Some(until));
    }

    /// Returns how long the rest lasts from now on; `None` if it has ended.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.0.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_end_of_two_rests_applies() {
        let now = Instant::now();
        let mut rest = Rest::default();
        assert_eq!(rest.left(now), None);
        rest.extend(now, Duration::from_mins(1));
        rest.extend(now, Duration::from_secs(5));
        assert_eq!(rest.left(now), Some(Duration::from_mins(1)));
        assert_eq!(rest.left(now + Duration::from_mins(1)), None);
        rest.extend(now, Duration::MAX);
        assert_eq!(rest.left(now + Duration::from_mins(1)), None, "a wait beyond the clock is none");
    }
}
