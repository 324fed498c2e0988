//! How much is how much: what each caller may take, and whose turn it is.
//!
//! ```text
//! mod        Limits: what a request takes before it may begin, all of it or nothing
//! estimates  the output tokens that an account's answers of a model have
//! meter      what is left of one rate
//! rates      requests, tokens and published events per minute, for each account
//! places     generations that run at the same time, and the line for them
//! ```

mod estimates;
mod meter;
mod places;
mod rates;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::domain::{Account, NamePattern, Quota};

pub use estimates::OutputEstimate;
pub use places::{Ahead, Place, Turn, Waited};
pub use rates::{Left, Taken};

use estimates::Estimates;
use places::{Full, Places, Room};
use rates::{Key, Rate, Rates, UsedUp};

/// What all callers have taken. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    rates: Arc<Rates>,
    places: Places,
    estimates: Arc<Estimates>,
}

/// What callers may take; replaced as a whole when the settings are read again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Policy {
    /// Each of whom nothing else is said.
    pub each: Quota,
    /// Each with the models of a pattern, besides. The first pattern that matches counts.
    pub models: Vec<(NamePattern, Quota)>,
    /// Generations that run at the same time, of all callers together.
    pub generations: Option<NonZeroU32>,
    /// Requests in flight at the same time, of all callers together.
    pub connections: Option<NonZeroU32>,
    pub when_full: WhenFull,
    /// Generations that wait for a place at most.
    pub waiting: usize,
    /// How long one waits at most.
    pub wait: Duration,
}

/// What becomes of an event stream that would be one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It is refused.
    #[default]
    Refuse,
    /// It takes the place of the oldest, which is broken off.
    CloseOldest,
}

/// How many requests may be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub for_account: Option<NonZeroU32>,
    pub in_all: Option<NonZeroU32>,
    pub when_full: WhenFull,
}

/// Who takes it, and how much that may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Spender {
    pub account: Account,
    quota: Quota,
    policy: Arc<Policy>,
}

/// What one generation has taken. The place goes back when it ends, the rest is settled with what was used; what is
/// dropped before goes back whole.
#[derive(Debug)]
pub struct Permit {
    pub place: Place,
    pub spent: Spent,
}

/// Of the rates.
#[derive(Debug, Default)]
pub struct Spent(Vec<Taken>);

/// One request of its account's rate, taken before its body is read. Dropping it gives the request back.
#[derive(Debug, Default)]
pub struct RequestPermit(Option<Taken>);

/// Whether a request waits for its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as the settings allow, or less.
    Waits {
        at_most: Option<Duration>,
    },
    Refuses,
}

/// What there is not enough of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    pub limit: Limit,
    /// When there will be enough, if nobody else takes it.
    pub wait: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    RequestsPerMinute(NonZeroU32),
    TokensPerMinute(NonZeroU32),
    PublishesPerMinute(NonZeroU32),
    Generations,
}

impl Limit {
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestsPerMinute(_) => "requests",
            Self::TokensPerMinute(_) => "tokens",
            Self::PublishesPerMinute(_) => "publishes",
            Self::Generations => "generations",
        }
    }
}

/// What is left for a caller, of the limit that is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Allowance {
    pub requests: Option<Left>,
    pub tokens: Option<Left>,
    /// Only of a request that publishes.
    pub publishes: Option<Left>,
}

/// How often accounts that have everything back are forgotten.
const SWEEP: Duration = Duration::from_mins(1);

impl Limits {
    /// Takes one request of the account's rate: what can be refused without knowing the model is refused here.
    pub fn take_request(&self, spender: &Spender) -> Result<RequestPermit, Exceeded> {
        let key = Key { account: spender.account.clone(), models: None };
        let quota = Quota { tokens_per_minute: None, ..spender.quota };
        Ok(RequestPermit(self.rates.take(key, quota, 0)?))
    }

    /// Takes what else a generation takes, all of it or nothing: a request of the model's rate, `tokens` that it may come
    /// to, and a place or one in the line. `request` is given back with the rest.
    pub fn admit(
        &self,
        spender: &Spender,
        model: &str,
        tokens: u64,
        patience: Patience,
        request: RequestPermit,
    ) -> Result<Permit, Exceeded> {
        let mut spent = self.spend(spender, model, tokens).map_err(|used_up| {
            // Who comes back when one of them has enough would be refused by another.
            let rates = spender.rates_beside_request(model);
            let waits = rates.flat_map(|(key, quota)| self.rates.waits(&key, quota, tokens));
            waits.max_by_key(|wait| wait.wait).unwrap_or(used_up)
        })?;
        let waiting = match patience {
            Patience::Waits { at_most: Some(Duration::ZERO) } | Patience::Refuses => 0,
            Patience::Waits { .. } => spender.policy.waiting,
        };
        let for_account = spender.quota.concurrent_generations;
        let room = Room { for_account, in_all: spender.policy.generations, waiting };
        let place = self.places.enter(spender.account.clone(), room)?;
        spent.0.extend(request.0);
        Ok(Permit { place, spent })
    }

