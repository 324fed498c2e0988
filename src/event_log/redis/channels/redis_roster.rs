//! The subscribers of channels in Redis. Those of this process have a lease, which a refresh extends.

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};

use super::channel_copy::MissingLog;
use super::channel_keys::ChannelKeys;
use super::channel_script;
use super::redis_channels::{RedisChannels, SharedRedisChannels};
use super::stored_event::{decode_subscriber, encode_subscriber};
use crate::domain::{Account, ChannelName, ConnectionId, Sequence, Subscriber};
use crate::event_log::roster::MOST_LISTED;
use crate::event_log::{ChannelsFull, JoinError, JoinedRoster, PresenceMode, RosterMember, RosterMembers, Rosters};
use crate::redis_client::{CallError, PATIENCE, Patience, Reply};

/// What Redis knows of a channel's subscribers.
#[derive(Default)]
struct RosterLook {
    entries: usize,
    /// The mode of the subscriber that was asked for.
    mode: Option<u8>,
    members: RosterMembers,
}

/// Calls of one refresh that are made at the same time.
const CALLS: usize = 64;
/// For subscribers that were admitted before.
const WITHOUT_MAXIMUM: usize = 1 << 32;
/// Without presence events, as the scripts name it.
const PASSING: u8 = b'x';

impl SharedRedisChannels {
    fn keys(&self, channel: &ChannelName) -> ChannelKeys {
        ChannelKeys::of(self.store.client.prefix(), channel)
    }

    async fn join(&self, channel: &ChannelName, member: &RosterMember, most: usize) -> Result<JoinedRoster, JoinError> {
        let reply = self.send_join(channel, member, most).await.map_err(|_: CallError| ChannelsFull)?;
        if reply.code() == "full" {
            return Err(JoinError::RosterFull);
        }
        self.members.add(channel, member);
        if let Some(copy) = self.known_copy(channel) {
            copy.note_seen(reply.number(1));
        }
        let (tail, subscribers) = (Sequence::new(reply.number(1)), size(reply.number(2)));
        Ok(JoinedRoster { present: listed(&reply, 3), subscribers, tail })
    }

    async fn send_join(&self, channel: &ChannelName, member: &RosterMember, most: usize) -> Result<Reply, CallError> {
        let keys = self.keys(channel);
        let mode = match member.presence_mode {
            PresenceMode::PresentAndTold => b't',
            PresenceMode::Present => b'p',
            PresenceMode::Passing => PASSING,
        };
        let call = self
            .store
            .call(&channel_script::JOIN_CHANNEL, keys.of_roster(), &keys.wakes)
            .arg(member.who.connection.to_string())
            .arg([mode])
            .arg(encode_subscriber(&member.who))
            .millis(self.store.terms.lease)
            .number(most as u64)
            .number(MOST_LISTED as u64);
        self.store.client.connection.call(&call, Patience::Unlimited).await
    }

    /// If Redis does not answer for as long as a lease, the lease ends.
    async fn leave(&self, channel: &ChannelName, connection: ConnectionId) {
        self.members.remove(channel, connection);
        self.send_leave(channel, connection).await;
    }

    async fn send_leave(&self, channel: &ChannelName, connection: ConnectionId) {
        let keys = self.keys(channel);
        let call =
            self.store.call(&channel_script::LEAVE_CHANNEL, keys.of_roster(), &keys.wakes).arg(connection.to_string());
        _ = self.store.client.connection.call(&call, Patience::For(self.store.terms.lease)).await;
    }

    /// Extends the leases of subscribers of this process, and removes subscribers of lost processes.
    async fn refresh(&self, channel: &ChannelName, connections: &[ConnectionId]) {
        let keys = self.keys(channel);
        let call = self
            .store
            .call(&channel_script::REFRESH_CHANNEL, keys.of_roster(), &keys.wakes)
            .millis(self.store.terms.lease);
        let call = connections.iter().fold(call, |call, connection| call.arg(connection.to_string()));
        loop {
            let Ok(reply) = self.store.client.connection.call(&call, Patience::For(PATIENCE)).await else { return };
            for at in 3..reply.len() {
                if let Some(connection) = std::str::from_utf8(reply.bytes(at)).ok().and_then(|id| id.parse().ok()) {
                    self.join_again(channel, connection).await;
                }
            }
            self.catch_up(channel, reply.number(1)).await;
            if reply.number(2) == 0 {
                return;
            }
        }
    }

    /// Adds a subscriber of this process that Redis has lost, or that was removed while this process was not heard of.
    async fn join_again(&self, channel: &ChannelName, connection: ConnectionId) {
        let Some(member) = self.members.get(channel, connection) else { return };
        _ = self.send_join(channel, &member, WITHOUT_MAXIMUM).await;
        // It may have left while it was added.
        if self.members.get(channel, connection).is_none() {
            self.send_leave(channel, connection).await;
        }
    }

    /// Reads a channel whose announcement was lost.
    async fn catch_up(&self, channel: &ChannelName, tail: u64) {
        let Some(copy) = self.known_copy(channel) else { return };
        copy.note_seen(tail);
        if copy.is_behind() {
            _ = copy.refresh(MissingLog::Create).await;
        }
    }

    async fn look(&self, channel: &ChannelName, connection: Option<ConnectionId>, most_listed: usize) -> RosterLook {
        let keys = self.keys(channel);
        let call = self
            .store
            .call(&channel_script::LOOK, keys.of_roster(), &keys.wakes)
            .arg(connection.map(|connection| connection.to_string()).unwrap_or_default())
            .number(most_listed as u64);
        let Ok(reply) = self.store.client.connection.call(&call, Patience::Unlimited).await else {
            return RosterLook::default();
        };
        let members = RosterMembers { subscribers: size(reply.number(2)), first: listed(&reply, 4) };
        RosterLook { entries: size(reply.number(1)), mode: reply.bytes(3).first().copied(), members }
    }
}

fn listed(reply: &Reply, from: usize) -> Vec<Subscriber> {
    // Each begins with its mode.
    (from..reply.len()).filter_map(|at| decode_subscriber(reply.bytes(at).get(1..)?)).collect()
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Rosters for RedisChannels {
    fn join<'a>(
        &'a self,
        channel: &'a ChannelName,
        _account: &'a Account,
        member: &'a RosterMember,
        most: usize,
    ) -> BoxFuture<'a, Result<JoinedRoster, JoinError>> {
        self.0.join(channel, member, most).boxed()
    }

    fn leave<'a>(&'a self, channel: &'a ChannelName, connection: ConnectionId) -> BoxFuture<'a, ()> {
        self.0.leave(channel, connection).boxed()
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        let refreshed = stream::iter(self.0.members.parts())
            .for_each_concurrent(CALLS, move |(channel, part)| async move { self.0.refresh(&channel, &part).await });
        refreshed.boxed()
    }

    fn entries<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, usize> {
        async move { self.0.look(channel, None, 0).await.entries }.boxed()
    }

    fn has<'a>(&'a self, channel: &'a ChannelName, connection: ConnectionId) -> BoxFuture<'a, bool> {
        async move { self.0.look(channel, Some(connection), 0).await.mode.is_some_and(|mode| mode != PASSING) }.boxed()
    }

    fn members<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, RosterMembers> {
        async move { self.0.look(channel, None, MOST_LISTED).await.members }.boxed()
    }
}
