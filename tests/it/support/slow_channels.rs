//! Channels that answer late, and of whose rosters replies are lost.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either};
use tokenrill::domain::{Account, ChannelEvent, ChannelName, ConnectionId, Sequence};
use tokenrill::event_log::{
    AppendError, ChannelLog, ChannelLogs, ChannelsFull, History, JoinError, JoinedRoster, MemoryChannels, Page,
    ReadError, Readable, Reply, RosterMember, RosterMembers, Rosters, TailReader,
};

use super::gate::Gate;

/// Channels in memory, as if they were behind a network. Each call takes a step. Where a roster is changed, the reply is
/// lost, and the call is repeated after another step.
pub struct SlowChannels {
    pub inner: Arc<MemoryChannels>,
    pub gate: Arc<Gate>,
}

struct SlowLog {
    inner: Arc<dyn ChannelLog>,
    gate: Arc<Gate>,
}

impl SlowChannels {
    pub fn new(inner: Arc<MemoryChannels>, gate: Gate) -> Arc<Self> {
        Arc::new(Self { inner, gate: Arc::new(gate) })
    }

    fn log(&self, inner: Arc<dyn ChannelLog>) -> Arc<dyn ChannelLog> {
        Arc::new(SlowLog { inner, gate: Arc::clone(&self.gate) })
    }
}

fn later<'a, T>(call: impl Future<Output = T> + Send + 'a) -> Reply<'a, T> {
    Either::Right(call.boxed())
}

impl ChannelLogs for SlowChannels {
    fn open(&self, name: &ChannelName, account: &Account) -> Reply<'_, Result<Arc<dyn ChannelLog>, ChannelsFull>> {
        let (name, account) = (name.clone(), account.clone());
        later(async move {
            self.gate.step().await;
            Ok(self.log(self.inner.open(&name, &account).await?))
        })
    }

    fn find(&self, name: &ChannelName) -> Reply<'_, Option<Arc<dyn ChannelLog>>> {
        let name = name.clone();
        later(async move {
            self.gate.step().await;
            Some(self.log(self.inner.find(&name).await?))
        })
    }

    fn sweep(&self) -> Reply<'_, ()> {
        self.inner.sweep()
    }
}

impl ChannelLog for SlowLog {
    fn append(&self, events: Vec<ChannelEvent>) -> Reply<'_, Result<Sequence, AppendError>> {
        later(async move {
            self.gate.step().await;
            self.inner.append(events).await
        })
    }

    fn skip(&self) -> Reply<'_, ()> {
        later(async move {
            self.gate.step().await;
            self.inner.skip().await;
        })
    }

    fn history(&self, most: usize) -> Reply<'_, History> {
        later(async move {
            self.gate.step().await;
            self.inner.history(most).await
        })
    }
}

impl Readable for SlowLog {
    type Event = ChannelEvent;

    fn read(&self, after: Sequence) -> Reply<'_, Result<Page<ChannelEvent>, ReadError>> {
        later(async move {
            self.gate.step().await;
            self.inner.read(after).await
        })
    }

    fn tail(&self) -> TailReader {
        self.inner.tail()
    }
}

impl Rosters for SlowChannels {
    fn join<'a>(
        &'a self,
        channel: &'a ChannelName,
        account: &'a Account,
        member: &'a RosterMember,
        most: usize,
    ) -> BoxFuture<'a, Result<JoinedRoster, JoinError>> {
        async move {
            self.gate.step().await;
            _ = self.inner.join(channel, account, member, most).await;
            self.gate.step().await;
            self.inner.join(channel, account, member, most).await
        }
        .boxed()
    }

    fn leave<'a>(&'a self, channel: &'a ChannelName, connection: ConnectionId) -> BoxFuture<'a, ()> {
        async move {
            self.gate.step().await;
            self.inner.leave(channel, connection).await;
            self.gate.step().await;
            self.inner.leave(channel, connection).await;
        }
        .boxed()
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        async move {
            self.gate.step().await;
            self.inner.refresh().await;
        }
        .boxed()
    }

    fn entries<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, usize> {
        async move {
            self.gate.step().await;
            self.inner.entries(channel).await
        }
        .boxed()
    }

    fn has<'a>(&'a self, channel: &'a ChannelName, connection: ConnectionId) -> BoxFuture<'a, bool> {
        async move {
            self.gate.step().await;
            self.inner.has(channel, connection).await
        }
        .boxed()
    }

    fn members<'a>(&'a self, channel: &'a ChannelName) -> BoxFuture<'a, RosterMembers> {
        async move {
            self.gate.step().await;
            self.inner.members(channel).await
        }
        .boxed()
    }
}
