//! One rate of one account.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

/// One caller's use of a rate per minute. The whole limit may be used at once; it is refilled evenly.
///
/// [`governor`] decides. Its state is one number, the moment at which the limit is full again (the theoretical arrival
/// time of the generic cell rate algorithm). The state is stored apart from the rate, because the rate may change.
#[derive(Debug, Default)]
pub struct Meter(AtomicU64);

/// Time since an origin that all meters share.
pub type Moment = Duration;

/// Maximum debt. An answer may use more than remains, and an upstream may report any usage.
const MAX_DEBT: Duration = Duration::from_hours(1);

impl Meter {
    /// Takes `wanted` cells, but at most `limit`, or none. Errors: the time until that many cells are available.
    pub fn take(&self, limit: NonZeroU32, wanted: NonZeroU32, now: Moment) -> Result<(), Duration> {
        let at = RelativeMeter { meter: self, now: nanos(now) };
        let limiter = RateLimiter::<_, _, _, NoOpMiddleware<Nanos>>::new(Quota::per_minute(limit), at, FixedClock);
        match limiter.check_n(wanted.min(limit)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(not_until.wait_time_from(Nanos::default())),
            // Not reached: `wanted` is capped at the limit.
            Err(_) => Err(Duration::MAX),
        }
    }

    /// Takes cells that were used already, up to a debt of `MAX_DEBT`.
    pub fn charge(&self, limit: NonZeroU32, cells: u64, now: Moment) {
        let (now, most) = (nanos(now), nanos(now + MAX_DEBT));
        self.move_by(|full| full.max(now).saturating_add(cells.saturating_mul(interval(limit))).min(full.max(most)));
    }

    pub fn refund(&self, limit: NonZeroU32, cells: u64, now: Moment) {
        let now = nanos(now);
        self.move_by(|full| full.saturating_sub(cells.saturating_mul(interval(limit))).max(full.min(now)));
    }

    /// Returns the time until `wanted` cells are available.
    pub fn wait(&self, limit: NonZeroU32, wanted: NonZeroU32, now: Moment) -> Duration {
        wait(limit, wanted, self.full_in(now))
    }

    /// Returns the time until the limit is full again.
    pub fn full_in(&self, now: Moment) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed)).saturating_sub(now)
    }

    fn move_by(&self, to: impl Fn(u64) -> u64) {
        self.0.update(Ordering::Relaxed, Ordering::Relaxed, to);
    }
}

/// Returns the time until `wanted` cells of a limit are available that is full again in `full_in`.
pub fn wait(limit: NonZeroU32, wanted: NonZeroU32, full_in: Duration) -> Duration {
    let beyond = u64::from(limit.get() - wanted.min(limit).get()).saturating_mul(interval(limit));
    full_in.saturating_sub(Duration::from_nanos(beyond))
}

/// Returns how many cells of a limit are available that is full again in `full_in`.
pub fn left(limit: NonZeroU32, full_in: Duration) -> u32 {
    let all = interval(limit).saturating_mul(limit.get().into());
    u32::try_from(all.saturating_sub(nanos(full_in)) / interval(limit)).unwrap_or(u32::MAX)
}

/// Returns the nanoseconds in which one cell is refilled.
fn interval(limit: NonZeroU32) -> u64 {
    nanos(Quota::per_minute(limit).replenish_interval()).max(1)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A meter relative to `now`, which is governor's origin here. A state before `now` counts as `now`: the limit is full.
struct RelativeMeter<'a> {
    meter: &'a Meter,
    now: u64,
}

impl StateStore for RelativeMeter<'_> {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut full = self.meter.0.load(Ordering::Relaxed);
        loop {
            let (outcome, next) = decide(Some(full.saturating_sub(self.now).into()))?;
            let next = self.now.saturating_add(next.as_u64());
            match self.meter.0.compare_exchange_weak(full, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(outcome),
                Err(moved) => full = moved,
            }
        }
    }
}

/// A clock that stands at the origin during one decision.
#[derive(Clone)]
struct FixedClock;

