//! What a request or a generation has reserved. Each part is given back when it is dropped; where the end of a
//! generation must wait for that, it is given back by an awaited call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::queue::{QueueState, WaitOutcome};
use super::{Limits, Settled, Settlement};
use crate::detached::Detached;
use crate::domain::GenerationId;

/// The slot and the reservations of one generation.
#[derive(Debug)]
pub struct Permit {
    /// The id under which they are stored, which is that of the generation.
    pub id: GenerationId,
    pub slot: GenerationSlot,
    pub reservations: Reservations,
}

/// The id of a generation, with the reservation of one request in its account's rate, made before the body is read.
/// Dropping it refunds the request.
#[derive(Debug)]
pub struct RequestPermit {
    id: GenerationId,
    /// `None` once it is spent, or if nothing was reserved.
    reservations: Option<Reservations>,
}

/// The reservations of one generation in each rate. Dropping them unsettled refunds them.
pub struct Reservations {
    id: GenerationId,
    /// `None` once they are settled.
    calls: Option<Arc<LimitCalls>>,
}

/// A generation's slot, or its position in the queue for one. Dropping it frees the slot.
pub struct GenerationSlot {
    id: GenerationId,
    /// `None` once it is released.
    calls: Option<Arc<LimitCalls>>,
    /// `None` if a slot was granted without queueing.
    queue_state: Option<watch::Receiver<QueueState>>,
}

/// The port, and the tasks in which its calls are completed if their callers are dropped.
pub struct LimitCalls {
    pub limits: Arc<dyn Limits>,
    pub tasks: TaskTracker,
}

/// How long a caller waits for a call. A call that takes longer is completed in a task.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);

impl LimitCalls {
    fn settle(self: Arc<Self>, id: GenerationId, settled: Settled) -> Detached<()> {
        let tasks = self.tasks.clone();
        Detached::new(&tasks, async move { self.limits.settle(id, settled).await })
    }

    fn release(self: Arc<Self>, id: GenerationId) -> Detached<()> {
        let tasks = self.tasks.clone();
        Detached::new(&tasks, async move { self.limits.release(id).await })
    }
}

impl RequestPermit {
    pub(super) const fn new(reservations: Reservations) -> Self {
        Self { id: reservations.id, reservations: Some(reservations) }
    }

    /// Counts the request as used.
    pub async fn spend(&mut self) {
        if let Some(reservations) = self.reservations.take() {
            reservations.settle(Settlement::AsReserved).await;
        }
    }

    pub(super) fn into_parts(self) -> (GenerationId, Option<Reservations>) {
        (self.id, self.reservations)
    }
}

/// Reserves nothing.
impl Default for RequestPermit {
    fn default() -> Self {
        Self { id: GenerationId::random(), reservations: None }
    }
}

impl Reservations {
    pub(super) const fn new(id: GenerationId, calls: Arc<LimitCalls>) -> Self {
        Self { id, calls: Some(calls) }
    }

    /// Settles the reservations. Returns when that is done, or after a timeout; if this future is dropped, or the
    /// timeout is over, it is done in a task.
    pub fn settle<S: Into<Settled>>(mut self, settled: S) -> impl Future<Output = ()> + Send + use<S> {
        let settled = settled.into();
        let call = self.calls.take().map(|calls| calls.settle(self.id, settled));
        async move {
            if let Some(call) = call {
                call.within(CALL_TIMEOUT).await;
            }
        }
    }
}

impl Reservations {
    /// Leaves them as they are: another process has taken the generation over.
    pub fn forget(mut self) {
        if let Some(calls) = self.calls.take() {
            calls.limits.forget(self.id);
        }
    }
}

impl Drop for Reservations {
    fn drop(&mut self) {
        drop(self.calls.take().map(|calls| calls.settle(self.id, Settlement::Refunded.into())));
    }
}

impl GenerationSlot {
    pub(super) const fn new(id: GenerationId, calls: Arc<LimitCalls>) -> Self {
        Self { id, calls: Some(calls), queue_state: None }
    }

    pub(super) fn with_queue_state(mut self, queue_state: Option<watch::Receiver<QueueState>>) -> Self {
        self.queue_state = queue_state;
        self
    }

    pub fn is_granted(&self) -> bool {
        self.queue_state.as_ref().is_none_or(|queue_state| *queue_state.borrow() == QueueState::Granted)
    }

    /// Resolves when a slot is granted or the queue position is lost.
    pub async fn granted(&mut self) -> WaitOutcome {
        let Some(queue_state) = &mut self.queue_state else { return WaitOutcome::Granted };
        // The sender sends `Granted` or `Displaced` before it is dropped.
        let queue_state = queue_state.wait_for(|queue_state| !matches!(queue_state, QueueState::Waiting(_))).await;
        if queue_state.is_ok_and(|queue_state| *queue_state == QueueState::Granted) {
            WaitOutcome::Granted
        } else {
            WaitOutcome::Displaced
        }
    }

    /// Returns a receiver of the queue state and its changes. `None` if the generation never queued.
    pub fn queue_state(&self) -> Option<watch::Receiver<QueueState>> {
        self.queue_state.clone()
    }

    /// Leaves the slot as it is: another process has taken the generation over.
    pub fn forget(mut self) {
        if let Some(calls) = self.calls.take() {
            calls.limits.forget(self.id);
        }
    }

    /// Frees the slot or the queue position. Returns when that is done, or after a timeout; if this future is dropped,
    /// or the timeout is over, it is done in a task.
    pub fn release(mut self) -> impl Future<Output = ()> + Send + use<> {
        let call = self.calls.take().map(|calls| calls.release(self.id));
        async move {
            if let Some(call) = call {
                call.within(CALL_TIMEOUT).await;
            }
        }
    }
}

impl Drop for GenerationSlot {
    fn drop(&mut self) {
        drop(self.calls.take().map(|calls| calls.release(self.id)));
    }
}

impl fmt::Debug for Reservations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservations").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for GenerationSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenerationSlot").field("id", &self.id).finish_non_exhaustive()
    }
}
