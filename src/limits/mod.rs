//! Rate limits, concurrency limits and the queue of generations.
//!
//! ```text
//! mod        Limiter: reserves everything that a request needs, or nothing
//! estimates  expected output tokens per account and model
//! meter      one rate of one account
//! rates      requests, tokens and published events per minute, for each account
//! slots      slots for concurrent generations, and the queue for them
//! ```

mod estimates;
mod meter;
mod rates;
mod slots;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

pub use crate::domain::WhenFull;
use crate::domain::{Account, NamePattern, Quota};

pub use estimates::OutputEstimate;
pub use rates::{RateReservation, RemainingQuota};
pub use slots::{GenerationSlot, QueuePosition, QueueState, WaitOutcome};

use estimates::Estimates;
use rates::{RateKey, RateKind, Rates, UsedUp};
use slots::{Full, GenerationSlots, Room};

/// The current usage of all callers. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Limiter {
    rates: Arc<Rates>,
    slots: GenerationSlots,
    estimates: Arc<Estimates>,
}

/// The limits of all callers. Replaced as a whole when the settings are reloaded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// Default quota of each caller. Replaced field by field by the caller's own quota.
    pub each: Quota,
    /// Additional quota of each caller for the models of a pattern. The first matching pattern applies.
    pub models: Vec<(NamePattern, Quota)>,
    /// Concurrent generations of all callers together.
    pub generations: Option<NonZeroU32>,
    /// Concurrent requests in flight of all callers together.
    pub connections: Option<NonZeroU32>,
    pub when_full: WhenFull,
    /// Maximum number of generations that wait for a slot.
    pub waiting: usize,
    /// Maximum wait of one generation.
    pub wait: Duration,
}

/// Limits on requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub for_account: Option<NonZeroU32>,
    pub in_all: Option<NonZeroU32>,
    pub when_full: WhenFull,
}

/// An account with its quota and the policy for all callers.
#[derive(Debug, Clone, PartialEq)]
pub struct Spender {
    pub account: Account,
    quota: Quota,
    policy: Arc<Policy>,
}

/// The slot and the reservations of one generation. When the generation ends, the slot is released and the reservations
/// are settled with the actual usage. Dropping an unsettled permit refunds everything.
#[derive(Debug)]
pub struct Permit {
    pub slot: GenerationSlot,
    pub reservations: Reservations,
}

/// The reservations of one generation in each rate. Dropping them unsettled refunds them.
#[derive(Debug, Default)]
pub struct Reservations(Vec<RateReservation>);

/// The reservation of one request in its account's rate, made before the body is read. Dropping it refunds the request.
#[derive(Debug, Default)]
pub struct RequestPermit(Option<RateReservation>);

/// Whether a request waits for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitPolicy {
    /// Waits as long as the settings allow, or at most `at_most`.
    Waits {
        at_most: Option<Duration>,
    },
    Refuses,
}

/// A request exceeds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    pub limit: ExceededLimit,
    /// Time until the limit allows the request, if no other request takes the capacity.
    pub wait: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExceededLimit {
    RequestsPerMinute(NonZeroU32),
    TokensPerMinute(NonZeroU32),
    PublishesPerMinute(NonZeroU32),
    Generations,
}

impl ExceededLimit {
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestsPerMinute(_) => "requests",
            Self::TokensPerMinute(_) => "tokens",
            Self::PublishesPerMinute(_) => "publishes",
            Self::Generations => "generations",
        }
    }
}

/// Remaining quota of a caller, of the limit that is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    pub requests: Option<RemainingQuota>,
    pub tokens: Option<RemainingQuota>,
    /// Set only for a request that publishes.
    pub publishes: Option<RemainingQuota>,
}

/// Interval at which accounts with full rates are removed.
const SWEEP: Duration = Duration::from_mins(1);

