//! The rates and budgets in which this process has reserved something, by generation.

use std::iter::once;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::keys::LimitKeys;
use super::rate_list::{MOST_AMOUNT, RateList, ReservedRate};
use super::script;
use crate::domain::{GenerationId, Lookup};
use crate::limits::{Settled, Settlement};
use crate::redis_client::{CommandConnection, PATIENCE, Patience, ScriptCall};

/// What Redis has reserved is in a record of its own for each generation. This process knows in which rates, so that it
/// can name their keys.
#[derive(Default)]
pub struct LocalReservations(Mutex<Lookup<GenerationId, Vec<ReservedRate>>>);

/// What is settled.
#[derive(Debug, Clone, Copy)]
pub enum SettledPart {
    All,
    /// All, and a reservation that arrives later is refused.
    AllWithFence,
    /// What was reserved beside the request.
    Admission,
}

/// How long a record is kept after its last renewal. A debt is at most an hour, so after that nothing of the reservation
/// is left.
pub const RECORD_LIFETIME: Duration = Duration::from_hours(1);
const RECORD_RENEWAL: Duration = Duration::from_mins(10);
/// How long a reservation that may still arrive is refused.
const FENCE_LIFETIME: Duration = Duration::from_mins(1);
/// Records whose expiry is moved in one call.
const RENEWED_AT_ONCE: usize = 256;

/// The fields of a record that tell which calls were made.
pub const REQUEST_STEP: &str = "taken";
pub const ADMISSION_STEP: &str = "admitted";

impl LocalReservations {
    pub fn add(&self, id: GenerationId, rates: &RateList) {
        if rates.is_empty() {
            return;
        }
        let mut reserved = self.lock();
        let of_it = reserved.entry(id).or_default();
        for rate in rates.reserved() {
            if !of_it.iter().any(|known| known.name == rate.name) {
                of_it.push(rate.clone());
            }
        }
    }

    /// Removes the rates of a call that has reserved nothing. Those of an earlier call stay.
    pub fn remove(&self, id: GenerationId, rates: &RateList) {
        let mut reserved = self.lock();
        let Some(of_it) = reserved.get_mut(&id) else { return };
        of_it.retain(|known| !rates.reserved().any(|rate| rate.name == known.name));
        if of_it.is_empty() {
            reserved.remove(&id);
        }
    }

    pub fn take(&self, id: GenerationId) -> Option<Vec<ReservedRate>> {
        self.lock().remove(&id)
    }

    /// Moves the expiry of the records. Runs until dropped.
    pub async fn keep(&self, connection: &CommandConnection, keys: &LimitKeys) {
        loop {
            sleep(RECORD_RENEWAL).await;
            let records: Vec<_> = self.lock().keys().map(|id| keys.record(*id)).collect();
            for records in records.chunks(RENEWED_AT_ONCE) {
                let call = ScriptCall::new(&script::KEEP, records).millis(RECORD_LIFETIME);
                // The next renewal is well before the records expire.
                _ = connection.call(&call, Patience::For(PATIENCE)).await;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lookup<GenerationId, Vec<ReservedRate>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn settle_call<'a>(
    record: &String,
    rates: impl Iterator<Item = &'a ReservedRate> + Clone,
    Settled { usage, cost }: Settled,
    part: SettledPart,
) -> ScriptCall {
    let (settlement, tokens) = match usage {
        Settlement::Refunded => ("refund", 0),
        Settlement::AsReserved => ("keep", 0),
        Settlement::Used(tokens) => ("use", tokens),
    };
    let (step, fence) = match part {
        SettledPart::All => ("", Duration::ZERO),
        SettledPart::AllWithFence => ("", FENCE_LIFETIME),
        SettledPart::Admission => (ADMISSION_STEP, Duration::ZERO),
    };
    let call = ScriptCall::new(&script::SETTLE, once(record).chain(rates.clone().map(|rate| &rate.key)))
        .arg(settlement)
        .number(tokens)
        .arg(cost.map_or_else(String::new, |cost| cost.min(MOST_AMOUNT).nanos().to_string()))
        .arg(step)
        .millis(fence);
    rates.fold(call, |call, rate| call.arg(rate.name))
}