    fn spend(&self, spender: &Spender, model: &str, tokens: u64) -> Result<Spent, UsedUp> {
        let mut spent = Spent::default();
        for (key, quota) in spender.rates_beside_request(model) {
            spent.0.extend(self.rates.take(key, quota, tokens)?);
        }
        Ok(spent)
    }

    /// Returns how many output tokens an answer for this account is expected to have.
    pub fn output_estimate(&self, account: &Account, model: &str) -> OutputEstimate {
        OutputEstimate::new(Arc::clone(&self.estimates), account.clone(), model)
    }

    /// Takes one event that the caller publishes into a channel.
    pub fn publish(&self, spender: &Spender) -> Result<Allowance, (Exceeded, Allowance)> {
        let Some(limit) = spender.quota.publishes_per_minute else { return Ok(Allowance::default()) };
        let key = Key { account: spender.account.clone(), models: None };
        let (taken, left) = self.rates.take_publish(key, limit);
        let allowance = Allowance { publishes: Some(left), ..Allowance::default() };
        match taken {
            Ok(()) => Ok(allowance),
            Err(used_up) => Err((used_up.into(), allowance)),
        }
    }

    /// What is left for a caller, with a model.
    pub fn left(&self, spender: &Spender, model: &str) -> Allowance {
        let lesser = |one: Option<Left>, other: Option<Left>| match (one, other) {
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

    /// Generations that run, and that wait for a place.
    pub fn count(&self) -> (usize, usize) {
        self.places.count()
    }

    /// Forgets who has everything back, again and again.
    pub async fn sweep(self) {
        loop {
            sleep(SWEEP).await;
            self.rates.sweep();
        }
    }
}

impl Spender {
    /// `quota` is the caller's own, before that of everybody.
    pub fn new(account: Account, quota: Quota, policy: Arc<Policy>) -> Self {
        Self { account, quota: quota.or(policy.each), policy }
    }

    /// The most of what a request for this model may ask for: output tokens of each choice, and choices.
    pub fn most(&self, model: &str) -> (Option<NonZeroU32>, Option<NonZeroU32>) {
        let of_model = self.with_model(model).map_or(Quota::NONE, |(_, quota)| *quota);
        let lesser = |one: Option<NonZeroU32>, other: Option<NonZeroU32>| one.into_iter().chain(other).min();
        (
            lesser(self.quota.max_output_tokens, of_model.max_output_tokens),
            lesser(self.quota.max_choices, of_model.max_choices),
        )
    }

    /// Events that this caller may publish in a minute.
    pub const fn publishes_per_minute(&self) -> Option<NonZeroU32> {
        self.quota.publishes_per_minute
    }

    pub fn connections(&self) -> ConnectionLimits {
        let Policy { connections, when_full, .. } = *self.policy;
        ConnectionLimits { for_account: self.quota.connections, in_all: connections, when_full }
    }

    /// How long a generation of this caller waits for its place at most.
    pub fn wait(&self, patience: Patience) -> Duration {
        match patience {
            Patience::Waits { at_most } => at_most.unwrap_or(Duration::MAX).min(self.policy.wait),
            Patience::Refuses => Duration::ZERO,
        }
    }

    fn with_model(&self, model: &str) -> Option<&(NamePattern, Quota)> {
        self.policy.models.iter().find(|(pattern, _)| pattern.matches(model))
    }

    /// The rates that are taken when the model is known: all but the account's of requests.
    fn rates_beside_request(&self, model: &str) -> impl Iterator<Item = (Key, Quota)> {
        let account = |(key, quota): (Key, Quota)| {
            let requests_per_minute = key.models.as_ref().and(quota.requests_per_minute);
            (key, Quota { requests_per_minute, ..quota })
        };
        self.rates(model).map(account)
    }

    fn rates(&self, model: &str) -> impl Iterator<Item = (Key, Quota)> {
        let all = (Key { account: self.account.clone(), models: None }, self.quota);
        let some = self.with_model(model).map(|(pattern, quota)| {
            (Key { account: self.account.clone(), models: Some(pattern.as_str().into()) }, *quota)
        });
        [all].into_iter().chain(some)
    }
}

impl RequestPermit {
    /// Keeps the request as used.
    pub fn spend(self) {
        if let Some(taken) = self.0 {
            taken.settle_as_reserved();
        }
    }
}

impl Spent {
    /// Counts the whole reservation as used, for a generation that has ended with unknown usage.
    pub fn settle_as_reserved(self) {
        for taken in self.0 {
            taken.settle_as_reserved();
        }
    }

    /// The generation has ended, and used so many tokens.
    pub fn settle(self, tokens: u64) {
        for taken in self.0 {
            taken.settle(tokens);
        }
    }
}

impl From<UsedUp> for Exceeded {
    fn from(used_up: UsedUp) -> Self {
        let limit = match used_up.rate {
            Rate::Requests => Limit::RequestsPerMinute(used_up.limit),
            Rate::Tokens => Limit::TokensPerMinute(used_up.limit),
            Rate::Publishes => Limit::PublishesPerMinute(used_up.limit),
        };
        Self { limit, wait: Some(used_up.wait) }
    }
}

impl From<Full> for Exceeded {
    fn from(full: Full) -> Self {
        // As far as that can be told: who comes back is not the only one.
        let wait = full.eta.map(|eta| eta.clamp(Duration::from_secs(1), Duration::from_mins(1)));
        Self { limit: Limit::Generations, wait }
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
    async fn what_is_refused_by_one_limit_takes_nothing_of_another() {
        let policy = Arc::new(Policy {
            each: Quota { concurrent_generations: NonZeroU32::new(1), ..per_minute(10, 1_000) },
            models: vec![(NamePattern::new("big*"), per_minute(1, 500))],
            ..Policy::default()
        });
        let (limits, spender) = (Limits::default(), spender(Quota::NONE, &policy));
        let admit = |model, tokens| {
            let request = limits.take_request(&spender).map_err(|exceeded| exceeded.limit)?;
            let admitted = limits.admit(&spender, model, tokens, Patience::Refuses, request);
            admitted.map_err(|exceeded| exceeded.limit)
        };
        let left = |model| {
            let Allowance { requests, tokens, .. } = limits.left(&spender, model);
            (requests.expect("a limit").left, tokens.expect("a limit").left)
        };
        let first = admit("big-1", 100).expect("a place");
        assert_eq!((left("small"), left("big-1")), ((9, 900), (0, 400)));
        assert_eq!(admit("big-2", 1).err(), NonZeroU32::new(1).map(Limit::RequestsPerMinute), "of the model");
        assert_eq!(admit("small", 950).err(), NonZeroU32::new(1_000).map(Limit::TokensPerMinute));
        assert_eq!(admit("small", 100).err(), Some(Limit::Generations));
        assert_eq!(left("small"), (9, 900));
        first.spent.settle(40);
        assert_eq!((left("small"), left("big-1")), ((9, 960), (0, 460)));
        drop(first.place);
        assert!(admit("small", 100).is_ok());
        assert_eq!((left("small"), limits.count()), ((9, 960), (0, 0)), "dropped: all given back");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_as_told_meets_no_other_limit() {
        let each = per_minute(60, 1_000);
        let (limits, policy) = (Limits::default(), Arc::new(Policy { each, ..Policy::default() }));
        let spender = spender(Quota::NONE, &policy);
        let admit = |tokens| {
            let request = limits.take_request(&spender)?;
            limits.admit(&spender, "m", tokens, Patience::Refuses, request)
        };
        for _ in 0..59 {
            admit(0).expect("enough").spent.settle(16);
        }
        let refused = admit(640).expect_err("neither requests nor tokens are left");
        assert_eq!(refused.limit, Limit::TokensPerMinute(NonZeroU32::new(1_000).expect("not zero")));
        let wait = refused.wait.expect("a wait");
        tokio::time::advance(wait * 9 / 10).await;
        assert!(admit(640).is_err());
        tokio::time::advance(wait / 10).await;
        assert!(admit(640).is_ok());
    }

    #[test]
    fn a_callers_own_quota_stands_in_place_of_everybodys() {
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
        assert_eq!(most(own, "big"), (Some(50), Some(2)), "the model's holds for everybody");
    }
}
