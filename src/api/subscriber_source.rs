//! The event stream of a channel's subscriber.

use std::task::{Context, Poll};
use std::time::Duration;

use super::sse::{EventStreamError, Source, StreamLifetime};
use super::wire::channel;
use super::wire::frames::Frames;
use super::wire::retry::Retry;
use crate::channel::{Heard, Subscription};
use crate::domain::GenerationId;

/// Encodes the events of a subscription in the native wire format.
pub struct SubscriberSource {
    subscription: Subscription,
    idle: Duration,
}

impl SubscriberSource {
    pub const fn new(subscription: Subscription, idle: Duration) -> Self {
        Self { subscription, idle }
    }
}

impl Source for SubscriberSource {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        frames: &mut Frames,
    ) -> Poll<Option<Result<usize, EventStreamError>>> {
        self.subscription.poll_heard(context).map(|heard| match heard {
            Some(Heard::Events(entries)) => {
                let name = &self.subscription.channel;
                for entry in &entries {
                    channel::encode(name, entry, frames);
                }
                Some(Ok(entries.len()))
            }
            Some(Heard::Gap { from, to }) => {
                channel::encode_gap(&self.subscription.channel, from, to, frames);
                Some(Ok(1))
            }
            None => Some(Err(EventStreamError::Closed)),
        })
    }

    fn is_over(&self) -> bool {
        false
    }

    fn poll_unlogged(&mut self, _: &mut Context<'_>, _: &mut Frames) -> Poll<()> {
        Poll::Pending
    }

    fn write_retry(&mut self, retry: Retry, frames: &mut Frames) {
        frames.retry_line(retry);
    }

    fn lifetime(&self) -> StreamLifetime {
        StreamLifetime::Unbounded { idle: self.idle }
    }

    fn generation(&self) -> Option<GenerationId> {
        None
    }
}
