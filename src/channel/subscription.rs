//! One subscriber's reading of a channel.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt;

use super::roster::Seat;
use crate::domain::{ChannelEvent, ChannelName, Entry, Keeping, Principal, Recipient, Sequence};
use crate::event_log::{ChannelLog, Follow, Page, ReadError, follow};
use crate::telemetry::LiveSubscriber;

/// Where a reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// After an event that the subscriber has, or had.
    After(Sequence),
    /// With the last so many that are kept.
    History(usize),
}

/// How a subscriber is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attendance {
    /// By a stream: others are told.
    Present,
    /// By a stream, and told itself who comes and goes.
    PresentAndTold,
    /// For one answer: nobody is told.
    Passing,
}

/// A subscriber who reads a channel's log; dropping it is leaving.
pub struct Subscription {
    pub channel: ChannelName,
    log: Arc<dyn ChannelLog>,
    pages: Follow<dyn ChannelLog>,
    position: Sequence,
    /// Where a gap before the history begins, until the subscriber was sent it.
    gap_from: Option<Sequence>,
    /// What is told to those who are there begins after it.
    came: Sequence,
    seat: Seat,
    live: LiveSubscriber,
}

/// What a subscriber hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Some of it was for this subscriber, in order; perhaps none.
    Events(Page<ChannelEvent>),
    /// What stood from here to there is no longer kept.
    Gap { from: Sequence, to: Sequence },
}

impl Subscription {
    pub(super) fn new(
        channel: ChannelName,
        log: Arc<dyn ChannelLog>,
        (position, came): (Sequence, Sequence),
        seat: Seat,
        live: LiveSubscriber,
    ) -> Self {
        let pages = follow(Arc::clone(&log), position);
        Self { channel, log, pages, position, gap_from: None, came, seat, live }
    }

    /// Sends a gap first, from this position to that after which the reading begins.
    pub(super) fn with_gap_from(self, gap_from: Option<Sequence>) -> Self {
        Self { gap_from, ..self }
    }

    /// The position after which what is heard next stands.
    pub const fn position(&self) -> Sequence {
        self.position
    }

    /// What comes next. `None` if the log is lost.
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
        if entry.event.keeping() == Keeping::Ephemeral && entry.sequence <= self.came {
            return false;
        }
        let who = &self.seat.who;
        match &entry.event {
            ChannelEvent::Published(published) => match &published.to {
                Recipient::Everybody => true,
                Recipient::Connection(connection) => *connection == who.connection,
                // Nobody in particular is everybody who is not known.
                Recipient::Principal(principal) => *principal == who.principal && *principal != Principal::Anonymous,
            },
            ChannelEvent::Said(..) => true,
            ChannelEvent::Joined(presence) | ChannelEvent::Left(presence) => {
                self.seat.attendance == Attendance::PresentAndTold && presence.who.connection != who.connection
            }
        }
    }
}
