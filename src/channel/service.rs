//! The use cases: publish, subscribe, inspect.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::roster::RosterHandle;
use super::subscription::{Beginning, Subscription};
use crate::detached::{Detached, within};
use crate::domain::{Account, ChannelEvent, ChannelName, Published, Recipient, Sequence, Subscriber};
use crate::event_log::{
    AppendError, ChannelLogs, ChannelsFull, History, JoinError, JoinedRoster, Limit, PresenceMode, RosterMember,
    RosterMembers, Rosters, read_page,
};
use crate::telemetry::Metrics;

/// All channels. Clones share them.
#[derive(Clone)]
pub struct Channels(pub(super) Arc<ChannelService>);

pub struct ChannelService {
    pub(super) logs: Arc<dyn ChannelLogs>,
    pub(super) rosters: Arc<dyn Rosters>,
    /// The maximum for one channel (`channels.max_subscribers`).
    most_subscribers: usize,
    metrics: Arc<Metrics>,
    /// The tasks that copy answers into channels, and those that complete calls whose callers are gone.
    pub(super) tasks: TaskTracker,
    closing: CancellationToken,
    /// Ends the tasks that copy answers.
    pub(super) stopping: CancellationToken,
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
    #[error("the event log did not answer in time")]
    Unavailable,
    #[error("the service is shutting down")]
    Closing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    #[error("the number of subscribers is at its limit")]
    RosterFull,
    #[error(transparent)]
    ChannelsFull(#[from] ChannelsFull),
    #[error("the channels did not answer in time")]
    Unavailable,
    #[error("the service is shutting down")]
    Closing,
}

/// The log and the roster of a channel did not answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the channels did not answer in time")]
pub struct ChannelsUnavailable;

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
const TASKS_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a caller waits for a channel's log and roster.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(2);

impl Channels {
    /// `store` keeps the logs and the rosters, because a join changes both in one step.
    pub fn new(store: Arc<impl ChannelLogs + Rosters>, most_subscribers: usize, metrics: Arc<Metrics>) -> Self {
        let (logs, rosters): (Arc<dyn ChannelLogs>, Arc<dyn Rosters>) = (Arc::clone(&store) as _, store);
        let (tasks, closing, stopping) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        Self(Arc::new(ChannelService { logs, rosters, most_subscribers, metrics, tasks, closing, stopping }))
    }

    /// Publishes an event, which is counted against the account; returns its position. An error other than
    /// [`PublishError::Unavailable`] and [`PublishError::Closing`] means that it was not published.
    pub async fn publish(
        &self,
        channel: &ChannelName,
        account: &Account,
        published: Published,
    ) -> Result<Sequence, PublishError> {
        let appending = timeout(CALL_TIMEOUT, self.append(channel, account, published));
        match self.0.closing.run_until_cancelled(appending).await {
            None => Err(PublishError::Closing),
            Some(appended) => appended.unwrap_or(Err(PublishError::Unavailable)),
        }
    }

