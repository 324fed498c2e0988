//! The port of the channels' logs.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{AppendError, Readable};
use crate::domain::{Account, ChannelEvent, ChannelName, Sequence};

/// All channels' logs of one deployment.
pub trait ChannelLogs: Send + Sync + 'static {
    /// Returns the channel's log, a new one if it has none. Events appended through it count against the account
    /// (contract 15).
    fn open(
        &self,
        name: &ChannelName,
        account: &Account,
    ) -> BoxFuture<'static, Result<Arc<dyn ChannelLog>, ChannelsFull>>;

    /// Returns the channel's log, if there is one.
    fn find(&self, name: &ChannelName) -> BoxFuture<'static, Option<Arc<dyn ChannelLog>>>;

    /// Removes events older than the retention, and logs that are empty and not in use.
    fn sweep(&self) -> BoxFuture<'static, ()>;
}

/// The log of one channel.
pub trait ChannelLog: Readable<Event = ChannelEvent> {
    /// Appends events; returns the new tail (contract 13, 15).
    fn append(&self, events: Vec<ChannelEvent>) -> BoxFuture<'static, Result<Sequence, AppendError>>;

    /// Leaves a position empty for an event that did not fit. Readers get a gap there (contract 14).
    fn skip(&self) -> BoxFuture<'static, ()>;

    /// Returns where the last `most` kept events begin.
    fn history(&self, most: usize) -> BoxFuture<'static, History>;
}

/// The kept events of a channel's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// The position before the first of the last `most` kept events.
    pub after: Sequence,
    /// Where a gap before that position begins: events were evicted before they expired, or an answer continues after
    /// that position and its first events are no longer kept.
    pub gap_from: Option<Sequence>,
    /// The events that count towards the history, at least one if any event is kept.
    pub events: usize,
    pub bytes: usize,
}

/// The number of channels is at its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the number of channels is at its limit")]
pub struct ChannelsFull;
