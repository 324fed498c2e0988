//! A circuit breaker: stops requests to what keeps failing, and lets one probe find out whether it has recovered.
//!
//! ```text
//!            5 failures in a row, or half of at least 20 in 30 s
//!   closed ────────────────────────────────────────────────────▶ open ◀──────────┐
//!     ▲                                                           │ time is over │ the probe failed:
//!     └────────────────────────── the probe succeeded ─── half open ─────────────┘ twice the time
//! ```

use std::time::Duration;

use tokio::time::Instant;

use super::count_window::CountWindow;

/// The settings of a breaker (`upstreams.breaker`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerTerms {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open the first time.
    pub open: Duration,
}

#[derive(Debug)]
pub struct Breaker {
    terms: BreakerTerms,
    state: Position,
    /// Failures and successes.
    recent: CountWindow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Closed {
        failures_in_a_row: u32,
    },
    Open {
        until: Instant,
        times: u32,
    },
    /// One probe is in progress.
    HalfOpen {
        times: u32,
    },
}

/// The state of a breaker, for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BreakerState {
    #[default]
    Closed,
    HalfOpen,
    Open,
}

/// How a breaker let an attempt pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmittedAs {
    /// Because it was closed.
    Normal,
    /// As the one attempt that decides whether it closes.
    Probe,
    /// Although it was open, because there was nothing else to ask.
    Forced,
}

const LONGEST_OPEN: Duration = Duration::from_mins(2);
const SPAN: Duration = Duration::from_secs(30);
/// Attempts in the span from which on the share of failures counts.
const FEWEST_ATTEMPTS: u32 = 20;

impl Breaker {
    pub const fn new(terms: BreakerTerms) -> Self {
        Self { terms, state: Position::Closed { failures_in_a_row: 0 }, recent: CountWindow::new(SPAN) }
    }

    /// Returns whether it is closed and has no failure to count from.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, Position::Closed { failures_in_a_row: 0 })
    }

    pub fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            Position::Closed { .. } => BreakerState::Closed,
            Position::Open { until, .. } if now < until => BreakerState::Open,
            Position::Open { .. } | Position::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Returns whether [`Breaker::admit`] would let an attempt pass.
    pub fn would_admit(&self, now: Instant) -> bool {
        match self.state {
            Position::Closed { .. } => true,
            Position::Open { until, .. } => now >= until,
            Position::HalfOpen { .. } => false,
        }
    }

    /// Lets an attempt pass, or returns `None`. A probe must be given back by [`Breaker::succeeded`],
    /// [`Breaker::failed`] or [`Breaker::returned`].
    pub fn admit(&mut self, now: Instant) -> Option<AdmittedAs> {
        match self.state {
            Position::Closed { .. } => Some(AdmittedAs::Normal),
            Position::Open { until, times } if now >= until => {
                self.state = Position::HalfOpen { times };
                Some(AdmittedAs::Probe)
            }
            Position::Open { .. } | Position::HalfOpen { .. } => None,
        }
    }

    pub fn succeeded(&mut self, admitted: AdmittedAs, now: Instant) {
        match (self.state, admitted) {
            (Position::Closed { .. }, _) => {
                self.recent.add_second(now);
                self.state = Position::Closed { failures_in_a_row: 0 };
            }
            // Began before the breaker opened: older than the failures that opened it.
            (_, AdmittedAs::Normal) => {}
            (_, AdmittedAs::Probe | AdmittedAs::Forced) => {
                self.recent.clear();
                self.state = Position::Closed { failures_in_a_row: 0 };
            }
        }
    }

    pub fn failed(&mut self, admitted: AdmittedAs, now: Instant) {
        match (self.state, admitted) {
            (Position::Closed { failures_in_a_row }, _) => {
                self.recent.add_first(now);
                let failures_in_a_row = failures_in_a_row.saturating_add(1);
                let (failures, successes) = self.recent.sums(now);
                let is_half = failures.saturating_add(successes) >= FEWEST_ATTEMPTS && failures >= successes;
                if failures_in_a_row >= self.terms.failures || is_half {
                    self.open(now, 1);
                } else {
                    self.state = Position::Closed { failures_in_a_row };
                }
            }
            (Position::HalfOpen { times }, AdmittedAs::Probe) => self.open(now, times.saturating_add(1)),
            (Position::Open { .. } | Position::HalfOpen { .. }, _) => {}
        }
    }

    /// An attempt has ended without a result, such as one that its caller stopped. The next attempt is the probe.
    pub fn returned(&mut self, admitted: AdmittedAs, now: Instant) {
        if let (Position::HalfOpen { times }, AdmittedAs::Probe) = (self.state, admitted) {
            self.state = Position::Open { until: now, times };
        }
    }

    fn open(&mut self, now: Instant, times: u32) {
        let doubled = 2_u32.saturating_pow(times.saturating_sub(1));
        // A first time above the maximum is what the operator wants.
        let time = self.terms.open.saturating_mul(doubled).min(LONGEST_OPEN.max(self.terms.open));
        self.recent.clear();
        self.state = Position::Open { until: now + time, times };
    }
}

