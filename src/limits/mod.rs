//! Rate limits, concurrency limits and the queue of generations.
//!
//! ```text
//! mod        the port, and its contract
//! limiter    what the other rooms call: takes, admits and settles through the port
//! permit     what a request or a generation has reserved
//! policy     the limits of all callers, and those of one
//! exceeded   why a limit refuses a request, and what a caller has left
//! queue      the state of a generation that waits for a slot
//! estimates  expected output tokens per account and model
//! budgets    what the callers of one process have spent
//! room       the limits on concurrent generations that apply to one
//! line       the generations of this process that wait for a slot, in the order of service
//! process    the port's adapter for one process
//!   slots    slots for concurrent generations, and the queue for them
//!   rates    requests, tokens and published events per minute, for each account
//!   meter    one rate of one account
//! redis      the port's adapter for several processes that share a server
//! ```
//!
//! # The contract
//!
//! Every adapter of [`Limits`] keeps these rules; `tests/it/limits_contract.rs` tests each rule against each adapter.
//!
//! 1. **All or nothing.** An admission is one step. It reserves a request in the model's rate, the tokens, the cost, and
//!    a slot or a queue position, or it is refused and reserves nothing. A request that was taken before under the same id stays
//!    until it is settled.
//! 2. **Repeatable.** Everything is stored under the id of the generation. A call whose reply is lost may be repeated
//!    with the same id: [`Limits::take_request`] and [`Limits::admit`] find their own reservation and return the same
//!    result as before. A refused call left nothing behind, so its repeat is decided anew.
//! 3. **Settled once.** A settlement changes a rate only in the step that removes the reservation, and a release frees a
//!    slot only in the step that removes it. A second one, or one for an unknown id, changes nothing. Settling and
//!    releasing are independent of each other.
//! 4. **Exact.** A settlement with the used tokens leaves the rate as if these tokens had been taken at first, also if
//!    they are more than were reserved. A refund gives back exactly what was reserved, the requests too. The same holds
//!    for a budget and the cost, in the day and the month in which the reservation was made, unless they are over.
//! 5. **Slots have an owner.** A slot belongs to the process that was admitted. An adapter that several processes share
//!    renews the slots of its own process itself, and frees those of a process that no longer does. Releasing a slot
//!    that has expired changes nothing.
//! 6. **Queued in this process.** A queue position is one among the generations of this process. Accounts take turns,
//!    and within one the first that came is served first. A slot that is freed, by a release or by expiry, wakes the
//!    queue. [`QueueState::Granted`] is sent only after the slot is stored under the id of its generation. The release
//!    of a generation that waits removes it from the queue.
//! 7. **In order.** The calls for one id are made one after the other, and a call that has begun is completed before the
//!    next, also if its caller is gone ([`Limiter`] sees to that). No admission arrives after the release of its id.
//! 8. **Slow.** Any call may take time. An adapter behind a network repeats a settlement or a release until it succeeds
//!    or what it would remove has expired.
//! 9. **Spent money stays spent.** What is reserved of a budget and not settled counts as spent until the period ends.
//! 10. **Events are counted at least once.** A published event has no id: a repeat of [`Limits::publish`] after a lost
//!     reply may count it twice.

mod budgets;
mod estimates;
mod exceeded;
mod limiter;
mod line;
mod meter;
mod permit;
mod policy;
mod process;
mod queue;
mod rates;
mod redis;
mod room;
mod slots;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

pub use crate::domain::WhenFull;
use crate::domain::{GenerationId, Usd};

pub use self::redis::{RedisLimitTerms, RedisLimits};
pub use budgets::Budgets;
pub use estimates::OutputEstimate;
pub use exceeded::{Allowance, BudgetExceeded, Exceeded, ExceededLimit, LimitError};
pub use limiter::Limiter;
pub use permit::{GenerationSlot, Permit, RequestPermit, Reservations};
pub use policy::{ConnectionLimits, GenerationDemand, Policy, Spender, WaitPolicy};
pub use process::ProcessLimits;
pub use queue::{QueuePosition, QueueState, WaitOutcome};
pub use rates::RemainingQuota;

/// The current usage of all callers of one deployment.
pub trait Limits: Send + Sync + 'static {
    /// Reserves one request in the account's rate, for the generation that it will start. Needs no model, so it can
    /// refuse a request before its body is read.
    fn take_request<'a>(&'a self, id: GenerationId, spender: &'a Spender) -> BoxFuture<'a, Result<(), LimitError>>;

    /// Reserves everything else that the generation needs, or nothing (contract 1, 2).
    fn admit<'a>(
        &'a self,
        id: GenerationId,
        demand: &'a GenerationDemand,
    ) -> BoxFuture<'a, Result<Admitted, LimitError>>;

    /// Settles all that was reserved in rates and of a budget under this id (contract 3, 4).
    fn settle(&self, id: GenerationId, settled: Settled) -> BoxFuture<'_, ()>;

    /// Frees the slot, or the queue position, that is stored under this id (contract 3, 5, 6).
    fn release(&self, id: GenerationId) -> BoxFuture<'_, ()>;

    /// Leaves the slot and what was reserved under this id to the process that has taken the generation over, without
    /// a change of either.
    fn forget(&self, _id: GenerationId) {}

    /// Takes one published event from the account's rate; returns what is left of it (contract 10).
    fn publish<'a>(&'a self, spender: &'a Spender) -> BoxFuture<'a, Result<Allowance, (LimitError, Allowance)>>;

    /// Returns the remaining quota of a caller for a model.
    fn left<'a>(&'a self, spender: &'a Spender, model: &'a str) -> BoxFuture<'a, Allowance>;
}

/// The result of an admission.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The state of the queue position and its changes. `None` if a slot was granted without queueing.
    pub queue_state: Option<watch::Receiver<QueueState>>,
}

/// What becomes of everything that is reserved for a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// Of the rates.
    pub usage: Settlement,
    /// What all attempts cost; `None` if that is unknown: the reserved amount then counts as spent. Ignored by a refund.
    pub cost: Option<Usd>,
}

/// What becomes of a reservation in rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// Nothing was used: everything is given back, the requests too.
    Refunded,
    /// The usage is unknown: the whole reservation counts as used.
    AsReserved,
    /// This many tokens were used. The requests count as used.
    Used(u64),
}

/// The cost is unknown.
impl From<Settlement> for Settled {
    fn from(usage: Settlement) -> Self {
        Self { usage, cost: None }
    }
}
