//! Takes, admits and settles through the port.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::estimates::{Estimates, OutputEstimate};
use super::exceeded::{Allowance, LimitError};
use super::permit::{CALL_TIMEOUT, GenerationSlot, LimitCalls, Permit, RequestPermit, Reservations};
use super::policy::{GenerationDemand, Spender};
use super::process::ProcessLimits;
use super::{Admitted, Limits, Settlement};
use crate::detached::{Detached, within};
use crate::domain::{Account, GenerationId};

/// The limits, for those that reserve something. Clones share them.
///
/// A call that reserves or gives back is completed even if its caller is dropped (contract 7). What it reserved is then
/// given back. Every wait for a call ends after two seconds.
#[derive(Clone)]
pub struct Limiter {
    calls: Arc<LimitCalls>,
    /// Known to this process alone. A settlement is exact, so processes may estimate differently.
    estimates: Arc<Estimates>,
}

impl Limiter {
    /// `tasks` are those in which calls are completed whose callers are gone.
    pub fn new(limits: Arc<dyn Limits>, tasks: TaskTracker) -> Self {
        Self { calls: Arc::new(LimitCalls { limits, tasks }), estimates: Arc::default() }
    }

    /// Reserves one request in the account's rate. Needs no model, so it can refuse a request before its body is read.
    pub async fn take_request(&self, spender: &Spender) -> Result<RequestPermit, LimitError> {
        self.take_request_for(GenerationId::random(), spender).await
    }

    /// Reserves one request for the generation that will have this id.
    pub async fn take_request_for(&self, id: GenerationId, spender: &Spender) -> Result<RequestPermit, LimitError> {
        self.taking_request(id, spender).within(CALL_TIMEOUT).await.unwrap_or(Err(LimitError::Unavailable))
    }

    /// Counts one request as used, if the account's rate has one left. Returns without waiting for it.
    pub fn charge_request(&self, spender: &Spender) {
        let taking = self.taking_request(GenerationId::random(), spender);
        drop(Detached::new(&self.calls.tasks, async move {
            if let Ok(mut permit) = taking.await {
                permit.spend().await;
            }
        }));
    }

    fn taking_request(&self, id: GenerationId, spender: &Spender) -> Detached<Result<RequestPermit, LimitError>> {
        let (calls, spender) = (Arc::clone(&self.calls), spender.clone());
        Detached::new(&self.calls.tasks, async move {
            calls.limits.take_request(id, &spender).await?;
            Ok(RequestPermit::new(Reservations::new(id, calls)))
        })
    }

    /// Reserves everything else that a generation needs, or nothing: a request in the model's rate, tokens, and a slot
    /// or a queue position. Adds `request` to the permit; an error refunds it.
    pub async fn admit(&self, demand: GenerationDemand, request: RequestPermit) -> Result<Permit, LimitError> {
        let calls = Arc::clone(&self.calls);
        let call = Detached::new(&self.calls.tasks, async move {
            let (id, reservations) = request.into_parts();
            let reservations = reservations.unwrap_or_else(|| Reservations::new(id, Arc::clone(&calls)));
            let slot = GenerationSlot::new(id, Arc::clone(&calls));
            match calls.limits.admit(id, &demand).await {
                Ok(Admitted { queue_state }) => {
                    Ok(Permit { id, slot: slot.with_queue_state(queue_state), reservations })
                }
                // Before the refusal is known, because it states what is left. An adapter that does not know whether
                // the admission was made has perhaps reserved a slot too.
                Err(error) => {
                    slot.release().await;
                    reservations.settle(Settlement::Refunded).await;
                    Err(error)
                }
            }
        });
        call.within(CALL_TIMEOUT).await.unwrap_or(Err(LimitError::Unavailable))
    }

    /// Returns how many output tokens an answer for this account is expected to have.
    pub fn output_estimate(&self, account: &Account, model: &str) -> OutputEstimate {
        OutputEstimate::new(Arc::clone(&self.estimates), account.clone(), model)
    }

    /// Takes one published event from the caller's rate.
    pub async fn publish(&self, spender: &Spender) -> Result<Allowance, (LimitError, Allowance)> {
        let taken = within(CALL_TIMEOUT, self.calls.limits.publish(spender)).await;
        taken.unwrap_or_else(|| Err((LimitError::Unavailable, Allowance::default())))
    }

    /// Returns the remaining quota of a caller for a model, or nothing if it is not known in time.
    pub async fn left(&self, spender: &Spender, model: &str) -> Allowance {
        within(CALL_TIMEOUT, self.calls.limits.left(spender, model)).await.unwrap_or_default()
    }
}

/// The limits of one process, without an end that waits for calls whose callers are gone.
impl Default for Limiter {
    fn default() -> Self {
        Self::new(Arc::<ProcessLimits>::default(), TaskTracker::new())
    }
}
