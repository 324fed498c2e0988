//! The connection for messages: announcements of entries, and messages to this process.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Msg, RedisResult};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::address::RedisAddress;
use crate::domain::ConnectionId;

/// The channels that this process listens to. [`Subscriptions::run`] keeps the connection.
#[derive(Clone, Default)]
pub struct Subscriptions(Arc<SharedSubscriptions>);

#[derive(Default)]
struct SharedSubscriptions {
    wanted: Mutex<HashMap<String, MessageReceiver>>,
    changed: Notify,
    connected: watch::Sender<bool>,
}

/// What becomes of the messages of a channel.
#[derive(Clone)]
enum MessageReceiver {
    /// Sets the mark of a [`ChannelSubscription`].
    Mark(Weak<Notify>),
    /// Is called with each message.
    Handler(Arc<dyn Fn(&str) + Send + Sync>),
}

/// One channel. A message sets a mark, so that messages that come faster than they are taken are one.
pub struct ChannelSubscription {
    channel: String,
    announced: Arc<Notify>,
    shared: Arc<SharedSubscriptions>,
}

/// How long each command may take.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long a connection may take, for which sentinels may be asked first.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// More nodes than a cluster has.
const MANY_NODES: u128 = 1 << 14;
/// The wait between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(200);
/// The interval in which a silent connection is tested.
const PING_INTERVAL: Duration = Duration::from_secs(1);

impl Subscriptions {
    /// Subscribes to a channel. The subscription is marked as announced once it is in effect, after each new connection
    /// too: a message before that is lost.
    pub fn subscribe(&self, channel: String) -> ChannelSubscription {
        let announced = Arc::new(Notify::new());
        self.0.lock().insert(channel.clone(), MessageReceiver::Mark(Arc::downgrade(&announced)));
        self.0.changed.notify_one();
        ChannelSubscription { channel, announced, shared: Arc::clone(&self.0) }
    }

    /// Calls `handler` with each message of a channel, as long as the process runs. Messages are lost while there is no
    /// connection.
    pub fn handle(&self, channel: String, handler: impl Fn(&str) + Send + Sync + 'static) {
        self.0.lock().insert(channel, MessageReceiver::Handler(Arc::new(handler)));
        self.0.changed.notify_one();
    }

    /// Returns whether messages arrive.
    pub fn is_connected(&self) -> bool {
        *self.0.connected.borrow()
    }

    /// Keeps the connection. Runs until dropped.
    pub async fn run(&self, address: &RedisAddress) {
        let mut is_failing = false;
        // Processes take different nodes of a cluster.
        let first = usize::try_from(ConnectionId::random().to_bits() % MANY_NODES).unwrap_or_default();
        for attempt in first.. {
            let mut moves = address.moves();
            let connecting = async { address.message_server(attempt).await?.get_async_pubsub().await };
            match bounded(CONNECT_TIMEOUT, connecting).await {
                Ok(pubsub) => {
                    is_failing = false;
                    let (sink, stream) = pubsub.split();
                    tokio::select! {
                        _ = self.listen(sink, stream) => {}
                        () = moves.next() => {}
                    }
                    self.0.connected.send_replace(false);
                    tracing::warn!("Redis delivers no messages: connecting again");
                }
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(cause = %error, "no connection to Redis for messages");
                }
                Err(_) => {}
            }
            sleep(RECONNECT).await;
        }
    }

    /// Listens until the connection fails.
    async fn listen(&self, mut sink: PubSubSink, mut stream: PubSubStream) -> RedisResult<()> {
        let mut subscribed = HashSet::new();
        self.update(&mut sink, &mut subscribed).await?;
        self.0.connected.send_replace(true);
        loop {
            tokio::select! {
                message = stream.next() => {
                    let Some(message) = message else { return Ok(()) };
                    self.0.receive(&message);
                }
                () = self.0.changed.notified() => self.update(&mut sink, &mut subscribed).await?,
                () = sleep(PING_INTERVAL) => bounded(TIMEOUT, sink.ping::<redis::Value>()).await.map(drop)?,
            }
        }
    }
}

impl Subscriptions {
    /// Subscribes to the channels that are wanted, and unsubscribes from those that are no longer.
    async fn update(&self, sink: &mut PubSubSink, subscribed: &mut HashSet<String>) -> RedisResult<()> {
        let (added, removed) = self.0.difference(subscribed);
        if !removed.is_empty() {
            bounded(TIMEOUT, sink.unsubscribe(&removed)).await?;
            subscribed.retain(|channel| !removed.contains(channel));
        }
        if !added.is_empty() {
            bounded(TIMEOUT, sink.subscribe(&added)).await?;
        }
        for channel in added {
            self.0.subscribed(&channel);
            subscribed.insert(channel);
        }
        Ok(())
    }
}

async fn bounded<T>(time: Duration, command: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match timeout(time, command).await {
        Ok(answered) => answered,
        Err(_) => Err((redis::ErrorKind::Io, "no reply in time").into()),
    }
}

impl SharedSubscriptions {
    fn receive(&self, message: &Msg) {
        let receiver = self.lock().get(message.get_channel_name()).cloned();
        match receiver {
            Some(MessageReceiver::Mark(mark)) => announce(&mark),
            Some(MessageReceiver::Handler(handler)) => {
                if let Ok(text) = message.get_payload::<String>() {
                    handler(&text);
                }
            }
            None => {}
        }
    }

    /// Sets the mark of a channel whose subscription is in effect.
    fn subscribed(&self, channel: &str) {
        if let Some(MessageReceiver::Mark(mark)) = self.lock().get(channel) {
            announce(mark);
        }
    }

    /// Returns the channels to subscribe and to unsubscribe.
    fn difference(&self, subscribed: &HashSet<String>) -> (Vec<String>, Vec<String>) {
        let wanted = self.lock();
        let added = wanted.keys().filter(|channel| !subscribed.contains(*channel)).cloned().collect();
        let removed = subscribed.iter().filter(|channel| !wanted.contains_key(*channel)).cloned().collect();
        (added, removed)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, MessageReceiver>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn announce(mark: &Weak<Notify>) {
    if let Some(announced) = mark.upgrade() {
        announced.notify_one();
    }
}

impl ChannelSubscription {
    /// Waits for a message since the last call.
    pub async fn next(&mut self) {
        self.announced.notified().await;
    }
}

impl Drop for ChannelSubscription {
    fn drop(&mut self) {
        let mut wanted = self.shared.lock();
        // A later subscription to the same channel stays.
        let is_own = |receiver: &MessageReceiver| match receiver {
            MessageReceiver::Mark(mark) => mark.as_ptr() == Arc::as_ptr(&self.announced),
            MessageReceiver::Handler(_) => false,
        };
        if wanted.get(&self.channel).is_some_and(is_own) {
            wanted.remove(&self.channel);
        }
        drop(wanted);
        self.shared.changed.notify_one();
    }
}