impl Limiter {
    /// Reserves one request in the account's rate. Needs no model, so it can refuse a request before its body is read.
    pub fn take_request(&self, spender: &Spender) -> Result<RequestPermit, Exceeded> {
        let key = RateKey { account: spender.account.clone(), models: None };
        let quota = Quota { tokens_per_minute: None, ..spender.quota };
        Ok(RequestPermit(self.rates.take(key, quota, 0)?))
    }

    /// Reserves everything else that a generation needs, or nothing: a request in the model's rate, `tokens`, and a
    /// slot or a queue position. Adds `request` to the permit. An error drops `request`, which refunds it.
    pub fn admit(
        &self,
        spender: &Spender,
        model: &str,
        tokens: u64,
        wait_policy: WaitPolicy,
        request: RequestPermit,
    ) -> Result<Permit, Exceeded> {
        let mut reservations = self.spend(spender, model, tokens).map_err(|used_up| {
            // Report the longest wait of all rates: after a shorter one, another rate would refuse the retry.
            let rates = spender.rates_beside_request(model);
            let waits = rates.flat_map(|(key, quota)| self.rates.waits(&key, quota, tokens));
            waits.max_by_key(|wait| wait.wait).unwrap_or(used_up)
        })?;
        let waiting = match wait_policy {
            WaitPolicy::Waits { at_most: Some(Duration::ZERO) } | WaitPolicy::Refuses => 0,
            WaitPolicy::Waits { .. } => spender.policy.waiting,
        };
        let for_account = spender.quota.concurrent_generations;
        let room = Room { for_account, in_all: spender.policy.generations, waiting };
        let slot = self.slots.enter(spender.account.clone(), room)?;
        reservations.0.extend(request.0);
        Ok(Permit { slot, reservations })
    }

    fn spend(&self, spender: &Spender, model: &str, tokens: u64) -> Result<Reservations, UsedUp> {
        let mut reservations = Reservations::default();
        for (key, quota) in spender.rates_beside_request(model) {
            reservations.0.extend(self.rates.take(key, quota, tokens)?);
        }
        Ok(reservations)
    }

    /// Returns how many output tokens an answer for this account is expected to have.
    pub fn output_estimate(&self, account: &Account, model: &str) -> OutputEstimate {
        OutputEstimate::new(Arc::clone(&self.estimates), account.clone(), model)
    }

    /// Takes one published event from the caller's rate.
    pub fn publish(&self, spender: &Spender) -> Result<Allowance, (Exceeded, Allowance)> {
        let Some(limit) = spender.quota.publishes_per_minute else { return Ok(Allowance::default()) };
        let key = RateKey { account: spender.account.clone(), models: None };
        let (taken, left) = self.rates.take_publish(key, limit);
        let allowance = Allowance { publishes: Some(left), ..Allowance::default() };
        match taken {
            Ok(()) => Ok(allowance),
            Err(used_up) => Err((used_up.into(), allowance)),
        }
    }

    /// Returns the remaining quota of a caller for a model.
    pub fn left(&self, spender: &Spender, model: &str) -> Allowance {
        let lesser = |one: Option<RemainingQuota>, other: Option<RemainingQuota>| match (one, other) {
            (Some(one), Some(other)) => Some(if other.left < one.left { other } else { one }),
            (one, other) => one.or(other),
        };
        spender.rates(model).fold(Allowance::default(), |allowance, (key, quota)| {
            let (requests, tokens) = self.rates.left(&key, quota);
            Allowance {
                requests: lesser(allowance.requests, requests),
                tokens: lesser(allowance.tokens, tokens),
                publishes: None,
            }
        })
    }

    /// Returns the numbers of running and of queued generations.
    pub fn count(&self) -> (usize, usize) {
        self.slots.count()
    }

    /// Periodically removes accounts whose rates are full. Never returns.
    pub async fn sweep(self) {
        loop {
            sleep(SWEEP).await;
            self.rates.sweep();
        }
    }
}

impl Spender {
    /// `quota` is the caller's own. Fields that it does not set are taken from `policy.each`.
    pub fn new(account: Account, quota: Quota, policy: Arc<Policy>) -> Self {
        Self { account, quota: quota.or(policy.each), policy }
    }

