//! Channels that several processes share.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokenrill::domain::{Account, ChannelName, ConnectionId};
use tokenrill::event_log::{
    ChannelLog, ChannelLogs, ChannelsFull, JoinError, JoinedRoster, MemoryChannels, RosterMember, RosterMembers,
    Rosters,
};

use super::leases::{Leases, ProcessNumber};

/// One process of a deployment whose channels are in one store. Its roster entries expire if it no longer refreshes
/// them; another process then removes them.
pub struct SharedChannels {
    store: Arc<MemoryChannels>,
    leases: Arc<Leases<(ChannelName, ConnectionId)>>,
    process: ProcessNumber,
}

impl SharedChannels {
    /// Returns two processes that share a store.
    pub fn pair(store: &Arc<MemoryChannels>) -> [Arc<Self>; 2] {
        let leases = Arc::new(Leases::new());
        [(); 2].map(|()| {
            let process = leases.add_process();
            Arc::new(Self { store: Arc::clone(store), leases: Arc::clone(&leases), process })
        })
    }
}

impl ChannelLogs for SharedChannels {
    fn open(
        &self,
        name: &ChannelName,
        account: &Account,
    ) -> BoxFuture<'static, Result<Arc<dyn ChannelLog>, ChannelsFull>> {
        self.store.open(name, account)
    }

    fn find(&self, name: &ChannelName) -> BoxFuture<'static, Option<Arc<dyn ChannelLog>>> {
        self.store.find(name)
    }

    fn sweep(&self) -> BoxFuture<'static, ()> {
        self.store.sweep()
    }
}

impl Rosters for SharedChannels {
    fn join<'a>(
        &'a self,
        channel: &'a ChannelName,
        account: &'a Account,
        member: &'a RosterMember,
        most: usize,
    ) -> BoxFuture<'a, Result<JoinedRoster, JoinError>> {
        async move {
            let joined = self.store.join(channel, account, member, most).await?;
            self.leases.hold(self.process, (channel.clone(), member.who.connection));
            Ok(joined)
        }
        .boxed()
    }

    fn leave<'a>(&'a self, channel: &'a ChannelName, connection: ConnectionId) -> BoxFuture<'a, ()> {
        self.leases.give_back(self.process, &(channel.clone(), connection));
        self.store.leave(channel, connection)
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        async move {
            for (channel, connection) in self.leases.renew(self.process) {
                self.store.leave(&channel, connection).await;
            }
        }
        .boxed()
    }

    fn entries<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, usize> {
        self.store.entries(channel)
    }

    fn has<'a>(&'a self, channel: &'a ChannelName, connection: ConnectionId) -> BoxFuture<'a, bool> {
        self.store.has(channel, connection)
    }

    fn members<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, RosterMembers> {
        self.store.members(channel)
    }
}
