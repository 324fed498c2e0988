//! The rates, and the budget, that a call reads or takes from.

use std::num::NonZeroU32;
use std::time::Duration;

use super::keys::LimitKeys;
use crate::domain::{Budget, Quota, Timestamp, Usd};
use crate::limits::exceeded::{Allowance, BudgetExceeded};
use crate::limits::meter;
use crate::limits::policy::{GenerationDemand, Spender};
use crate::limits::rates::{RateKey, RateKind, RemainingQuota, UsedUp};
use crate::redis_client::{Reply, ScriptCall};

/// Rates in the order in which they are checked, and the budget, which is checked before them.
pub struct RateList {
    rates: Vec<WantedRate>,
    budget: Option<WantedBudget>,
}

struct WantedRate {
    reserved: ReservedRate,
    kind: RateKind,
    limit: NonZeroU32,
    /// At most the limit, so that a refund does not exceed what was reserved.
    cells: u32,
}

struct WantedBudget {
    reserved: ReservedRate,
    budget: Budget,
    amount: Usd,
}

/// A rate or a budget in which something is reserved for a generation.
#[derive(Debug, Clone)]
pub struct ReservedRate {
    /// Distinguishes the rates of one generation.
    pub name: &'static str,
    pub key: String,
}

/// The name of the budget among what is reserved.
const BUDGET: &str = "budget";
/// No script adds more at once, so that all sums are exact in its arithmetic: 4.5 million dollars. A budget is less.
pub const MOST_AMOUNT: Usd = Usd::from_nanos(1 << 52);

impl RateList {
    /// The rate that a request takes one from before its body is read.
    pub fn of_request(keys: &LimitKeys, spender: &Spender) -> Self {
        let quota = Quota { tokens_per_minute: None, ..spender.quota };
        Self::new(keys, [(RateKey::of_account(spender.account.clone()), quota)], 0)
    }

    /// The rates that a generation takes from beside that of its request.
    pub fn beside_request(keys: &LimitKeys, demand: &GenerationDemand) -> Self {
        let rates = Self::new(keys, demand.spender.rates_beside_request(&demand.model), demand.tokens);
        let budget = demand.spender.budget().map(|budget| WantedBudget {
            reserved: ReservedRate { name: BUDGET, key: keys.spending(&demand.spender.account) },
            budget,
            amount: demand.cost.min(MOST_AMOUNT),
        });
        Self { budget, ..rates }
    }

    /// All requests and tokens of a caller for a model.
    pub fn all(keys: &LimitKeys, spender: &Spender, model: &str) -> Self {
        Self::new(keys, spender.rates(model), 0)
    }

    fn new(keys: &LimitKeys, rates: impl IntoIterator<Item = (RateKey, Quota)>, tokens: u64) -> Self {
        let mut list = Vec::new();
        for (key, quota) in rates {
            let [requests, of_tokens] =
                if key.models.is_none() { ["requests", "tokens"] } else { ["model_requests", "model_tokens"] };
            let mut add = |kind, name, limit: Option<NonZeroU32>, wanted: u64| {
                let Some(limit) = limit else { return };
                let cells = u32::try_from(wanted).unwrap_or(u32::MAX).min(limit.get());
                let reserved = ReservedRate { name, key: keys.rate(&key, kind) };
                list.push(WantedRate { reserved, kind, limit, cells });
            };
            add(RateKind::Requests, requests, quota.requests_per_minute, 1);
            add(RateKind::Tokens, of_tokens, quota.tokens_per_minute, tokens);
        }
        Self { rates: list, budget: None }
    }

    pub const fn is_empty(&self) -> bool {
        self.rates.is_empty() && self.budget.is_none()
    }

    /// Returns the rates, and then the budget.
    pub fn reserved(&self) -> impl Iterator<Item = &ReservedRate> + Clone {
        self.rates.iter().map(|rate| &rate.reserved).chain(self.budget.iter().map(|budget| &budget.reserved))
    }

    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.reserved().map(|reserved| &reserved.key)
    }

    /// Adds what is wanted of the budget and of each rate.
    pub fn add_to(&self, call: ScriptCall) -> ScriptCall {
        let call = match &self.budget {
            None => call.arg("").arg("").arg(""),
            Some(WantedBudget { budget, amount, .. }) => {
                call.number(amount.nanos()).number(budget.most.nanos()).arg(budget.per.name())
            }
        };
        self.rates.iter().fold(call, |call, rate| {
            let kind = match rate.kind {
                RateKind::Requests | RateKind::Publishes => "requests",
                RateKind::Tokens => "tokens",
            };
            call.arg(rate.reserved.name).arg(kind).number(rate.limit.get().into()).number(rate.cells.into())
        })
    }

    /// Returns the rate with the longest wait: after a shorter one, another rate would refuse the retry. The values of
    /// the reply are the nanoseconds until each limit is full again.
    pub fn used_up(&self, reply: &Reply) -> Option<UsedUp> {
        let waits = self.rates.iter().zip(1..).filter_map(|(rate, at)| {
            let wait = meter::wait(rate.limit, NonZeroU32::new(rate.cells)?, full_in(reply, at));
            Some(UsedUp { rate: rate.kind, limit: rate.limit, wait })
        });
        waits.max_by_key(|wait| wait.wait)
    }

    /// Returns why the budget refuses. The values of the reply are what is spent, and the moment in microseconds.
    pub fn over_budget(&self, reply: &Reply) -> Option<BudgetExceeded> {
        let WantedBudget { budget, amount, .. } = self.budget.as_ref()?;
        let (spent, at) = (Usd::from_nanos(reply.number(1)), Timestamp::from_millis(reply.number(2) / 1_000));
        Some(BudgetExceeded { budget: *budget, spent, wanted: *amount, at })
    }

    pub fn allowance(&self, reply: &Reply) -> Allowance {
        self.rates.iter().zip(1..).fold(Allowance::default(), |allowance, (rate, at)| {
            let left = RemainingQuota::new(rate.limit, full_in(reply, at));
            match rate.kind {
                RateKind::Requests => allowance.and(Some(left), None),
                RateKind::Tokens => allowance.and(None, Some(left)),
                RateKind::Publishes => Allowance { publishes: Some(left), ..allowance },
            }
        })
    }
}

/// Returns the time until a limit is full again, from a value of a reply.
pub fn full_in(reply: &Reply, at: usize) -> Duration {
    Duration::from_nanos(reply.number(at))
}
