//! Requests, tokens and published events per minute, for each account.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::meter::{self, Meter, Moment};
use crate::domain::{Account, Quota};

/// The usage of all accounts. Accounts whose limits are full again are removed.
#[derive(Debug)]
pub struct Rates {
    origin: Instant,
    accounts: Mutex<HashMap<RateKey, Arc<Meters>>>,
}

/// An account, for all models or for the models of one pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RateKey {
    pub account: Account,
    /// The pattern of the models. `None`: all models.
    pub models: Option<Arc<str>>,
}

#[derive(Debug, Default)]
struct Meters {
    requests: Meter,
    tokens: Meter,
    publishes: Meter,
}

/// The reservation of one request. Dropping it unsettled refunds it.
#[derive(Debug)]
pub struct RateReservation {
    origin: Instant,
    meters: Arc<Meters>,
    quota: Quota,
    tokens: u64,
    settled: bool,
}

/// An exhausted rate, and the time until it allows the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedUp {
    pub rate: RateKind,
    pub limit: NonZeroU32,
    pub wait: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateKind {
    Requests,
    Tokens,
    Publishes,
}

/// The remaining quota of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemainingQuota {
    pub limit: NonZeroU32,
    pub left: u32,
    /// Time until the limit is full again.
    pub full_in: Duration,
}

/// Maximum number of accounts. Above it, the half with the least usage is removed.
const MAX_ACCOUNTS: usize = 100_000;

impl Default for Rates {
    fn default() -> Self {
        Self { origin: Instant::now(), accounts: Mutex::default() }
    }
}

impl Rates {
    /// Reserves one request and `tokens`, or nothing.
    pub fn take(&self, key: RateKey, quota: Quota, tokens: u64) -> Result<Option<RateReservation>, UsedUp> {
        if quota.requests_per_minute.is_none() && quota.tokens_per_minute.is_none() {
            return Ok(None);
        }
        let now = self.now();
        let meters = self.meters(key, now);
        if let Some(limit) = quota.requests_per_minute {
            let taken = meters.requests.take(limit, NonZeroU32::MIN, now);
            taken.map_err(|wait| UsedUp { rate: RateKind::Requests, limit, wait })?;
        }
        // Cap at the limit, as `Meter::take` does: a refund must not exceed the reserved tokens.
        let most = quota.tokens_per_minute.map_or(0, NonZeroU32::get);
        let tokens = u32::try_from(tokens).unwrap_or(u32::MAX).min(most);
        if let (Some(limit), Some(wanted)) = (quota.tokens_per_minute, NonZeroU32::new(tokens))
            && let Err(wait) = meters.tokens.take(limit, wanted, now)
        {
            if let Some(requests) = quota.requests_per_minute {
                meters.requests.refund(requests, 1, now);
            }
            return Err(UsedUp { rate: RateKind::Tokens, limit, wait });
        }
        Ok(Some(RateReservation { origin: self.origin, meters, quota, tokens: tokens.into(), settled: false }))
    }

    /// Takes one published event and returns the remaining quota. The event is never refunded.
    pub fn take_publish(&self, key: RateKey, limit: NonZeroU32) -> (Result<(), UsedUp>, RemainingQuota) {
        let now = self.now();
        let meter = &self.meters(key, now).publishes;
        let taken = meter.take(limit, NonZeroU32::MIN, now);
        let taken = taken.map_err(|wait| UsedUp { rate: RateKind::Publishes, limit, wait });
        (taken, RemainingQuota::new(limit, meter.full_in(now)))
    }