impl Clock for FixedClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn some(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("not zero")
    }

    const MINUTE: Duration = Duration::from_mins(1);

    /// The reference model: a bucket that fills evenly, in exact arithmetic. Its level is in nanoseconds of filling.
    struct Bucket {
        limit: NonZeroU32,
        level: u64,
        at: Duration,
    }

    impl Bucket {
        fn all(&self) -> u64 {
            interval(self.limit) * u64::from(self.limit.get())
        }

        fn fill(&mut self, now: Duration) {
            self.level = (self.level + nanos(now.checked_sub(self.at).expect("time goes on"))).min(self.all());
            self.at = now;
        }

        fn take(&mut self, wanted: u32, now: Duration) -> Result<(), Duration> {
            self.fill(now);
            let cost = interval(self.limit) * u64::from(wanted);
            match self.level.checked_sub(cost) {
                Some(rest) => {
                    self.level = rest;
                    Ok(())
                }
                None => Err(Duration::from_nanos(cost - self.level)),
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Take(u32),
        Refund(u64),
        Wait(Duration),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1..20_u32).prop_map(Step::Take),
            1 => (0..20_u64).prop_map(Step::Refund),
            3 => (0..2_000_u64).prop_map(|millis| Step::Wait(Duration::from_millis(millis))),
            1 => (0..90_u64).prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        /// After any steps, each decision, each wait and the available cells equal those of the reference model.
        #[test]
        fn meter_equals_a_bucket_that_fills_evenly(limit in 20..2_000_u32, steps in steps()) {
            let (limit, meter) = (some(limit), Meter::default());
            let mut now = Duration::from_secs(1);
            let mut bucket = Bucket { limit, level: u64::MAX / 2, at: now };
            bucket.level = bucket.all();
            for step in steps {
                match step {
                    Step::Take(wanted) => {
                        prop_assert_eq!(meter.take(limit, some(wanted), now), bucket.take(wanted, now));
                    }
                    Step::Refund(cells) => {
                        meter.refund(limit, cells, now);
                        bucket.fill(now);
                        bucket.level = (bucket.level + cells * interval(limit)).min(bucket.all());
                    }
                    Step::Wait(time) => now += time,
                }
                bucket.fill(now);
                prop_assert_eq!(u64::from(left(limit, meter.full_in(now))), bucket.level / interval(limit));
                prop_assert_eq!(nanos(meter.full_in(now)), bucket.all() - bucket.level);
            }
        }

        /// A request after the reported wait is admitted; a request after 90 % of it is not.
        #[test]
        fn reported_wait_is_sufficient_and_necessary(limit in 1..100_000_u32, used in 1..100_u32, wanted in 1..100_u32) {
            let (limit, meter, now) = (some(limit), Meter::default(), Duration::from_secs(5));
            while meter.take(limit, some(used), now).is_ok() {}
            let Err(wait) = meter.take(limit, some(wanted), now) else { return Ok(()) };
            prop_assert_eq!(meter.wait(limit, some(wanted), now), wait);
            prop_assert!(meter.take(limit, some(wanted), now + wait * 9 / 10).is_err());
            prop_assert!(meter.take(limit, some(wanted), now + wait).is_ok());
        }

        /// In any window, at most the limit plus the cells refilled within the window are admitted.
        #[test]
        fn any_window_admits_at_most_limit_plus_refill(limit in 1..500_u32, waits in proptest::collection::vec(0..3_000_u64, 1..300)) {
            let (limit, meter) = (some(limit), Meter::default());
            let (mut now, mut admitted) = (Duration::ZERO, Vec::new());
            for wait in waits {
                now += Duration::from_millis(wait);
                if meter.take(limit, some(1), now).is_ok() {
                    admitted.push(now);
                }
            }
            for (at, begin) in admitted.iter().enumerate() {
                for (until, end) in admitted.iter().enumerate().skip(at) {
                    let refilled = nanos(end.saturating_sub(*begin)) / interval(limit);
                    prop_assert!((until - at + 1) as u64 <= u64::from(limit.get()) + refilled);
                }
            }
        }
    }

    #[test]
    fn usage_is_kept_when_the_rate_changes() {
        let (meter, now) = (Meter::default(), Duration::from_secs(1));
        meter.take(some(60), some(60), now).expect("all of it");
        assert_eq!(left(some(120), meter.full_in(now)), 0, "the debt is one minute at any rate");
        assert_eq!(left(some(120), meter.full_in(now + MINUTE / 2)), 60);
    }

    #[test]
    fn usage_beyond_the_limit_is_a_debt_of_at_most_an_hour() {
        let (meter, now) = (Meter::default(), Duration::from_secs(1));
        meter.take(some(60), some(90), now).expect("a request above the limit is admitted when the limit is full");
        assert_eq!(meter.take(some(60), some(1), now), Err(Duration::from_secs(1)));
        meter.charge(some(60), 30, now);
        assert_eq!(meter.take(some(60), some(1), now), Err(Duration::from_secs(31)));
        meter.charge(some(60), u64::MAX, now);
        assert_eq!(meter.full_in(now), MAX_DEBT);
        meter.refund(some(60), u64::MAX, now);
        assert_eq!((meter.full_in(now), left(some(60), meter.full_in(now))), (Duration::ZERO, 60));
    }

    #[test]
    fn concurrent_takes_do_not_exceed_the_limit() {
        let (meter, now) = (Meter::default(), Duration::from_secs(1));
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| (0..1_000).filter(|_| meter.take(some(1_000), some(1), now).is_ok()).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(taken, 1_000);
    }
}
