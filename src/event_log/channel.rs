//! The logs of channels in this process's memory.

use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::channel_account::{ChannelAccount, ChannelBudget};
use super::channel_directory::{ChannelDirectory, Evictable, ListedChannel};
use super::channel_limits::ChannelLimits;
use super::channel_slot::{costs, total};
use super::channel_state::MemoryChannel;
use super::sync::{Mutex, MutexGuard, unpoisoned};
use super::{
    AppendError, ChannelLog, ChannelLogs, ChannelsFull, History, Limit, Page, ReadError, Readable, Tail, Wake,
};
use crate::domain::{Account, ChannelEvent, ChannelName, ConnectionId, Sequence};

/// The logs of all channels. A log lives as long as it has a handle or holds anything.
pub struct MemoryChannels(Arc<SharedChannels>);

struct SharedChannels {
    limits: ChannelLimits,
    all: Arc<ChannelBudget>,
    directory: Mutex<ChannelDirectory>,
    /// The handles of the subscribers, which keep the logs of their channels.
    subscribed: Mutex<HashMap<(ChannelName, ConnectionId), Arc<ChannelHandle>>>,
}

/// One account's use of a channel's log. The log is not idle until its last handle is dropped.
pub struct ChannelHandle {
    channels: Arc<SharedChannels>,
    pub channel: Arc<MemoryChannel>,
    name: ChannelName,
    account: Arc<ChannelAccount>,
}

impl MemoryChannels {
    pub fn new(limits: ChannelLimits) -> Self {
        let all = Arc::new(ChannelBudget::new(limits.total));
        let directory = ChannelDirectory::new(Arc::clone(&all), limits.retention, limits.channels);
        let directory = Mutex::new(directory);
        Self(Arc::new(SharedChannels { limits, all, directory, subscribed: Mutex::default() }))
    }

    /// Returns the bytes that all channels hold.
    pub fn bytes(&self) -> usize {
        self.0.all.used()
    }

    /// Returns the number of channels.
    pub fn count(&self) -> usize {
        self.0.lock().channels.len()
    }

    /// Returns how many events have been evicted to make room for others.
    pub fn evicted(&self) -> u64 {
        self.0.all.evicted()
    }

    /// Returns the channel, if there is one, without a handle.
    pub(super) fn listed(&self, name: &ChannelName) -> Option<Arc<MemoryChannel>> {
        self.0.lock().channels.get(name).map(|listed| Arc::clone(&listed.channel))
    }

    pub(super) fn subscribed(&self, name: &ChannelName, connection: ConnectionId) -> Option<Arc<ChannelHandle>> {
        unpoisoned(self.0.subscribed.lock()).get(&(name.clone(), connection)).cloned()
    }

    pub(super) fn add_subscribed(&self, name: &ChannelName, connection: ConnectionId, handle: Arc<ChannelHandle>) {
        unpoisoned(self.0.subscribed.lock()).insert((name.clone(), connection), handle);
    }

    pub(super) fn remove_subscribed(&self, name: &ChannelName, connection: ConnectionId) -> Option<Arc<ChannelHandle>> {
        unpoisoned(self.0.subscribed.lock()).remove(&(name.clone(), connection))
    }

    /// Returns a handle of the channel, which is created if it does not exist.
    pub(super) fn open_now(&self, name: &ChannelName, account: &Account) -> Result<ChannelHandle, ChannelsFull> {
        let mut directory = self.0.lock();
        let account = directory.enter(account);
        let (channel, removed) = match directory.hold(name) {
            Some(channel) => (channel, None),
            None => match directory.make_room(account.id) {
                Ok(removed) => (directory.add(name, account.id), removed),
                Err(full) => {
                    directory.leave(account.id);
                    return Err(full);
                }
            },
        };
        drop(directory);
        // Up to `channels.max_bytes` of events: dropped outside the lock, which every caller takes.
        drop(removed);
        Ok(self.handle(name, channel, account))
    }

    fn handle(&self, name: &ChannelName, channel: Arc<MemoryChannel>, account: Arc<ChannelAccount>) -> ChannelHandle {
        ChannelHandle { channels: Arc::clone(&self.0), channel, name: name.clone(), account }
    }
}

impl ChannelLogs for MemoryChannels {
    fn open(
        &self,
        name: &ChannelName,
        account: &Account,
    ) -> BoxFuture<'static, Result<Arc<dyn ChannelLog>, ChannelsFull>> {
        ready(self.open_now(name, account).map(|handle| Arc::new(handle) as Arc<dyn ChannelLog>)).boxed()
    }

    fn find(&self, name: &ChannelName) -> BoxFuture<'static, Option<Arc<dyn ChannelLog>>> {
        let mut directory = self.0.lock();
        let Some(owner) = directory.owner(name).cloned() else { return ready(None).boxed() };
        let account = directory.enter(&owner);
        let channel = directory.hold(name);
        drop(directory);
        ready(channel.map(|channel| Arc::new(self.handle(name, channel, account)) as Arc<dyn ChannelLog>)).boxed()
    }

    fn sweep(&self) -> BoxFuture<'static, ()> {
        let now = Instant::now();
        let listed = |(name, listed): (&ChannelName, &ListedChannel)| (name.clone(), Arc::clone(&listed.channel));
        let channels: Vec<_> = self.0.lock().channels.iter().map(listed).collect();
        // Locks one channel at a time, so that callers are not blocked for the whole sweep.
        for (name, channel) in channels {
            let mut state = channel.lock();
            state.trim(&self.0.limits, now);
            let is_clean = !state.is_empty() && !state.has_empty_holdings();
            drop(state);
            if !is_clean {
                self.0.lock().clean(&name);
            }
        }
        self.0.lock().expire_tombstones(now);
        ready(()).boxed()
    }
}

