//! The log of a channel as a copy of one that another store keeps and trims.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::channel_account::ChannelAccountId;
use super::channel_slot::ChannelSlot;
use super::channel_state::{ChannelState, Departure};
use crate::domain::{ChannelEvent, Keeping, Sequence};

/// An event of the log that is copied.
pub struct CopiedEvent {
    pub sequence: Sequence,
    pub at: Instant,
    pub bytes: usize,
    pub event: ChannelEvent,
}

/// The end of the log that is copied, and what it no longer keeps.
#[derive(Debug, Clone, Copy)]
pub struct CopiedHead {
    /// The number up to which events are copied.
    pub tail: Sequence,
    /// As in [`ChannelState`].
    pub lost: Sequence,
    pub lost_counted: Sequence,
    pub expired: Sequence,
    pub lost_at: Instant,
}

/// The events of a copy are counted against no account.
const NO_ACCOUNT: ChannelAccountId = ChannelAccountId(0);

impl ChannelState {
    /// Adds an event after all that the copy has.
    pub fn copy_event(&mut self, copied: CopiedEvent) {
        let CopiedEvent { sequence, at, bytes, event } = copied;
        let slot = ChannelSlot { sequence, at, bytes, shape_bytes: 0, account: NO_ACCOUNT, event };
        self.all.force(bytes);
        self.bytes += bytes;
        match slot.event.keeping() {
            Keeping::Kept => {
                self.counted += usize::from(slot.event.counts());
                self.kept.push_back(slot);
            }
            Keeping::Ephemeral => self.ephemeral.push_back(slot),
        }
    }

    /// Adds a gap after all that the copy has.
    pub fn copy_gap(&mut self, sequence: Sequence, at: Instant) {
        self.note_evicted(sequence, at, self.kept.len());
    }

    /// Moves the tail, and removes what is no longer kept, ephemeral events older than `live` among it.
    pub fn follow_head(&mut self, head: &CopiedHead, live: Duration, now: Instant) {
        while self.kept.front().is_some_and(|slot| slot.sequence <= head.lost) {
            self.remove(Keeping::Kept, 0, Departure::Expired);
        }
        while self.ephemeral.front().is_some_and(|slot| now.saturating_duration_since(slot.at) > live) {
            self.remove(Keeping::Ephemeral, 0, Departure::Expired);
        }
        if head.lost >= self.lost {
            (self.lost, self.lost_at) = (head.lost, head.lost_at);
        }
        self.lost_counted = self.lost_counted.max(head.lost_counted);
        self.expired = head.expired;
        // A server that has lost its last writes is behind the copy.
        self.tail = self.tail.max(head.tail);
    }

    /// Returns whether a kept event is older than the retention, or an ephemeral one older than `live`.
    pub fn has_older(&self, retention: Duration, live: Duration, now: Instant) -> bool {
        let is_older = |slots: &VecDeque<ChannelSlot>, age| {
            slots.front().is_some_and(|slot| now.saturating_duration_since(slot.at) > age)
        };
        is_older(&self.kept, retention) || is_older(&self.ephemeral, live)
    }

    /// Evicts the oldest events until at least `bytes` are freed, or none is left.
    pub fn shrink_copy(&mut self, bytes: usize) {
        let wanted = self.bytes.saturating_sub(bytes);
        while self.bytes > wanted && self.evict_oldest() {}
    }
}
