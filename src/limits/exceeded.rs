//! Why a limit refuses a request, and what a caller has left.

use std::num::NonZeroU32;
use std::time::Duration;

use super::rates::{RateKind, RemainingQuota, UsedUp};
use super::room::Full;
use crate::domain::{Budget, Timestamp, Usd};

/// Why a call to the limits fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitError {
    Exceeded(Exceeded),
    /// The limits did not answer in time. Whatever the call reserved is released in the background.
    Unavailable,
}

/// A request exceeds a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    pub limit: ExceededLimit,
    /// Time until the limit allows the request, if no other request takes the capacity.
    pub wait: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExceededLimit {
    RequestsPerMinute(NonZeroU32),
    TokensPerMinute(NonZeroU32),
    PublishesPerMinute(NonZeroU32),
    Generations,
    /// Boxed, so that the errors of other limits stay small.
    Budget(Box<BudgetExceeded>),
}

/// A generation may cost more than the budget leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetExceeded {
    pub budget: Budget,
    /// What is spent or reserved in this period.
    pub spent: Usd,
    /// What the generation would reserve.
    pub wanted: Usd,
    /// The time of the decision.
    pub at: Timestamp,
}

impl ExceededLimit {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RequestsPerMinute(_) => "requests",
            Self::TokensPerMinute(_) => "tokens",
            Self::PublishesPerMinute(_) => "publishes",
            Self::Generations => "generations",
            Self::Budget(_) => "budget",
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

impl From<Exceeded> for LimitError {
    fn from(exceeded: Exceeded) -> Self {
        Self::Exceeded(exceeded)
    }
}

impl BudgetExceeded {
    /// Returns what is left in this period.
    pub const fn left(&self) -> Usd {
        self.budget.most.minus(self.spent)
    }

    /// Returns when the next period begins.
    pub fn resets_at(&self) -> Timestamp {
        self.budget.per.end(self.at)
    }
}

impl From<BudgetExceeded> for LimitError {
    fn from(exceeded: BudgetExceeded) -> Self {
        Self::Exceeded(Exceeded { limit: ExceededLimit::Budget(Box::new(exceeded)), wait: None })
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

impl Allowance {
    /// Returns the lesser of this and of another limit's requests and tokens.
    pub(super) fn and(self, requests: Option<RemainingQuota>, tokens: Option<RemainingQuota>) -> Self {
        let lesser = |one: Option<RemainingQuota>, other: Option<RemainingQuota>| match (one, other) {
            (Some(one), Some(other)) => Some(if other.left < one.left { other } else { one }),
            (one, other) => one.or(other),
        };
        Self { requests: lesser(self.requests, requests), tokens: lesser(self.tokens, tokens), ..self }
    }
}
