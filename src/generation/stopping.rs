//! Stops and erases generations, of any process.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::following::FollowError;
use super::service::Generations;
use super::state::GenerationState;
use crate::domain::{CancelReason, GenerationId, Principal, Sequence};
use crate::event_log::{GenerationLog, TailState, wait_until};

/// How long a stop waits for the generation's owner before it checks whether the owner's lease has expired.
const OWNER_CHECK: Duration = Duration::from_secs(1);
/// The longest wait for the end of a generation: longer than a lease.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

impl Generations {
    /// Stops a generation; one that has already ended is unchanged. Returns its state after that.
    pub async fn stop(&self, principal: &Principal, id: GenerationId) -> Result<GenerationState, FollowError> {
        let log = self.open(principal, id, Sequence::START).await?;
        let record = self.0.unkept.held(id);
        self.0.log.request_end(id, CancelReason::ClientRequest).await?;
        _ = timeout(LONGEST_WAIT, self.closed(id, &log)).await;
        GenerationState::now(log, record).await
    }

    /// Stops a generation and removes its log, which also happens if this future is dropped while it waits for the end.
    pub async fn erase(&self, principal: &Principal, id: GenerationId) -> Result<(), FollowError> {
        let log = self.open(principal, id, Sequence::START).await?;
        self.0.log.request_end(id, CancelReason::ClientRequest).await?;
        self.0.log.remove(id).await?;
        _ = timeout(LONGEST_WAIT, wait_until(log, |tail| tail.state == TailState::Closed)).await;
        Ok(())
    }

    /// Waits for the end that the owner was asked for, which comes within moments. An owner that is gone does not end
    /// it: then opening the log closes it, once the owner's lease has expired.
    async fn closed(&self, id: GenerationId, log: &Arc<dyn GenerationLog>) {
        loop {
            let closed = wait_until(Arc::clone(log), |tail| tail.state == TailState::Closed);
            if timeout(OWNER_CHECK, closed).await.is_ok()
                || matches!(self.0.log.open(id, Sequence::START).await, Ok(None))
            {
                return;
            }
        }
    }
}
