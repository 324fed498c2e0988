//! The use cases: publish, subscribe, inspect, and copy a generation's answer into a channel.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::roster::{JoinedRoster, PresenceMode, RosterFull, Rosters};
use super::subscription::{Beginning, Subscription};
use crate::domain::{Account, ChannelEvent, ChannelName, GenerationId, Published, Recipient, Sequence, Subscriber};
use crate::event_log::{AppendError, ChannelLog, ChannelLogs, ChannelsFull, EntryBatch, History, Limit, read_page};
use crate::telemetry::Metrics;

/// All channels. Clones share them.
#[derive(Clone)]
pub struct Channels(pub(super) Arc<ChannelService>);

pub struct ChannelService {
    pub(super) logs: Arc<dyn ChannelLogs>,
    rosters: Arc<Rosters>,
    /// The maximum for one channel (`channels.max_subscribers`).
    most_subscribers: usize,
    metrics: Arc<Metrics>,
    /// The tasks that copy answers into channels.
    carriers: TaskTracker,
    closing: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The connection that the event is for does not subscribe.
    #[error("no such connection")]
    ConnectionNotFound,
    #[error("the event is larger than a channel may be")]
    TooLarge,
    #[error("the event log is full")]
    Full,
    #[error("the service is shutting down")]
    Closing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    #[error(transparent)]
    RosterFull(#[from] RosterFull),
    #[error(transparent)]
    ChannelsFull(#[from] ChannelsFull),
    #[error("the service is shutting down")]
    Closing,
}

/// The public state of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    pub subscribers: usize,
    /// The first subscribers.
    pub present: Vec<Subscriber>,
    pub tail: Sequence,
    pub history: History,
}

/// Whether a subscriber may use the reserve: a tenth more than the maximum, for clients that reconnect while their old
/// stream still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    Kept,
    Open,
}

/// A subscription, and the data that a subscriber is sent first.
pub struct Subscribed {
    pub subscription: Subscription,
    pub present: Vec<Subscriber>,
    pub subscribers: usize,
}

/// How long the service waits at shutdown for answers to be copied into channels.
const CARRIERS_TIMEOUT: Duration = Duration::from_secs(1);

impl Channels {
    pub fn new(logs: Arc<dyn ChannelLogs>, most_subscribers: usize, metrics: Arc<Metrics>) -> Self {
        let (rosters, carriers, closing) = (Arc::default(), TaskTracker::new(), CancellationToken::new());
        Self(Arc::new(ChannelService { logs, rosters, most_subscribers, metrics, carriers, closing }))
    }

    /// Publishes an event, which is counted against the account; returns its position.
    pub async fn publish(
        &self,
        channel: &ChannelName,
        account: &Account,
        published: Published,
    ) -> Result<Sequence, PublishError> {
        let inner = &self.0;
        if inner.closing.is_cancelled() {
            return Err(PublishError::Closing);
        }
        if let Recipient::Connection(connection) = published.to
            && !inner.rosters.has(channel, connection)
        {
            return Err(PublishError::ConnectionNotFound);
        }
        let log = inner.logs.open(channel, account).await.map_err(|ChannelsFull| PublishError::Full)?;
        let appended = log.append(vec![ChannelEvent::Published(Arc::new(published))]).await;
        appended.map_err(|error| match error {
            AppendError::Full(Limit::Own) => PublishError::TooLarge,
            AppendError::Full(_) | AppendError::Closed | AppendError::Fenced | AppendError::Lost => PublishError::Full,
        })
    }

    /// Checks that another subscriber fits, before a connection is closed to make room for it.
    pub fn has_room(&self, channel: &ChannelName, reserve: Reserve) -> Result<(), SubscribeError> {
        let inner = &self.0;
        if inner.rosters.has_room(channel, inner.most_subscribers(reserve)) {
            return Ok(());
        }
        inner.metrics.refused("subscribers");
        Err(RosterFull.into())
    }

    /// Returns whether the channel has a log that reaches this position and still has the events after it.
    pub async fn knows(&self, channel: &ChannelName, position: Sequence) -> bool {
        let Some(log) = self.0.logs.find(channel).await else { return false };
        read_page(&*log, position).await.is_ok()
    }

