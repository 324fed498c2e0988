//! The limits of one process.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::time::sleep;

use super::budgets::{BudgetReservation, Budgets};
use super::exceeded::{Allowance, Exceeded, LimitError};
use super::policy::{GenerationDemand, Spender};
use super::rates::{RateKey, RateReservation, Rates, UsedUp};
use super::slots::GenerationSlots;
use super::{Admitted, Limits, Settled, Settlement};
use crate::domain::{Account, BudgetPeriod, GenerationId, Lookup, Quota, Usd};

/// The current usage of all callers of this process. Its slots need no lease: they end with the process.
#[derive(Debug, Default)]
pub struct ProcessLimits {
    rates: Rates,
    slots: GenerationSlots,
    budgets: Budgets,
    /// The reservations in rates and of budgets. Locked during every call that changes one for a generation, so that
    /// each is one step for the others.
    reserved: Mutex<Lookup<GenerationId, ReservedParts>>,
}

/// What is reserved for one generation. Dropping it unsettled refunds it.
#[derive(Debug, Default)]
struct ReservedParts {
    rates: Vec<RateReservation>,
    budget: Option<BudgetReservation>,
}

/// Interval at which accounts with full rates are removed.
const SWEEP: Duration = Duration::from_mins(1);

impl ProcessLimits {
    /// Returns the numbers of running and of queued generations.
    pub fn count(&self) -> (usize, usize) {
        self.slots.count()
    }

    /// Creates limits with the budgets of callers.
    pub fn with_budgets(budgets: Budgets) -> Self {
        Self { budgets, ..Self::default() }
    }

    /// Returns what an account has spent or reserved in the current period.
    pub fn spent(&self, account: &Account, per: BudgetPeriod) -> Usd {
        self.budgets.spent(account, per)
    }

    /// Returns for how many requests and generations something is reserved.
    pub fn reservations(&self) -> usize {
        self.lock().len()
    }

    /// Periodically removes accounts whose rates are full. Never returns.
    pub async fn sweep(&self) {
        loop {
            sleep(SWEEP).await;
            self.rates.sweep();
            self.budgets.sweep();
            let mut reserved = self.lock();
            let used = reserved.len();
            reserved.shrink_to(used * 2);
        }
    }

    fn take_request_now(&self, id: GenerationId, spender: &Spender) -> Result<(), LimitError> {
        let mut reserved = self.lock();
        if reserved.contains_key(&id) {
            return Ok(());
        }
        let quota = Quota { tokens_per_minute: None, ..spender.quota };
        let taken = self.rates.take(RateKey::of_account(spender.account.clone()), quota, 0).map_err(Exceeded::from)?;
        if let Some(taken) = taken {
            reserved.insert(id, ReservedParts { rates: vec![taken], budget: None });
        }
        Ok(())
    }

    fn admit_now(&self, id: GenerationId, demand: &GenerationDemand) -> Result<Admitted, LimitError> {
        let GenerationDemand { spender, model, tokens, .. } = demand;
        let mut reserved = self.lock();
        if let Some(admitted) = self.slots.find(id) {
            return Ok(admitted);
        }
        // Both are dropped, and thereby refunded, if there is no slot. First the budget: to wait for a rate would not help.
        let budget = self.budgets.reserve(demand)?;
        let taken = self.spend(spender, model, *tokens).map_err(|used_up| {
            // Report the longest wait of all rates: after a shorter one, another rate would refuse the retry.
            let rates = spender.rates_beside_request(model);
            let waits = rates.flat_map(|(key, quota)| self.rates.waits(&key, quota, *tokens));
            Exceeded::from(waits.max_by_key(|wait| wait.wait).unwrap_or(used_up))
        })?;
        let queue_state = self.slots.enter(id, spender.account.clone(), demand.into()).map_err(Exceeded::from)?;
        if !taken.is_empty() || budget.is_some() {
            let parts = reserved.entry(id).or_default();
            parts.rates.extend(taken);
            parts.budget = budget;
        }
        Ok(Admitted { queue_state })
    }

    fn spend(&self, spender: &Spender, model: &str, tokens: u64) -> Result<Vec<RateReservation>, UsedUp> {
        let mut taken = Vec::new();
        for (key, quota) in spender.rates_beside_request(model) {
            taken.extend(self.rates.take(key, quota, tokens)?);
        }
        Ok(taken)
    }

    fn settle_now(&self, id: GenerationId, Settled { usage, cost }: Settled) {
        let mut all = self.lock();
        let ReservedParts { rates, budget } = all.remove(&id).unwrap_or_default();
        match (budget, usage) {
            (None, _) => {}
            (Some(budget), Settlement::Refunded) => drop(budget),
            (Some(budget), Settlement::AsReserved | Settlement::Used(_)) => budget.settle(cost),
        }
        for reservation in rates {
            match usage {
                Settlement::Refunded => drop(reservation),
                Settlement::AsReserved => reservation.settle_as_reserved(),
                Settlement::Used(tokens) => reservation.settle(tokens),
            }
        }
    }

    fn publish_now(&self, spender: &Spender) -> Result<Allowance, (LimitError, Allowance)> {
        let Some(limit) = spender.quota.publishes_per_minute else { return Ok(Allowance::default()) };
        let (taken, left) = self.rates.take_publish(RateKey::of_account(spender.account.clone()), limit);
        let allowance = Allowance { publishes: Some(left), ..Allowance::default() };
        match taken {
            Ok(()) => Ok(allowance),
            Err(used_up) => Err((Exceeded::from(used_up).into(), allowance)),
        }
    }

    fn left_now(&self, spender: &Spender, model: &str) -> Allowance {
        let _no_admission_is_half_done = self.lock();
        let rates = spender.rates(model).map(|(key, quota)| self.rates.left(&key, quota));
        rates.fold(Allowance::default(), |allowance, (requests, tokens)| allowance.and(requests, tokens))
    }

    fn lock(&self) -> MutexGuard<'_, Lookup<GenerationId, ReservedParts>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits for ProcessLimits {
    fn take_request<'a>(&'a self, id: GenerationId, spender: &'a Spender) -> BoxFuture<'a, Result<(), LimitError>> {
        ready(self.take_request_now(id, spender)).boxed()
    }

    fn admit<'a>(
        &'a self,
        id: GenerationId,
        demand: &'a GenerationDemand,
    ) -> BoxFuture<'a, Result<Admitted, LimitError>> {
        ready(self.admit_now(id, demand)).boxed()
    }

    fn settle(&self, id: GenerationId, settled: Settled) -> BoxFuture<'_, ()> {
        self.settle_now(id, settled);
        ready(()).boxed()
    }

    fn release(&self, id: GenerationId) -> BoxFuture<'_, ()> {
        self.slots.release(id);
        ready(()).boxed()
    }

    fn publish<'a>(&'a self, spender: &'a Spender) -> BoxFuture<'a, Result<Allowance, (LimitError, Allowance)>> {
        ready(self.publish_now(spender)).boxed()
    }

    fn left<'a>(&'a self, spender: &'a Spender, model: &'a str) -> BoxFuture<'a, Allowance> {
        ready(self.left_now(spender, model)).boxed()
    }
}
