//! Channels that answer late, and of whose rosters replies are lost.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokenrill::domain::{Account, ChannelEvent, ChannelName, ConnectionId, Sequence};
use tokenrill::event_log::{
    AppendError, ChannelLog, ChannelLogs, ChannelsFull, History, JoinError, JoinedRoster, MemoryChannels, Page,
    ReadError, Readable, RosterMember, RosterMembers, Rosters, Tail, Wake,
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
}

impl ChannelLogs for SlowChannels {
    fn open(
        &self,
        name: &ChannelName,
        account: &Account,
    ) -> BoxFuture<'static, Result<Arc<dyn ChannelLog>, ChannelsFull>> {
        let (inner, gate, name, account) =
            (Arc::clone(&self.inner), Arc::clone(&self.gate), name.clone(), account.clone());
        async move {
            gate.step().await;
            let inner = inner.open(&name, &account).await?;
            Ok(Arc::new(SlowLog { inner, gate }) as Arc<dyn ChannelLog>)
        }
        .boxed()
    }

    fn find(&self, name: &ChannelName) -> BoxFuture<'static, Option<Arc<dyn ChannelLog>>> {
        let (inner, gate, name) = (Arc::clone(&self.inner), Arc::clone(&self.gate), name.clone());
        async move {
            gate.step().await;
            let inner = inner.find(&name).await?;
            Some(Arc::new(SlowLog { inner, gate }) as Arc<dyn ChannelLog>)
        }
        .boxed()
    }

    fn sweep(&self) -> BoxFuture<'static, ()> {
        self.inner.sweep()
    }
}

impl SlowLog {
    /// Calls the log after a step.
    fn later<T: Send + 'static>(
        &self,
        call: impl FnOnce(Arc<dyn ChannelLog>) -> BoxFuture<'static, T> + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let (inner, gate) = (Arc::clone(&self.inner), Arc::clone(&self.gate));
        async move {
            gate.step().await;
            call(inner).await
        }
        .boxed()
    }
}

impl ChannelLog for SlowLog {
    fn append(&self, events: Vec<ChannelEvent>) -> BoxFuture<'static, Result<Sequence, AppendError>> {
        self.later(|log| log.append(events))
    }

    fn skip(&self) -> BoxFuture<'static, ()> {
        self.later(|log| log.skip())
    }

    fn history(&self, most: usize) -> BoxFuture<'static, History> {
        self.later(move |log| log.history(most))
    }
}

impl Readable for SlowLog {
    type Event = ChannelEvent;

    fn try_read(&self, _after: Sequence) -> Option<Result<Page<ChannelEvent>, ReadError>> {
        None
    }

    fn read(&self, after: Sequence) -> BoxFuture<'static, Result<Page<ChannelEvent>, ReadError>> {
        self.later(move |log| log.read(after))
    }

    fn tail(&self) -> BoxFuture<'static, Result<Tail, ReadError>> {
        self.later(|log| log.tail())
    }

    fn wake(&self) -> Box<dyn Wake> {
        self.inner.wake()
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