    /// Subscribes to every kept event from a beginning on, then to each new one. A channel that is created for it, and
    /// its presence events, count against the account.
    pub async fn subscribe(
        &self,
        channel: &ChannelName,
        account: &Account,
        who: Subscriber,
        beginning: Beginning,
        presence_mode: PresenceMode,
        reserve: Reserve,
    ) -> Result<Subscribed, SubscribeError> {
        let inner = &self.0;
        if inner.closing.is_cancelled() {
            return Err(SubscribeError::Closing);
        }
        let log = inner.logs.open(channel, account).await?;
        let JoinedRoster { roster_entry, present, subscribers, tail } =
            inner.rosters.join(channel, &log, who, presence_mode, inner.most_subscribers(reserve))?;
        let (position, gap_from) = match beginning {
            Beginning::History(0) => (tail, None),
            Beginning::History(most) => {
                let history = log.history(most).await;
                (history.after, history.gap_from)
            }
            // A position beyond the tail is of an earlier log, so the subscriber has no event of this one.
            Beginning::After(position) if log.tail().await.is_ok_and(|tail| position > tail.sequence) => {
                (Sequence::START, None)
            }
            Beginning::After(position) => (position, None),
        };
        let live = inner.metrics.subscriber();
        let subscription =
            Subscription::new(channel.clone(), log, (position, tail), roster_entry, live).with_gap_from(gap_from);
        Ok(Subscribed { subscription, present, subscribers })
    }

    /// Returns the state of a channel; `None` if it has no subscriber and keeps no event.
    pub async fn inspect(&self, channel: &ChannelName) -> Option<Inspection> {
        let log = self.0.logs.find(channel).await?;
        let history = log.history(usize::MAX).await;
        let (subscribers, present) = self.0.rosters.present(channel);
        let tail = log.tail().await.map_or(Sequence::START, |tail| tail.sequence);
        (subscribers > 0 || history.events > 0 || history.bytes > 0).then_some(Inspection {
            subscribers,
            present,
            tail,
            history,
        })
    }

    /// Spawns a task that copies all events of a generation into the channel. They count against `account`, that of the
    /// generation's caller. The task is not a viewer: subscribers do not keep a generation running.
    pub async fn carry<E: Send + 'static>(
        &self,
        channel: &ChannelName,
        account: &Account,
        generation: GenerationId,
        pages: impl Stream<Item = Result<EntryBatch, E>> + Send + 'static,
    ) {
        // A channel that cannot be created has no subscriber that could miss the answer.
        let Ok(log) = self.0.logs.open(channel, account).await else { return };
        self.0.carriers.spawn(async move {
            let mut pages = std::pin::pin!(pages);
            while let Some(Ok(page)) = pages.next().await {
                let said = page.into_iter().map(|entry| ChannelEvent::Generation(generation, entry.event)).collect();
                carry_page(log.as_ref(), said).await;
            }
        });
    }

    /// Removes expired events and unused channels.
    pub async fn sweep(&self) {
        self.0.logs.sweep().await;
    }

    /// Refuses new events and subscribers, and ends all waits. Returns when the tasks that copy answers have finished,
    /// or after one second.
    pub async fn close(&self) {
        self.0.closing.cancel();
        self.0.carriers.close();
        _ = timeout(CARRIERS_TIMEOUT, self.0.carriers.wait()).await;
    }

    pub async fn closed(&self) {
        self.0.closing.cancelled().await;
    }
}

impl ChannelService {
    fn most_subscribers(&self, reserve: Reserve) -> usize {
        match reserve {
            Reserve::Kept => self.most_subscribers,
            Reserve::Open => self.most_subscribers.saturating_add(self.most_subscribers / 10 + 1),
        }
    }
}

/// Appends a page. If the channel cannot hold all of it, each event is appended by itself; one that is too large leaves
/// a gap.
async fn carry_page(log: &dyn ChannelLog, said: Vec<ChannelEvent>) {
    if log.append(said.clone()).await.is_ok() {
        return;
    }
    for event in said {
        if log.append(vec![event]).await.is_err() {
            log.skip().await;
        }
    }
}
