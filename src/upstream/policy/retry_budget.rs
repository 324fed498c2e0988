//! A limit on the share of retries, so that they do not multiply the load on an upstream that fails.

use std::time::Duration;

use tokio::time::Instant;

use super::count_window::CountWindow;

/// The settings of a retry budget (`upstreams.retry_budget`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryBudgetTerms {
    /// Retries per first call.
    pub ratio: f64,
    /// Retries per second that are allowed whatever the number of calls.
    pub min_per_second: u32,
}

/// Counts first calls and retries of the last 10 s. Windowed: a ratio over all time would save up retries and then spend
/// them at once.
#[derive(Debug)]
pub struct RetryBudget {
    terms: RetryBudgetTerms,
    calls: CountWindow,
}

const SPAN: Duration = Duration::from_secs(10);

impl RetryBudget {
    pub const fn new(terms: RetryBudgetTerms) -> Self {
        Self { terms, calls: CountWindow::new(SPAN) }
    }

    /// Records a first call.
    pub fn deposit(&mut self, now: Instant) {
        self.calls.add_first(now);
    }

    /// Takes a retry from the budget. Returns `None` if there is none left.
    pub fn withdraw(&mut self, now: Instant) -> Option<()> {
        let (calls, retries) = self.calls.sums(now);
        let floor = f64::from(self.terms.min_per_second) * SPAN.as_secs_f64();
        if f64::from(retries) + 1.0 > f64::from(calls) * self.terms.ratio + floor {
            return None;
        }
        self.calls.add_second(now);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: RetryBudgetTerms = RetryBudgetTerms { ratio: 0.2, min_per_second: 1 };

    #[test]
    fn retries_are_a_fifth_of_the_calls_and_one_a_second() {
        let (now, mut budget) = (Instant::now(), RetryBudget::new(TERMS));
        for _ in 0..500 {
            budget.deposit(now);
        }
        let retries = (0..500).filter_map(|_| budget.withdraw(now)).count();
        assert_eq!(retries, 110);
        assert_eq!(budget.withdraw(now + SPAN), Some(()), "what was spent is forgotten");
    }

    #[test]
    fn no_retry_is_allowed_with_a_budget_of_zero() {
        let terms = RetryBudgetTerms { ratio: 0.0, min_per_second: 0 };
        let (now, mut budget) = (Instant::now(), RetryBudget::new(terms));
        budget.deposit(now);
        assert_eq!(budget.withdraw(now), None);
    }

    proptest! {
        /// Whatever the order of calls and retries, no span of 10 s has more retries than the terms allow.
        #[test]
        fn no_span_exceeds_the_budget(steps in prop::collection::vec((0_u64..400, any::<bool>()), 1..400)) {
            let start = Instant::now();
            let (mut now, mut budget) = (start, RetryBudget::new(TERMS));
            let (mut calls, mut retries) = (Vec::new(), Vec::new());
            for (millis, is_call) in steps {
                now += Duration::from_millis(millis);
                if is_call {
                    budget.deposit(now);
                    calls.push(now);
                } else if budget.withdraw(now).is_some() {
                    retries.push(now);
                    let recent = |times: &[Instant], span: Duration| {
                        times.iter().filter(|time| now.duration_since(**time) < span).count()
                    };
                    // The window counts whole seconds, so it reaches at most one second less far back.
                    let span = SPAN.saturating_sub(Duration::from_secs(1));
                    prop_assert!(recent(&retries, span) <= recent(&calls, SPAN) / 5 + 10);
                }
            }
        }
    }
}