impl SharedChannels {
    fn lock(&self) -> MutexGuard<'_, ChannelDirectory> {
        unpoisoned(self.directory.lock())
    }

    /// Evicts the oldest events, or a tombstone, of the account that holds most, to make room for `bytes` or a part of
    /// them. Returns whether anything was evicted.
    fn make_room(&self, bytes: usize) -> bool {
        let next = self.lock().next_evictable();
        match next {
            None => false,
            Some(Evictable::Tombstone) => true,
            Some(Evictable::Events { account, channel, key }) => {
                // Outside the directory's lock, because removing an event from the middle of a log is slow.
                channel.lock().evict_of(account, self.all.lacking(bytes).max(1));
                self.lock().list_again(account, &channel, key);
                true
            }
        }
    }
}

impl ChannelHandle {
    pub(super) fn append_now(&self, events: Vec<ChannelEvent>) -> Result<Sequence, AppendError> {
        let SharedChannels { limits, all, .. } = &*self.channels;
        let must_fit = matches!(events.as_slice(), [ChannelEvent::Generation(_, event)] if event.is_terminal());
        // Assumes that no shape is shared: making room may evict the event that bears a shared shape.
        let cost = total(&costs(&events, None));
        // Checked before any eviction: an append that is refused changes nothing.
        if !must_fit && cost > limits.bytes {
            return Err(AppendError::Full(Limit::Own));
        }
        if !must_fit && cost > limits.total {
            return Err(AppendError::Full(Limit::Total));
        }
        let mut is_taken = false;
        if must_fit && cost > limits.total {
            all.force(cost);
            is_taken = true;
        }
        let (tail, is_first) = loop {
            let now = Instant::now();
            let mut state = self.channel.lock();
            while cost <= limits.bytes && state.bytes() + cost > limits.bytes && state.evict_oldest() {}
            is_taken = is_taken || all.take(cost);
            if !is_taken {
                drop(state);
                match (self.channels.make_room(cost), must_fit) {
                    (true, _) => {}
                    (false, true) => {
                        all.force(cost);
                        is_taken = true;
                    }
                    (false, false) => return Err(AppendError::Full(Limit::Total)),
                }
                continue;
            }
            // Checked after the bytes are taken, because an eviction would remove the account's empty holding again.
            if !state.has_holding(self.account.id) {
                drop(state);
                self.channels.lock().list(&self.channel, &self.account);
                continue;
            }
            let was_keeping = state.keeps_events();
            state.append(self.account.id, events, cost, now);
            state.trim(limits, now);
            // Under the log's lock: outside it, an older tail could overwrite a newer one.
            self.channel.tail.move_to(state.tail().sequence);
            break (state.tail().sequence, !was_keeping && state.keeps_events());
        };
        if self.account.has_outgrown_rank() {
            self.channels.lock().rank_bytes(self.account.id);
        }
        if is_first && self.channel.owner.load(Ordering::Relaxed) != self.account.id.0 {
            self.channels.lock().hand_over(&self.name, self.account.id);
        }
        Ok(tail)
    }
}

impl ChannelLog for ChannelHandle {
    fn append(&self, events: Vec<ChannelEvent>) -> BoxFuture<'static, Result<Sequence, AppendError>> {
        ready(self.append_now(events)).boxed()
    }

    fn skip(&self) -> BoxFuture<'static, ()> {
        let mut state = self.channel.lock();
        state.skip(Instant::now());
        self.channel.tail.move_to(state.tail().sequence);
        ready(()).boxed()
    }

    fn history(&self, most: usize) -> BoxFuture<'static, History> {
        let now = Instant::now();
        let mut state = self.channel.lock();
        state.trim(&self.channels.limits, now);
        ready(state.history(most, &self.channels.limits, now)).boxed()
    }
}

impl Readable for ChannelHandle {
    type Event = ChannelEvent;

    fn try_read(&self, after: Sequence) -> Option<Result<Page<ChannelEvent>, ReadError>> {
        Some(self.channel.lock().page(after))
    }

    fn read(&self, after: Sequence) -> BoxFuture<'static, Result<Page<ChannelEvent>, ReadError>> {
        ready(self.channel.lock().page(after)).boxed()
    }

    fn tail(&self) -> BoxFuture<'static, Result<Tail, ReadError>> {
        ready(Ok(self.channel.lock().tail())).boxed()
    }

    fn wake(&self) -> Box<dyn Wake> {
        Box::new(self.channel.tail.wake())
    }
}

impl Drop for ChannelHandle {
    fn drop(&mut self) {
        self.channels.lock().release(&self.name, self.account.id);
    }
}
