//! One subscriber's stream of a channel.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt;

use super::roster::RosterHandle;
use crate::domain::{ChannelEvent, ChannelName, Entry, Keeping, Principal, Recipient, Sequence};
use crate::event_log::{ChannelLog, EntryBatch, Follow, PresenceMode, ReadError, RosterMember, follow};
use crate::telemetry::LiveSubscriber;

/// Where a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// After this event, the last that the subscriber received.
    After(Sequence),
    /// With at most this many of the last kept events.
    History(usize),
}

/// A subscriber that reads a channel's log. Dropping it ends the subscription.
pub struct Subscription {
    pub channel: ChannelName,
    log: Arc<dyn ChannelLog>,
    pages: Follow<dyn ChannelLog>,
    position: Sequence,
    /// Where a gap before the history begins; `None` once the subscriber was sent it.
    gap_from: Option<Sequence>,
    /// The tail when it joined: ephemeral events up to it are not for this subscriber.
    joined_at: Sequence,
    roster_handle: RosterHandle,
    live: LiveSubscriber,
}

/// An item of a subscriber's stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// The events of a page that are for this subscriber, in order; may be empty.
    Events(EntryBatch<ChannelEvent>),
    /// The events of these positions, both inclusive, are no longer kept.
    Gap { from: Sequence, to: Sequence },
}

impl Subscription {
    pub(super) fn new(
        channel: ChannelName,
        log: Arc<dyn ChannelLog>,
        (position, joined_at): (Sequence, Sequence),
        roster_handle: RosterHandle,
        live: LiveSubscriber,
    ) -> Self {
        let pages = follow(Arc::clone(&log), position);
        Self { channel, log, pages, position, gap_from: None, joined_at, roster_handle, live }
    }

    /// Makes the first item a gap, from `gap_from` to the position after which the subscription begins.
    pub(super) fn with_gap_from(self, gap_from: Option<Sequence>) -> Self {
        Self { gap_from, ..self }
    }

    /// Returns the position after which the next item begins.
    pub const fn position(&self) -> Sequence {
        self.position
    }

    /// Returns the next item. `None` if the log is lost.
    pub fn poll_heard(&mut self, context: &mut Context<'_>) -> Poll<Option<Heard>> {
        if let Some(from) = self.gap_from.take() {
            self.live.count_gap();
            return Poll::Ready(Some(Heard::Gap { from, to: self.position }));
        }
        match self.pages.poll_next_unpin(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(mut page))) => {
                if let Some(last) = page.last() {
                    self.position = last.sequence;
                }
                page.retain(|entry| self.is_for_us(entry));
                Poll::Ready(Some(Heard::Events(page)))
            }
            Poll::Ready(Some(Err(ReadError::Trimmed(to)))) => {
                let from = self.position.plus(1);
                self.go_on_after(to);
                self.live.count_gap();
                Poll::Ready(Some(Heard::Gap { from, to }))
            }
            Poll::Ready(Some(Err(ReadError::BeyondTail | ReadError::Lost)) | None) => Poll::Ready(None),
        }
    }

    pub async fn heard(&mut self) -> Option<Heard> {
        poll_fn(|context| self.poll_heard(context)).await
    }

    fn go_on_after(&mut self, position: Sequence) {
        self.pages = follow(Arc::clone(&self.log), position);
        self.position = position;
    }

    fn is_for_us(&self, entry: &Entry<ChannelEvent>) -> bool {
        if entry.event.keeping() == Keeping::Ephemeral && entry.sequence <= self.joined_at {
            return false;
        }
        let RosterMember { who, presence_mode } = &self.roster_handle.member;
        match &entry.event {
            ChannelEvent::Published(published) => match &published.to {
                Recipient::AllSubscribers => true,
                Recipient::Connection(connection) => *connection == who.connection,
                // `Anonymous` is every unauthenticated caller, not one recipient.
                Recipient::Principal(principal) => *principal == who.principal && *principal != Principal::Anonymous,
            },
            ChannelEvent::Generation(..) => true,
            ChannelEvent::Joined(presence) | ChannelEvent::Left(presence) => {
                *presence_mode == PresenceMode::PresentAndTold && presence.who.connection != who.connection
            }
        }
    }
}
