//! The limits of all callers, and those of one.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::rates::RateKey;
use crate::domain::{Account, Budget, NamePattern, Quota, Usd, WhenFull};

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
    pub(super) quota: Quota,
    budget: Option<Budget>,
    pub(super) policy: Arc<Policy>,
}

/// Whether a request waits for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitPolicy {
    /// Waits as long as the settings allow, or at most `at_most`.
    Waits {
        at_most: Option<Duration>,
    },
    Refuses,
}

/// What a generation needs of its caller's limits.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationDemand {
    pub spender: Spender,
    pub model: String,
    /// The estimated tokens of the prompt and the answer.
    pub tokens: u64,
    /// The most that one attempt may cost, as far as is known: at the dearest target of its plan.
    pub cost: Usd,
    pub wait_policy: WaitPolicy,
}

impl Spender {
    /// `quota` is the caller's own. Fields that it does not set are taken from `policy.each`.
    pub fn new(account: Account, quota: Quota, policy: Arc<Policy>) -> Self {
        Self { account, quota: quota.or(policy.each), budget: None, policy }
    }

    /// Returns this account with a budget.
    #[must_use]
    pub fn with_budget(self, budget: Option<Budget>) -> Self {
        Self { budget, ..self }
    }

    pub const fn budget(&self) -> Option<Budget> {
        self.budget
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

    /// Returns the limits of this caller alone.
    pub const fn quota(&self) -> Quota {
        self.quota
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
    pub(super) fn rates_beside_request(&self, model: &str) -> impl Iterator<Item = (RateKey, Quota)> {
        let account = |(key, quota): (RateKey, Quota)| {
            let requests_per_minute = key.models.as_ref().and(quota.requests_per_minute);
            (key, Quota { requests_per_minute, ..quota })
        };
        self.rates(model).map(account)
    }

    pub(super) fn rates(&self, model: &str) -> impl Iterator<Item = (RateKey, Quota)> {
        let all = (RateKey { account: self.account.clone(), models: None }, self.quota);
        let some = self.with_model(model).map(|(pattern, quota)| {
            (RateKey { account: self.account.clone(), models: Some(pattern.as_str().into()) }, *quota)
        });
        [all].into_iter().chain(some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spender(quota: Quota, policy: &Arc<Policy>) -> Spender {
        Spender::new(Account::of_address([192, 0, 2, 1].into()), quota, Arc::clone(policy))
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