    /// Returns for each limited rate the time until it allows one request and `tokens`.
    pub fn waits(&self, key: &RateKey, quota: Quota, tokens: u64) -> impl Iterator<Item = UsedUp> + use<> {
        let now = self.now();
        let meters = self.lock().get(key).cloned().unwrap_or_default();
        let tokens = u32::try_from(tokens).map_or(Some(NonZeroU32::MAX), NonZeroU32::new);
        let rates = [
            (RateKind::Requests, quota.requests_per_minute, Some(NonZeroU32::MIN)),
            (RateKind::Tokens, quota.tokens_per_minute, tokens),
        ];
        rates.into_iter().filter_map(move |(rate, limit, wanted)| {
            let (limit, wanted) = limit.zip(wanted)?;
            Some(UsedUp { rate, limit, wait: meters.of(rate).wait(limit, wanted, now) })
        })
    }

    /// Returns the remaining requests and tokens of an account.
    pub fn left(&self, key: &RateKey, quota: Quota) -> (Option<RemainingQuota>, Option<RemainingQuota>) {
        let now = self.now();
        let meters = self.lock().get(key).cloned().unwrap_or_default();
        let of = |meter: &Meter, limit: Option<NonZeroU32>| {
            limit.map(|limit| RemainingQuota::new(limit, meter.full_in(now)))
        };
        (of(&meters.requests, quota.requests_per_minute), of(&meters.tokens, quota.tokens_per_minute))
    }

    /// Removes accounts whose limits are full again.
    pub fn sweep(&self) {
        let now = self.now();
        let mut accounts = self.lock();
        accounts.retain(|_, meters| !meters.full_in(now).is_zero() || Arc::strong_count(meters) > 1);
        accounts.shrink_to_fit();
    }

    fn meters(&self, key: RateKey, now: Moment) -> Arc<Meters> {
        let mut accounts = self.lock();
        if let Some(meters) = accounts.get(&key) {
            return Arc::clone(meters);
        }
        if accounts.len() >= MAX_ACCOUNTS {
            // Remove half of the accounts at once, so that this is rare.
            let mut used: Vec<_> = accounts.values().map(|meters| meters.full_in(now)).collect();
            let middle = used.len() / 2;
            let (_, median, _) = used.select_nth_unstable(middle);
            let median = *median;
            accounts.retain(|_, meters| meters.full_in(now) > median);
        }
        Arc::clone(accounts.entry(key).or_default())
    }

