//! Following and inspecting generations.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::following::{FollowError, Following, ViewerHandle};
use super::service::Generations;
use super::state::GenerationState;
use crate::domain::{EventPosition, GenerationId, Principal, Sequence};
use crate::event_log::{GenerationLog, Tail, TailState, wait_until};

impl Generations {
    /// Follows a generation: every event after a position, then each new one.
    pub async fn follow(
        &self,
        principal: &Principal,
        id: GenerationId,
        after: EventPosition,
    ) -> Result<Following, FollowError> {
        let (log, tail) = self.open_after(principal, id, after).await?;
        let after = after.sequence;
        if after == tail.sequence && tail.state == TailState::Closed {
            return Err(FollowError::AtEnd);
        }
        let handle = self.viewer_handle(id).await.of_chat(self.chat_end(log.start()));
        Ok(Following::new(log, after, handle))
    }

    /// Returns the current state of a generation, in place of its events so far, and every event after that. The
    /// terminal event is always delivered as an event.
    pub async fn follow_from_snapshot(
        &self,
        principal: &Principal,
        id: GenerationId,
    ) -> Result<(GenerationState, Following), FollowError> {
        let log = self.open(principal, id, Sequence::START).await?;
        let handle = self.viewer_handle(id).await.of_chat(self.chat_end(log.start()));
        let tail = log.tail().await.map_err(|_| FollowError::HistoryLost)?;
        let position = match tail.state {
            TailState::Open => tail.sequence,
            TailState::Closed => tail.sequence.before(),
        };
        let state = GenerationState::at(Arc::clone(&log), position);
        Ok((state, Following::new(log, position, handle)))
    }

    /// Checks that the caller may see a generation, without reading its log.
    pub async fn exists(&self, principal: &Principal, id: GenerationId) -> Result<(), FollowError> {
        self.open(principal, id, Sequence::START).await.map(drop)
    }

    /// Returns the current state of a generation.
    pub async fn inspect(&self, principal: &Principal, id: GenerationId) -> Result<GenerationState, FollowError> {
        let log = self.open(principal, id, Sequence::START).await?;
        GenerationState::now(log, self.0.unkept.held(id)).await
    }

    /// Waits, as a viewer, until a generation has events after a position or has ended, at most `patience`.
    pub async fn wait_for_more(
        &self,
        principal: &Principal,
        id: GenerationId,
        after: EventPosition,
        patience: Duration,
    ) -> Result<(), FollowError> {
        let (log, _) = self.open_after(principal, id, after).await?;
        let after = after.sequence;
        if patience.is_zero() {
            return Ok(());
        }
        let _handle = self.viewer_handle(id).await;
        _ = timeout(patience, wait_until(log, |tail| tail.sequence > after || tail.state == TailState::Closed)).await;
        Ok(())
    }

    pub(super) async fn open(
        &self,
        principal: &Principal,
        id: GenerationId,
        at_least: Sequence,
    ) -> Result<Arc<dyn GenerationLog>, FollowError> {
        let log = self.0.log.open(id, at_least).await?.ok_or(FollowError::NotFound)?;
        if log.start().owner == *principal { Ok(log) } else { Err(FollowError::NotFound) }
    }

    /// Opens a log at a position that a client has received, and returns its tail. The log may have another entry under
    /// that number, in another epoch.
    async fn open_after(
        &self,
        principal: &Principal,
        id: GenerationId,
        after: EventPosition,
    ) -> Result<(Arc<dyn GenerationLog>, Tail), FollowError> {
        let log = self.open(principal, id, after.sequence).await?;
        let tail = log.tail().await.map_err(|_| FollowError::HistoryLost)?;
        if after.sequence > tail.sequence || log.epoch_of(after.sequence) != after.epoch {
            return Err(FollowError::HistoryLost);
        }
        Ok((log, tail))
    }

    /// Returns a viewer's handle for a generation that the caller may see. Take one only for a caller that stays: each
    /// departure restarts the grace.
    pub(super) async fn viewer_handle(&self, id: GenerationId) -> ViewerHandle {
        let viewer = self.0.log.join(id).await.ok();
        let queue_state = self.0.registry.get(id).and_then(|running| running.queue_state());
        ViewerHandle::new(viewer, self.0.unkept.held(id), self.0.metrics.viewer(), queue_state)
    }
}