    /// Returns the maximum output tokens of each choice and the maximum number of choices for this model.
    pub fn most(&self, model: &str) -> (Option<NonZeroU32>, Option<NonZeroU32>) {
        let of_model = self.with_model(model).map_or(Quota::NONE, |(_, quota)| *quota);
        let lesser = |one: Option<NonZeroU32>, other: Option<NonZeroU32>| one.into_iter().chain(other).min();
        (
            lesser(self.quota.max_output_tokens, of_model.max_output_tokens),
            lesser(self.quota.max_choices, of_model.max_choices),
        )
    }

    /// Returns how many events this caller may publish per minute.
    pub const fn publishes_per_minute(&self) -> Option<NonZeroU32> {
        self.quota.publishes_per_minute
    }

    pub fn connections(&self) -> ConnectionLimits {
        let Policy { connections, when_full, .. } = *self.policy;
        ConnectionLimits { for_account: self.quota.connections, in_all: connections, when_full }
    }

    /// Returns how long a generation of this caller waits for a slot at most.
    pub fn wait(&self, wait_policy: WaitPolicy) -> Duration {
        match wait_policy {
            WaitPolicy::Waits { at_most } => at_most.unwrap_or(Duration::MAX).min(self.policy.wait),
            WaitPolicy::Refuses => Duration::ZERO,
        }
    }

    fn with_model(&self, model: &str) -> Option<&(NamePattern, Quota)> {
        self.policy.models.iter().find(|(pattern, _)| pattern.matches(model))
    }

    /// Returns the rates that are reserved once the model is known: all except the account's request rate.
    fn rates_beside_request(&self, model: &str) -> impl Iterator<Item = (RateKey, Quota)> {
        let account = |(key, quota): (RateKey, Quota)| {
            let requests_per_minute = key.models.as_ref().and(quota.requests_per_minute);
            (key, Quota { requests_per_minute, ..quota })
        };
        self.rates(model).map(account)
    }

    fn rates(&self, model: &str) -> impl Iterator<Item = (RateKey, Quota)> {
        let all = (RateKey { account: self.account.clone(), models: None }, self.quota);
        let some = self.with_model(model).map(|(pattern, quota)| {
            (RateKey { account: self.account.clone(), models: Some(pattern.as_str().into()) }, *quota)
        });
        [all].into_iter().chain(some)
    }
}

impl RequestPermit {
    /// Counts the request as used.
    pub fn spend(self) {
        if let Some(taken) = self.0 {
            taken.settle_as_reserved();
        }
    }
}

impl Reservations {
    /// Counts the whole reservation as used, for a generation that has ended with unknown usage.
    pub fn settle_as_reserved(self) {
        for taken in self.0 {
            taken.settle_as_reserved();
        }
    }

    /// Settles the reservations for a generation that has ended and used `tokens`.
    pub fn settle(self, tokens: u64) {
        for taken in self.0 {
            taken.settle(tokens);
        }
    }
}

impl From<UsedUp> for Exceeded {
    fn from(used_up: UsedUp) -> Self {
        let limit = match used_up.rate {
            RateKind::Requests => ExceededLimit::RequestsPerMinute(used_up.limit),
            RateKind::Tokens => ExceededLimit::TokensPerMinute(used_up.limit),
            RateKind::Publishes => ExceededLimit::PublishesPerMinute(used_up.limit),
        };
        Self { limit, wait: Some(used_up.wait) }
    }
}

