//! What is left of one rate.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

/// One caller's use of a rate of so much in a minute: all of it at once, and then again as it comes back, evenly.
///
/// [`governor`] decides. Its state is one number, the moment at which all is there again (the theoretical arrival
/// time of the generic cell rate algorithm); here it stands apart from the rate, which may change meanwhile.
#[derive(Debug, Default)]
pub struct Meter(AtomicU64);

/// A moment, counted from an origin that all meters share.
pub type Moment = Duration;

/// What can be owed at most: an answer may take more than was left, and a server may claim anything.
const MOST_OWED: Duration = Duration::from_hours(1);

impl Meter {
    /// Takes so many at once, at most all there can be, or none; the error is how long to wait until there are so many.
    pub fn take(&self, limit: NonZeroU32, wanted: NonZeroU32, now: Moment) -> Result<(), Duration> {
        let at = At { meter: self, now: nanos(now) };
        let limiter = RateLimiter::<_, _, _, NoOpMiddleware<Nanos>>::new(Quota::per_minute(limit), at, Standstill);
        match limiter.check_n(wanted.min(limit)) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(not_until.wait_time_from(Nanos::default())),
            // It was cut to what there can be.
            Err(_) => Err(Duration::MAX),
        }
    }

    /// Takes what has been used already.
    pub fn owe(&self, limit: NonZeroU32, cells: u64, now: Moment) {
        let (now, most) = (nanos(now), nanos(now + MOST_OWED));
        self.move_by(|full| full.max(now).saturating_add(cells.saturating_mul(interval(limit))).min(full.max(most)));
    }

    pub fn give_back(&self, limit: NonZeroU32, cells: u64, now: Moment) {
        let now = nanos(now);
        self.move_by(|full| full.saturating_sub(cells.saturating_mul(interval(limit))).max(full.min(now)));
    }

    /// How long it takes until so many could be taken.
    pub fn wait(&self, limit: NonZeroU32, wanted: NonZeroU32, now: Moment) -> Duration {
        let beyond = u64::from(limit.get() - wanted.min(limit).get()).saturating_mul(interval(limit));
        self.full_in(now).saturating_sub(Duration::from_nanos(beyond))
    }

    /// How many could be taken now.
    pub fn left(&self, limit: NonZeroU32, now: Moment) -> u32 {
        let owed = nanos(self.full_in(now));
        let all = interval(limit).saturating_mul(limit.get().into());
        u32::try_from(all.saturating_sub(owed) / interval(limit)).unwrap_or(u32::MAX)
    }

    /// Until all is there again.
    pub fn full_in(&self, now: Moment) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed)).saturating_sub(now)
    }

    fn move_by(&self, to: impl Fn(u64) -> u64) {
        self.0.update(Ordering::Relaxed, Ordering::Relaxed, to);
    }
}

/// One of them comes back in so many nanoseconds.
fn interval(limit: NonZeroU32) -> u64 {
    nanos(Quota::per_minute(limit).replenish_interval()).max(1)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A meter as it is seen from one moment, which is the origin: what was full before that is full now.
struct At<'a> {
    meter: &'a Meter,
    now: u64,
}

impl StateStore for At<'_> {
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

/// The clock of one decision.
#[derive(Clone)]
struct Standstill;

impl Clock for Standstill {
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

    /// A bucket that is filled evenly, in exact arithmetic: so many nanoseconds of filling.
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
        GiveBack(u64),
        Wait(Duration),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (1..20_u32).prop_map(Step::Take),
            1 => (0..20_u64).prop_map(Step::GiveBack),
            3 => (0..2_000_u64).prop_map(|millis| Step::Wait(Duration::from_millis(millis))),
            1 => (0..90_u64).prop_map(|seconds| Step::Wait(Duration::from_secs(seconds))),
        ];
        proptest::collection::vec(step, 1..200)
    }

    proptest! {
        /// Each decision, each wait and what is left are those of the model, whatever happens before.
        #[test]
        fn a_meter_is_a_bucket_that_fills_evenly(limit in 20..2_000_u32, steps in steps()) {
            let (limit, meter) = (some(limit), Meter::default());
            let mut now = Duration::from_secs(1);
            let mut bucket = Bucket { limit, level: u64::MAX / 2, at: now };
            bucket.level = bucket.all();
            for step in steps {
                match step {
                    Step::Take(wanted) => {
                        prop_assert_eq!(meter.take(limit, some(wanted), now), bucket.take(wanted, now));
                    }
                    Step::GiveBack(cells) => {
                        meter.give_back(limit, cells, now);
                        bucket.fill(now);
                        bucket.level = (bucket.level + cells * interval(limit)).min(bucket.all());
                    }
                    Step::Wait(time) => now += time,
                }
                bucket.fill(now);
                prop_assert_eq!(u64::from(meter.left(limit, now)), bucket.level / interval(limit));
                prop_assert_eq!(nanos(meter.full_in(now)), bucket.all() - bucket.level);
            }
        }

        /// Who waits as told is admitted; who waits 10 % less is not.
        #[test]
        fn a_wait_is_what_it_takes(limit in 1..100_000_u32, used in 1..100_u32, wanted in 1..100_u32) {
            let (limit, meter, now) = (some(limit), Meter::default(), Duration::from_secs(5));
            while meter.take(limit, some(used), now).is_ok() {}
            let Err(wait) = meter.take(limit, some(wanted), now) else { return Ok(()) };
            prop_assert_eq!(meter.wait(limit, some(wanted), now), wait);
            prop_assert!(meter.take(limit, some(wanted), now + wait * 9 / 10).is_err());
            prop_assert!(meter.take(limit, some(wanted), now + wait).is_ok());
        }

        /// Over any window no more is admitted than all there can be and what comes back meanwhile.
        #[test]
        fn no_window_admits_more(limit in 1..500_u32, waits in proptest::collection::vec(0..3_000_u64, 1..300)) {
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
                    let came_back = nanos(end.saturating_sub(*begin)) / interval(limit);
                    prop_assert!((until - at + 1) as u64 <= u64::from(limit.get()) + came_back);
                }
            }
        }
    }

    #[test]
    fn a_rate_that_changes_keeps_what_was_used() {
        let (meter, now) = (Meter::default(), Duration::from_secs(1));
        meter.take(some(60), some(60), now).expect("all of it");
        assert_eq!(meter.left(some(120), now), 0, "a minute is owed, by whatever rate");
        assert_eq!(meter.left(some(120), now + MINUTE / 2), 60);
    }

    #[test]
    fn what_an_answer_takes_beyond_its_limit_is_owed_and_no_more_than_an_hour_of_it() {
        let (meter, now) = (Meter::default(), Duration::from_secs(1));
        meter.take(some(60), some(90), now).expect("more than there can be is let in when all is there");
        assert_eq!(meter.take(some(60), some(1), now), Err(Duration::from_secs(1)));
        meter.owe(some(60), 30, now);
        assert_eq!(meter.take(some(60), some(1), now), Err(Duration::from_secs(31)));
        meter.owe(some(60), u64::MAX, now);
        assert_eq!(meter.full_in(now), MOST_OWED);
        meter.give_back(some(60), u64::MAX, now);
        assert_eq!((meter.full_in(now), meter.left(some(60), now)), (Duration::ZERO, 60));
    }

    #[test]
    fn many_threads_take_no_more_than_there_is() {
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
