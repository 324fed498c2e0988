//! A limit on the share of hedges, so that they do not multiply the load on upstreams that are all slow.

use std::sync::{Mutex, PoisonError};

/// Counts the requests and hedges of one model.
///
/// Each request adds `ratio` of a hedge. What `WINDOW` requests add is the most that can be saved up: a ratio over all
/// time would be spent at once when an upstream slows down.
#[derive(Debug)]
pub struct HedgeBudget {
    ratio: f64,
    left: Mutex<f64>,
}

/// In requests and not in seconds, so that a model that is asked once a minute has hedges too.
const WINDOW: f64 = 200.0;

impl HedgeBudget {
    /// `ratio`: hedges per request, above 0 and at most 1. Begins empty.
    pub const fn new(ratio: f64) -> Self {
        Self { ratio, left: Mutex::new(0.0) }
    }

    /// Records a request.
    pub fn deposit(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = (*left + self.ratio).min((self.ratio * WINDOW).max(1.0));
    }

    /// Takes a hedge from the budget. Returns `None` if there is none left.
    pub fn withdraw(&self) -> Option<()> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        // A sum of twenty twentieths is a little less than one.
        if *left < 1.0 - f64::EPSILON * WINDOW {
            return None;
        }
        *left -= 1.0;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hedges_are_a_twentieth_of_the_requests_and_ten_at_most_at_once() {
        let budget = HedgeBudget::new(0.05);
        let spend = || std::iter::from_fn(|| budget.withdraw()).count();
        assert_eq!(spend(), 0, "before the first request");
        for (requests, hedges) in [(19, 0), (1, 1), (100, 5), (200, 10), (10_000, 10)] {
            for _ in 0..requests {
                budget.deposit();
            }
            assert_eq!(spend(), hedges, "after {requests} requests");
        }
    }

    proptest! {
        /// Whatever the order, the hedges among any requests in a row are within their share and what was saved up.
        #[test]
        fn no_run_of_requests_exceeds_the_budget(steps in prop::collection::vec(0_usize..40, 1..300)) {
            let budget = HedgeBudget::new(0.05);
            let (mut requests, mut hedges, mut totals) = (0.0, 0.0, vec![(0.0, 0.0)]);
            for wanted in steps {
                budget.deposit();
                requests += 1.0;
                for _ in 0..wanted {
                    hedges += if budget.withdraw().is_some() { 1.0 } else { 0.0 };
                }
                totals.push((requests, hedges));
                for (from, before) in &totals {
                    prop_assert!(hedges - before <= (requests - from) * 0.05 + 10.0 + 1e-9);
                }
                prop_assert!(hedges <= requests * 0.05 + 1e-9);
            }
        }
    }
}
