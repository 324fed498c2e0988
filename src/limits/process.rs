//! The limits of one process.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio::time::sleep;

use super::exceeded::{Allowance, Exceeded, ExceededLimit, LimitError};
use super::policy::{GenerationDemand, Spender, WaitPolicy};
use super::rates::{RateKey, RateKind, RateReservation, Rates, RemainingQuota, UsedUp};
use super::slots::{Full, GenerationSlots, Room};
use super::{Admitted, Limits, Settlement};
use crate::domain::{GenerationId, Lookup, Quota};

/// The current usage of all callers of this process. Its slots need no lease: they end with the process.
#[derive(Debug, Default)]
pub struct ProcessLimits {
    rates: Rates,
    slots: GenerationSlots,
    /// The reservations in rates. Locked during every call that changes a rate for a generation, so that each is one
    /// step for the others.
    reserved: Mutex<Lookup<GenerationId, Vec<RateReservation>>>,
}

/// Interval at which accounts with full rates are removed.
const SWEEP: Duration = Duration::from_mins(1);

impl ProcessLimits {
    /// Returns the numbers of running and of queued generations.
    pub fn count(&self) -> (usize, usize) {
        self.slots.count()
    }

    /// Returns for how many requests and generations a rate is reserved.
    pub fn reservations(&self) -> usize {
        self.lock().len()
    }

    /// Periodically removes accounts whose rates are full. Never returns.
    pub async fn sweep(&self) {
        loop {
            sleep(SWEEP).await;
            self.rates.sweep();
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
        let taken = self.rates.take(account_key(spender), quota, 0).map_err(Exceeded::from)?;
        if let Some(taken) = taken {
            reserved.insert(id, vec![taken]);
        }
        Ok(())
    }

    fn admit_now(&self, id: GenerationId, demand: &GenerationDemand) -> Result<Admitted, LimitError> {
        let GenerationDemand { spender, model, tokens, wait_policy } = demand;
        let mut reserved = self.lock();
        if let Some(admitted) = self.slots.find(id) {
            return Ok(admitted);
        }
        // Dropped, and thereby refunded, if there is no slot.
        let taken = self.spend(spender, model, *tokens).map_err(|used_up| {
            // Report the longest wait of all rates: after a shorter one, another rate would refuse the retry.
            let rates = spender.rates_beside_request(model);
            let waits = rates.flat_map(|(key, quota)| self.rates.waits(&key, quota, *tokens));
            Exceeded::from(waits.max_by_key(|wait| wait.wait).unwrap_or(used_up))
        })?;
        let waiting = match wait_policy {
            WaitPolicy::Waits { at_most: Some(Duration::ZERO) } | WaitPolicy::Refuses => 0,
            WaitPolicy::Waits { .. } => spender.policy.waiting,
        };
        let for_account = spender.quota.concurrent_generations;
        let room = Room { for_account, in_all: spender.policy.generations, waiting };
        let queue_state = self.slots.enter(id, spender.account.clone(), room).map_err(Exceeded::from)?;
        if !taken.is_empty() {
            reserved.entry(id).or_default().extend(taken);
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

    fn settle_now(&self, id: GenerationId, settlement: Settlement) {
        let mut all = self.lock();
        for reservation in all.remove(&id).unwrap_or_default() {
            match settlement {
                Settlement::Refunded => drop(reservation),
                Settlement::AsReserved => reservation.settle_as_reserved(),
                Settlement::Used(tokens) => reservation.settle(tokens),
            }
        }
    }

    fn publish_now(&self, spender: &Spender) -> Result<Allowance, (LimitError, Allowance)> {
        let Some(limit) = spender.quota.publishes_per_minute else { return Ok(Allowance::default()) };
        let (taken, left) = self.rates.take_publish(account_key(spender), limit);
        let allowance = Allowance { publishes: Some(left), ..Allowance::default() };
        match taken {
            Ok(()) => Ok(allowance),
            Err(used_up) => Err((Exceeded::from(used_up).into(), allowance)),
        }
    }

    fn left_now(&self, spender: &Spender, model: &str) -> Allowance {
        let lesser = |one: Option<RemainingQuota>, other: Option<RemainingQuota>| match (one, other) {
            (Some(one), Some(other)) => Some(if other.left < one.left { other } else { one }),
            (one, other) => one.or(other),
        };
        let _no_admission_is_half_done = self.lock();
        spender.rates(model).fold(Allowance::default(), |allowance, (key, quota)| {
            let (requests, tokens) = self.rates.left(&key, quota);
            Allowance {
                requests: lesser(allowance.requests, requests),
                tokens: lesser(allowance.tokens, tokens),
                publishes: None,
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Lookup<GenerationId, Vec<RateReservation>>> {
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

    fn settle(&self, id: GenerationId, settlement: Settlement) -> BoxFuture<'_, ()> {
        self.settle_now(id, settlement);
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

fn account_key(spender: &Spender) -> RateKey {
    RateKey { account: spender.account.clone(), models: None }
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