impl From<Full> for Exceeded {
    fn from(full: Full) -> Self {
        // Only an estimate, so it is clamped: other clients retry too.
        let wait = full.eta.map(|eta| eta.clamp(Duration::from_secs(1), Duration::from_mins(1)));
        Self { limit: ExceededLimit::Generations, wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn per_minute(requests: u32, tokens: u32) -> Quota {
        Quota {
            requests_per_minute: NonZeroU32::new(requests),
            tokens_per_minute: NonZeroU32::new(tokens),
            ..Quota::NONE
        }
    }

    fn spender(quota: Quota, policy: &Arc<Policy>) -> Spender {
        Spender::new(Account::of_address([192, 0, 2, 1].into()), quota, Arc::clone(policy))
    }

    #[tokio::test(start_paused = true)]
    async fn request_refused_by_one_limit_takes_nothing_of_another() {
        let policy = Arc::new(Policy {
            each: Quota { concurrent_generations: NonZeroU32::new(1), ..per_minute(10, 1_000) },
            models: vec![(NamePattern::new("big*"), per_minute(1, 500))],
            ..Policy::default()
        });
        let (limits, spender) = (Limiter::default(), spender(Quota::NONE, &policy));
        let admit = |model, tokens| {
            let request = limits.take_request(&spender).map_err(|exceeded| exceeded.limit)?;
            let admitted = limits.admit(&spender, model, tokens, WaitPolicy::Refuses, request);
            admitted.map_err(|exceeded| exceeded.limit)
        };
        let left = |model| {
            let Allowance { requests, tokens, .. } = limits.left(&spender, model);
            (requests.expect("a limit").left, tokens.expect("a limit").left)
        };
        let first = admit("big-1", 100).expect("a slot");
        assert_eq!((left("small"), left("big-1")), ((9, 900), (0, 400)));
        assert_eq!(admit("big-2", 1).err(), NonZeroU32::new(1).map(ExceededLimit::RequestsPerMinute), "of the model");
        assert_eq!(admit("small", 950).err(), NonZeroU32::new(1_000).map(ExceededLimit::TokensPerMinute));
        assert_eq!(admit("small", 100).err(), Some(ExceededLimit::Generations));
        assert_eq!(left("small"), (9, 900));
        first.reservations.settle(40);
        assert_eq!((left("small"), left("big-1")), ((9, 960), (0, 460)));
        drop(first.slot);
        assert!(admit("small", 100).is_ok());
        assert_eq!((left("small"), limits.count()), ((9, 960), (0, 0)), "dropped: all refunded");
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_the_reported_wait_is_admitted_by_all_limits() {
        let each = per_minute(60, 1_000);
        let (limits, policy) = (Limiter::default(), Arc::new(Policy { each, ..Policy::default() }));
        let spender = spender(Quota::NONE, &policy);
        let admit = |tokens| {
            let request = limits.take_request(&spender)?;
            limits.admit(&spender, "m", tokens, WaitPolicy::Refuses, request)
        };
        for _ in 0..59 {
            admit(0).expect("enough").reservations.settle(16);
        }
        let refused = admit(640).expect_err("neither requests nor tokens are left");
        assert_eq!(refused.limit, ExceededLimit::TokensPerMinute(NonZeroU32::new(1_000).expect("not zero")));
        let wait = refused.wait.expect("a wait");
        tokio::time::advance(wait * 9 / 10).await;
        assert!(admit(640).is_err());
        tokio::time::advance(wait / 10).await;
        assert!(admit(640).is_ok());
    }

    #[test]
    fn own_quota_of_a_caller_replaces_the_default_quota() {
        let policy = Arc::new(Policy {
            each: Quota { max_output_tokens: NonZeroU32::new(100), max_choices: NonZeroU32::new(2), ..Quota::NONE },
            models: vec![(NamePattern::new("big*"), Quota { max_output_tokens: NonZeroU32::new(50), ..Quota::NONE })],
            ..Policy::default()
        });
        let most = |quota, model| {
            let (tokens, choices) = spender(quota, &policy).most(model);
            (tokens.map(NonZeroU32::get), choices.map(NonZeroU32::get))
        };
        assert_eq!(most(Quota::NONE, "small"), (Some(100), Some(2)));
        let own = Quota { max_output_tokens: NonZeroU32::new(1_000), ..Quota::NONE };
        assert_eq!(most(own, "small"), (Some(1_000), Some(2)));
        assert_eq!(most(own, "big"), (Some(50), Some(2)), "the model's quota applies to all callers");
    }
}
