//! A channel's events, as one client reads them.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use super::sse::{BrokenOff, Lasting, Source};
use super::wire::{Retry, channel};
use crate::channel::{Heard, Subscription};
use crate::domain::GenerationId;

/// A subscriber's reading, on the native wire.
pub struct Subscribing {
    subscription: Subscription,
    idle: Duration,
}

impl Subscribing {
    pub const fn new(subscription: Subscription, idle: Duration) -> Self {
        Self { subscription, idle }
    }
}

impl Source for Subscribing {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        retry: &mut Option<Retry>,
        out: &mut BytesMut,
    ) -> Poll<Option<Result<usize, BrokenOff>>> {
        self.subscription.poll_heard(context).map(|heard| match heard {
            Some(Heard::Events(entries)) => {
                let name = &self.subscription.channel;
                for entry in &entries {
                    channel::encode(name, entry, retry, out);
                }
                Some(Ok(entries.len()))
            }
            Some(Heard::Gap { from, to }) => {
                channel::encode_gap(&self.subscription.channel, from, to, retry, out);
                Some(Ok(1))
            }
            None => Some(Err(BrokenOff::Closed)),
        })
    }

    fn is_over(&self) -> bool {
        false
    }

    fn poll_aside(&mut self, _: &mut Context<'_>, _: &mut Option<Retry>, _: &mut BytesMut) -> Poll<()> {
        Poll::Pending
    }

    fn write_retry(&self, retry: Retry, out: &mut BytesMut) {
        retry.write_alone(out);
    }

    fn lasting(&self) -> Lasting {
        Lasting::WithoutEnd { idle: self.idle }
    }

    fn generation(&self) -> Option<GenerationId> {
        None
    }
}