    async fn append(
        &self,
        channel: &ChannelName,
        account: &Account,
        published: Published,
    ) -> Result<Sequence, PublishError> {
        let inner = &self.0;
        if let Recipient::Connection(connection) = published.to
            && !inner.rosters.has(channel, connection).await
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
    pub async fn has_room(&self, channel: &ChannelName, reserve: Reserve) -> Result<(), SubscribeError> {
        let inner = &self.0;
        let entries = within(CALL_TIMEOUT, inner.rosters.entries(channel)).await;
        if entries.ok_or(SubscribeError::Unavailable)? < inner.most_subscribers(reserve) {
            return Ok(());
        }
        inner.metrics.refused("subscribers");
        Err(SubscribeError::RosterFull)
    }

    /// Returns whether the channel has a log that reaches this position and still has the events after it, as far as the
    /// log answers in time.
    pub async fn knows(&self, channel: &ChannelName, position: Sequence) -> bool {
        let known = async {
            let Some(log) = self.0.logs.find(channel).await else { return false };
            read_page(&*log, position).await.is_ok()
        };
        within(CALL_TIMEOUT, Box::pin(known)).await == Some(true)
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
        let member = RosterMember { who, presence_mode };
        let subscribing = timeout(CALL_TIMEOUT, self.join(channel, account, member, beginning, reserve));
        match self.0.closing.run_until_cancelled(subscribing).await {
            None => Err(SubscribeError::Closing),
            Some(subscribed) => subscribed.unwrap_or(Err(SubscribeError::Unavailable)),
        }
    }

    /// Joins the roster and finds the position at which the subscription begins. If this is dropped meanwhile, the
    /// subscriber leaves again.
    async fn join(
        &self,
        channel: &ChannelName,
        account: &Account,
        member: RosterMember,
        beginning: Beginning,
        reserve: Reserve,
    ) -> Result<Subscribed, SubscribeError> {
        let inner = &self.0;
        let log = inner.logs.open(channel, account).await?;
        let joining = {
            let (rosters, tasks, most) =
                (Arc::clone(&inner.rosters), inner.tasks.clone(), inner.most_subscribers(reserve));
            let (channel, account) = (channel.clone(), account.clone());
            Detached::new(&inner.tasks, async move {
                let joined = rosters.join(&channel, &account, &member, most).await?;
                Ok::<_, JoinError>((joined, RosterHandle::new(rosters, tasks, channel, member)))
            })
        };
        let (JoinedRoster { present, subscribers, tail }, roster_handle) = joining.await?;
        let (position, gap_from) = match beginning {
            Beginning::History(0) => (tail, None),
            Beginning::History(most) => {
                let history = log.history(most).await;
                // Not after the join: what was published since is not history, and all of it is for this subscriber.
                let position = history.after.min(tail);
                (position, history.gap_from.filter(|from| *from <= position))
            }
            // The position is of an earlier log, so the subscriber has no event of this one.
            Beginning::After(position) if position > tail => (Sequence::START, None),
            Beginning::After(position) => {
                // So that the first read has what was appended before the join, also for a caller that does not wait.
                _ = log.tail().await;
                (position, None)
            }
        };
        let live = inner.metrics.subscriber();
        let subscription =
            Subscription::new(channel.clone(), log, (position, tail), roster_handle, live).with_gap_from(gap_from);
        Ok(Subscribed { subscription, present, subscribers })
    }

    /// Returns the state of a channel; `None` if it has no subscriber and keeps no event.
    pub async fn inspect(&self, channel: &ChannelName) -> Result<Option<Inspection>, ChannelsUnavailable> {
        within(CALL_TIMEOUT, Box::pin(self.read_state(channel))).await.ok_or(ChannelsUnavailable)
    }

    async fn read_state(&self, channel: &ChannelName) -> Option<Inspection> {
        let log = self.0.logs.find(channel).await?;
        let history = log.history(usize::MAX).await;
        let RosterMembers { subscribers, first: present } = self.0.rosters.members(channel).await;
        let tail = log.tail().await.map_or(Sequence::START, |tail| tail.sequence);
        (subscribers > 0 || history.events > 0 || history.bytes > 0).then_some(Inspection {
            subscribers,
            present,
            tail,
            history,
        })
    }

    /// Removes expired events and unused channels, as far as the logs answer in time.
    pub async fn sweep(&self) {
        within(CALL_TIMEOUT, self.0.logs.sweep()).await;
    }

    /// Refuses new events and subscribers, and ends all waits. Returns when the tasks that copy answers have finished,
    /// or after one second.
    pub async fn close(&self) {
        self.0.closing.cancel();
        self.0.tasks.close();
        _ = timeout(TASKS_TIMEOUT, self.0.tasks.wait()).await;
        self.0.stopping.cancel();
    }

    pub async fn closed(&self) {
        self.0.closing.cancelled().await;
    }
}

impl From<JoinError> for SubscribeError {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::RosterFull => Self::RosterFull,
            JoinError::ChannelsFull(full) => Self::ChannelsFull(full),
        }
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
