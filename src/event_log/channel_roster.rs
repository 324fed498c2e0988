//! Joining and leaving channels in memory, together with the events that report it.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::channel::MemoryChannels;
use super::channel_state::MemoryChannel;
use super::roster::{JoinError, JoinedRoster, RosterMember, RosterMembers, Rosters};
use crate::domain::{Account, ChannelEvent, ChannelName, ConnectionId};

impl MemoryChannels {
    fn join_now(
        &self,
        channel: &ChannelName,
        account: &Account,
        member: &RosterMember,
        most: usize,
    ) -> Result<JoinedRoster, JoinError> {
        let connection = member.who.connection;
        if let Some(handle) = self.subscribed(channel, connection) {
            let roster = handle.channel.lock_roster();
            let tail = handle.channel.lock().tail().sequence;
            return Ok(roster.joined(member.presence_mode, tail));
        }
        let handle = Arc::new(self.open_now(channel, account)?);
        // Locked until the event is appended, so that the events are in the order of the roster. Lock order: the roster
        // before the directory and the log, never after.
        let mut roster = handle.channel.lock_roster();
        if roster.len() >= most {
            return Err(JoinError::RosterFull);
        }
        let tail = handle.channel.lock().tail().sequence;
        if let Some(presence) = roster.add(member) {
            _ = handle.append_now(vec![ChannelEvent::Joined(Arc::new(presence))]);
        }
        let joined = roster.joined(member.presence_mode, tail);
        drop(roster);
        // Holds the log until the subscriber leaves.
        self.add_subscribed(channel, connection, handle);
        Ok(joined)
    }

    fn leave_now(&self, channel: &ChannelName, connection: ConnectionId) {
        let Some(handle) = self.remove_subscribed(channel, connection) else { return };
        let mut roster = handle.channel.lock_roster();
        if let Some(presence) = roster.remove(connection) {
            _ = handle.append_now(vec![ChannelEvent::Left(Arc::new(presence))]);
        }
    }

    fn of_roster<T>(&self, channel: &ChannelName, look: impl FnOnce(&MemoryChannel) -> T) -> Option<T> {
        // Outside the directory's lock, because the roster is locked before it.
        let channel = self.listed(channel)?;
        Some(look(&channel))
    }
}

impl Rosters for MemoryChannels {
    fn join<'a>(
        &'a self,
        channel: &'a ChannelName,
        account: &'a Account,
        member: &'a RosterMember,
        most: usize,
    ) -> BoxFuture<'a, Result<JoinedRoster, JoinError>> {
        ready(self.join_now(channel, account, member, most)).boxed()
    }

    fn leave<'a>(&'a self, channel: &'a ChannelName, connection: ConnectionId) -> BoxFuture<'a, ()> {
        self.leave_now(channel, connection);
        ready(()).boxed()
    }

    /// The entries end with the process.
    fn refresh(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    fn entries<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, usize> {
        let entries = self.of_roster(channel, |channel| channel.lock_roster().len());
        ready(entries.unwrap_or_default()).boxed()
    }

    fn has<'a>(&'a self, channel: &'a ChannelName, connection: ConnectionId) -> BoxFuture<'a, bool> {
        ready(self.of_roster(channel, |channel| channel.lock_roster().has(connection)) == Some(true)).boxed()
    }

    fn members<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, RosterMembers> {
        let members = self.of_roster(channel, |channel| {
            let roster = channel.lock_roster();
            RosterMembers { subscribers: roster.subscribers(), first: roster.list() }
        });
        ready(members.unwrap_or_default()).boxed()
    }
}