    fn now(&self) -> Moment {
        self.origin.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RateKey, Arc<Meters>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RemainingQuota {
    pub fn new(limit: NonZeroU32, full_in: Duration) -> Self {
        Self { limit, left: meter::left(limit, full_in), full_in }
    }
}

impl RateKey {
    /// Returns the key of an account for all models.
    pub const fn of_account(account: Account) -> Self {
        Self { account, models: None }
    }
}

impl Meters {
    const fn of(&self, rate: RateKind) -> &Meter {
        match rate {
            RateKind::Requests => &self.requests,
            RateKind::Tokens => &self.tokens,
            RateKind::Publishes => &self.publishes,
        }
    }

    fn full_in(&self, now: Moment) -> Duration {
        self.requests.full_in(now).max(self.tokens.full_in(now)).max(self.publishes.full_in(now))
    }
}

impl RateReservation {
    /// Counts the whole reservation as used.
    pub fn settle_as_reserved(mut self) {
        self.settled = true;
    }

    /// Replaces the reserved tokens by the tokens that the request used.
    pub fn settle(mut self, tokens: u64) {
        self.settled = true;
        let now = self.origin.elapsed();
        let Some(limit) = self.quota.tokens_per_minute else { return };
        match tokens.checked_sub(self.tokens) {
            Some(more) => self.meters.tokens.charge(limit, more, now),
            None => self.meters.tokens.refund(limit, self.tokens - tokens, now),
        }
    }
}

impl Drop for RateReservation {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let now = self.origin.elapsed();
        if let Some(limit) = self.quota.requests_per_minute {
            self.meters.requests.refund(limit, 1, now);
        }
        if let Some(limit) = self.quota.tokens_per_minute {
            self.meters.tokens.refund(limit, self.tokens, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use tokio::time::advance;

    use super::*;

    fn quota(requests: u32, tokens: u32) -> Quota {
        Quota {
            requests_per_minute: NonZeroU32::new(requests),
            tokens_per_minute: NonZeroU32::new(tokens),
            ..Quota::NONE
        }
    }

    fn key(number: u32) -> RateKey {
        let address = Ipv6Addr::from_bits(u128::from(number) << 64);
        RateKey { account: Account::of_address(address.into()), models: None }
    }

    fn left(rates: &Rates, number: u32, quota: Quota) -> (u32, u32) {
        let (requests, tokens) = rates.left(&key(number), quota);
        (requests.expect("a limit").left, tokens.expect("a limit").left)
    }

    #[tokio::test(start_paused = true)]
    async fn reservation_is_settled_with_actual_usage_or_refunded() {
        let (rates, quota) = (Rates::default(), quota(10, 1_000));
        let take = |tokens| rates.take(key(1), quota, tokens).map(|taken| taken.expect("there are limits"));
        let [less, more, none, unsettled] = [100, 100, 100, 100].map(|tokens| take(tokens).expect("enough"));
        assert_eq!(left(&rates, 1, quota), (6, 600));
        less.settle(30);
        assert_eq!(left(&rates, 1, quota), (6, 670));
        more.settle(150);
        assert_eq!(left(&rates, 1, quota), (6, 620));
        none.settle(0);
        assert_eq!(left(&rates, 1, quota), (6, 720));
        drop(unsettled);
        assert_eq!(left(&rates, 1, quota), (7, 820), "the request too");
        assert_eq!(left(&rates, 2, quota), (10, 1_000), "another account is unchanged");
    }

    #[tokio::test(start_paused = true)]
    async fn reservation_above_the_limit_keeps_actual_usage() {
        let (rates, quota) = (Rates::default(), quota(100, 1_000));
        rates.take(key(1), quota, 1_000).expect("enough").expect("a limit").settle(3_000);
        advance(Duration::from_mins(3)).await;
        let taken = rates.take(key(1), quota, u64::MAX).expect("the limit is full again").expect("a limit");
        assert_eq!(left(&rates, 1, quota).1, 0);
        taken.settle(900);
        assert_eq!(left(&rates, 1, quota).1, 100);
        assert!(rates.take(key(1), quota, u64::MAX).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn refused_request_takes_nothing() {
        let (rates, quota) = (Rates::default(), quota(2, 1_000));
        let first = rates.take(key(1), quota, 900).expect("enough");
        let refused = rates.take(key(1), quota, 160).expect_err("too much");
        assert_eq!((refused.rate, refused.wait), (RateKind::Tokens, Duration::from_millis(3_600)));
        assert_eq!(left(&rates, 1, quota), (1, 100));
        let _second = rates.take(key(1), quota, 1).expect("enough");
        let refused = rates.take(key(1), quota, 1).expect_err("too many");
        assert_eq!((refused.rate, refused.wait), (RateKind::Requests, Duration::from_secs(30)));
        drop(first);
    }

    #[tokio::test(start_paused = true)]
    async fn account_is_removed_when_its_limits_are_full() {
        let (rates, quota) = (Rates::default(), quota(60, 0));
        for number in 0..1_000 {
            rates.take(key(number), quota, 0).expect("one").expect("a limit").settle(0);
        }
        rates.sweep();
        assert_eq!(rates.lock().len(), 1_000);
        advance(Duration::from_secs(1)).await;
        rates.sweep();
        assert_eq!(rates.lock().capacity(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn million_accounts_do_not_grow_memory_and_the_heaviest_user_is_kept() {
        let (rates, quota) = (Rates::default(), quota(10, 0));
        for _ in 0..10 {
            rates.take(key(u32::MAX), quota, 0).expect("all of them").expect("a limit").settle(0);
        }
        for number in 0..1_000_000 {
            rates.take(key(number), quota, 0).expect("one").expect("a limit").settle(0);
        }
        assert!(rates.lock().len() <= MAX_ACCOUNTS);
        assert!(rates.take(key(u32::MAX), quota, 0).is_err());
    }
}
