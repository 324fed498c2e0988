//! The channels of one process that shares channels with others.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::redis_channels::RedisChannels;
use crate::domain::{Account, ChannelName, ConnectionId};
use crate::event_log::{
    ChannelLog, ChannelLogs, ChannelsFull, JoinError, JoinedRoster, MemoryChannels, RosterMember, RosterMembers,
    Rosters,
};

/// Shared channels, and the built-in ones of this process: they tell its clock and its figures.
pub struct ReplicaChannels {
    shared: RedisChannels,
    built_in: MemoryChannels,
}

trait ChannelAdapter: ChannelLogs + Rosters {}

impl<T: ChannelLogs + Rosters> ChannelAdapter for T {}

impl ReplicaChannels {
    pub const fn new(shared: RedisChannels, built_in: MemoryChannels) -> Self {
        Self { shared, built_in }
    }

    /// Returns the bytes of this process.
    pub fn bytes(&self) -> usize {
        self.shared.bytes() + self.built_in.bytes()
    }

    /// Returns how many events this process has evicted to make room for others.
    pub fn evicted(&self) -> u64 {
        self.shared.evicted() + self.built_in.evicted()
    }

    fn of(&self, channel: &ChannelName) -> &dyn ChannelAdapter {
        if channel.is_built_in() { &self.built_in } else { &self.shared }
    }
}

impl ChannelLogs for ReplicaChannels {
    fn open(
        &self,
        name: &ChannelName,
        account: &Account,
    ) -> BoxFuture<'static, Result<Arc<dyn ChannelLog>, ChannelsFull>> {
        self.of(name).open(name, account)
    }

    fn find(&self, name: &ChannelName) -> BoxFuture<'static, Option<Arc<dyn ChannelLog>>> {
        self.of(name).find(name)
    }

    fn sweep(&self) -> BoxFuture<'static, ()> {
        let (shared, built_in) = (self.shared.sweep(), self.built_in.sweep());
        async move {
            built_in.await;
            shared.await;
        }
        .boxed()
    }
}

impl Rosters for ReplicaChannels {
    fn join<'a>(
        &'a self,
        channel: &'a ChannelName,
        account: &'a Account,
        member: &'a RosterMember,
        most: usize,
    ) -> BoxFuture<'a, Result<JoinedRoster, JoinError>> {
        self.of(channel).join(channel, account, member, most)
    }

    fn leave<'a>(&'a self, channel: &'a ChannelName, connection: ConnectionId) -> BoxFuture<'a, ()> {
        self.of(channel).leave(channel, connection)
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        self.shared.refresh()
    }

    fn entries<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, usize> {
        self.of(channel).entries(channel)
    }

    fn has<'a>(&'a self, channel: &'a ChannelName, connection: ConnectionId) -> BoxFuture<'a, bool> {
        self.of(channel).has(channel, connection)
    }

    fn members<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, RosterMembers> {
        self.of(channel).members(channel)
    }
}
