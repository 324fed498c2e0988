//! All channels in Redis.

use std::collections::HashMap;
use std::future::ready;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channel_copy::{ChannelCopy, MissingLog};
use super::channel_store::{ChannelStore, RedisChannelTerms};
use super::members_here::MembersHere;
use super::redis_channel::RedisChannel;
use crate::domain::{Account, ChannelName};
use crate::event_log::channel_account::ChannelBudget;
use crate::event_log::{ChannelLog, ChannelLogs, ChannelsFull};
use crate::redis_client::RedisClient;

/// Channels that every process with the same server and prefix shares. Clones are the same process.
#[derive(Clone)]
pub struct RedisChannels(pub(super) Arc<SharedRedisChannels>);

pub struct SharedRedisChannels {
    pub store: Arc<ChannelStore>,
    pub members: MembersHere,
    copies: Mutex<HashMap<ChannelName, Weak<ChannelCopy>>>,
}

/// The part of their limit that is freed when the copies exceed it, so that this is rare.
const FREED_PART: usize = 16;

impl RedisChannels {
    pub fn new(client: RedisClient, terms: RedisChannelTerms, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let copies = Arc::new(ChannelBudget::new(terms.limits.total));
        let (copies_full, evicted) = (Notify::new(), AtomicU64::new(0));
        let store = Arc::new(ChannelStore { client, terms, copies, copies_full, evicted, tasks, stop });
        Self(Arc::new(SharedRedisChannels { store, members: MembersHere::default(), copies: Mutex::default() }))
    }

    /// Keeps the copies of this process within `channels.max_bytes_total`: the largest ones lose their oldest events,
    /// which are then a gap to readers of this process. Runs until dropped.
    pub async fn run(&self) {
        loop {
            self.0.store.copies_full.notified().await;
            while self.0.store.excess() > 0 && self.0.shrink_largest() {}
        }
    }

    pub fn client(&self) -> &RedisClient {
        &self.0.store.client
    }

    pub fn terms(&self) -> RedisChannelTerms {
        self.0.store.terms
    }

    /// Returns the bytes of the copies of this process.
    pub fn bytes(&self) -> usize {
        self.0.store.copies.used()
    }

    /// Returns how many events appends of this process have evicted.
    pub fn evicted(&self) -> u64 {
        self.0.store.evicted.load(Ordering::Relaxed)
    }
}

impl SharedRedisChannels {
    /// Returns this process's copy of the channel, a new one if it has none.
    fn copy(&self, name: &ChannelName) -> Arc<ChannelCopy> {
        let mut copies = self.lock();
        if let Some(copy) = copies.get(name).and_then(Weak::upgrade) {
            return copy;
        }
        if copies.len() == copies.capacity() {
            copies.retain(|_, copy| copy.strong_count() > 0);
        }
        let copy = Arc::new(ChannelCopy::new(Arc::clone(&self.store), name));
        copies.insert(name.clone(), Arc::downgrade(&copy));
        copy
    }

    pub fn known_copy(&self, name: &ChannelName) -> Option<Arc<ChannelCopy>> {
        self.lock().get(name).and_then(Weak::upgrade)
    }

    fn copies(&self) -> Vec<Arc<ChannelCopy>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Removes the oldest events of the largest copy. Returns whether it had any.
    fn shrink_largest(&self) -> bool {
        let copies = self.copies();
        let Some(largest) = copies.iter().max_by_key(|copy| copy.bytes()).filter(|copy| copy.bytes() > 0) else {
            return false;
        };
        largest.shrink(self.store.excess().max(self.store.terms.limits.total / FREED_PART));
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelName, Weak<ChannelCopy>>> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChannelLogs for RedisChannels {
    fn open(
        &self,
        name: &ChannelName,
        _account: &Account,
    ) -> BoxFuture<'static, Result<Arc<dyn ChannelLog>, ChannelsFull>> {
        // The first append, join or read makes the log.
        ready(Ok(Arc::new(RedisChannel(self.0.copy(name))) as Arc<dyn ChannelLog>)).boxed()
    }

    fn find(&self, name: &ChannelName) -> BoxFuture<'static, Option<Arc<dyn ChannelLog>>> {
        let copy = self.0.copy(name);
        async move {
            copy.refresh(MissingLog::Report).await.ok()?;
            Some(Arc::new(RedisChannel(copy)) as Arc<dyn ChannelLog>)
        }
        .boxed()
    }

    /// Redis removes what has expired; this removes it from the copies.
    fn sweep(&self) -> BoxFuture<'static, ()> {
        let channels = Arc::clone(&self.0);
        async move {
            for copy in channels.copies() {
                if copy.has_expired() {
                    _ = copy.refresh(MissingLog::Report).await;
                }
            }
            channels.lock().retain(|_, copy| copy.strong_count() > 0);
        }
        .boxed()
    }
}