impl BreakerState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: BreakerTerms = BreakerTerms { failures: 5, open: Duration::from_secs(15) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Returns a breaker that has just opened.
    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(TERMS);
        for _ in 0..5 {
            let admitted = breaker.admit(now).expect("closed");
            breaker.failed(admitted, now);
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new(TERMS);
        for _ in 0..4 {
            breaker.failed(AdmittedAs::Normal, now);
        }
        breaker.succeeded(AdmittedAs::Normal, now);
        for _ in 0..4 {
            breaker.failed(AdmittedAs::Normal, now);
        }
        assert_eq!(breaker.state(now), BreakerState::Closed);
        breaker.failed(AdmittedAs::Normal, now);
        assert_eq!((breaker.state(now), breaker.admit(now)), (BreakerState::Open, None));
    }

    #[test]
    fn half_of_twenty_in_thirty_seconds_open_it() {
        let start = Instant::now();
        for (gap, state) in [(seconds(1), BreakerState::Open), (seconds(4), BreakerState::Closed)] {
            let (mut breaker, mut now) = (Breaker::new(TERMS), start);
            for _ in 0..10 {
                breaker.succeeded(AdmittedAs::Normal, now);
                breaker.failed(AdmittedAs::Normal, now);
                now += gap;
            }
            assert_eq!(breaker.state(now), state);
        }
    }

    #[test]
    fn one_probe_at_a_time_decides_whether_it_closes() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + seconds(15);
        assert_eq!(breaker.admit(later - seconds(1)), None);
        let admitted: Vec<_> = (0..40).filter_map(|_| breaker.admit(later)).collect();
        assert_eq!(admitted, [AdmittedAs::Probe]);
        // What began before it opened says nothing new.
        breaker.succeeded(AdmittedAs::Normal, later);
        breaker.failed(AdmittedAs::Normal, later);
        assert_eq!(breaker.admit(later), None);
        breaker.succeeded(AdmittedAs::Probe, later);
        assert_eq!((breaker.state(later), breaker.admit(later)), (BreakerState::Closed, Some(AdmittedAs::Normal)));
    }

    #[test]
    fn failed_probe_doubles_the_time_up_to_two_minutes_and_a_returned_one_does_not() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut times = Vec::new();
        for _ in 0..5 {
            let opened_at = now;
            while breaker.admit(now).is_none() {
                now += seconds(1);
            }
            times.push(now.duration_since(opened_at).as_secs());
            breaker.returned(AdmittedAs::Probe, now);
            assert_eq!(breaker.admit(now), Some(AdmittedAs::Probe), "the next attempt is the probe");
            breaker.failed(AdmittedAs::Probe, now);
        }
        assert_eq!(times, [15, 30, 60, 120, 120]);
    }

    #[test]
    fn forced_attempt_closes_it_if_it_succeeds_and_changes_nothing_if_it_fails() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.failed(AdmittedAs::Forced, now);
        assert_eq!(breaker.admit(now + seconds(15)), Some(AdmittedAs::Probe));
        breaker.succeeded(AdmittedAs::Forced, now);
        assert_eq!(breaker.state(now), BreakerState::Closed);
    }

    proptest! {
        /// Whatever happens in which order, at most one probe is in progress, and a breaker whose attempts have all ended
        /// admits one again after at most two minutes.
        #[test]
        fn never_two_probes_and_never_closed_for_ever(
            steps in prop::collection::vec((0_u64..40, 0_usize..4, any::<prop::sample::Index>()), 1..200)
        ) {
            let (mut now, mut breaker, mut open) = (Instant::now(), Breaker::new(TERMS), Vec::new());
            for (gap, action, at) in steps {
                now += seconds(gap);
                if action == 0 || open.is_empty() {
                    open.extend(breaker.admit(now));
                } else {
                    let admitted = open.swap_remove(at.index(open.len()));
                    match action {
                        1 => breaker.succeeded(admitted, now),
                        2 => breaker.failed(admitted, now),
                        _ => breaker.returned(admitted, now),
                    }
                }
                prop_assert!(open.iter().filter(|admitted| **admitted == AdmittedAs::Probe).count() <= 1);
            }
            for admitted in open {
                breaker.returned(admitted, now);
            }
            prop_assert!(breaker.admit(now + LONGEST_OPEN).is_some());
        }
    }
}
