//! The logs of channels, in this process's memory.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::channel_account::{ChannelAccount, ChannelBudget};
use super::channel_directory::{ChannelDirectory, Evictable, ListedChannel};
use super::channel_slot::{costs, total};
use super::channel_state::MemoryChannel;
use super::sync::{Mutex, MutexGuard, unpoisoned};
use super::tail::TailReader;
use super::{
    AppendError, ChannelLog, ChannelLogs, ChannelsFull, History, Limit, Page, ReadError, Readable, Reply, ready,
};
use crate::domain::{Account, ChannelEvent, ChannelName, Sequence};

/// What the logs of channels may hold.
#[derive(Debug, Clone, Copy)]
pub struct ChannelLimits {
    /// Events that one keeps (`channels.history`); a generation's answer counts as one.
    pub history: usize,
    /// How long one keeps an event (`channels.retention`).
    pub retention: Duration,
    /// Bytes of one log (`channels.max_bytes`).
    pub bytes: usize,
    /// Bytes of all of them together (`channels.max_bytes_total`). Apart from those of generations, so that a publisher
    /// takes no room from answers.
    pub total: usize,
    /// How many there may be (`channels.max_channels`).
    pub channels: usize,
}

/// Logs that live as long as there is a handle of them or they hold anything.
pub struct MemoryChannels(Arc<SharedChannels>);

struct SharedChannels {
    limits: ChannelLimits,
    all: Arc<ChannelBudget>,
    directory: Mutex<ChannelDirectory>,
}

/// One account's use of a channel's log. The log is not idle until its last handle is dropped.
struct ChannelHandle {
    channels: Arc<SharedChannels>,
    channel: Arc<MemoryChannel>,
    name: ChannelName,
    account: Arc<ChannelAccount>,
}

impl MemoryChannels {
    pub fn new(limits: ChannelLimits) -> Self {
        let all = Arc::new(ChannelBudget::new(limits.total));
        let directory = ChannelDirectory::new(Arc::clone(&all), limits.retention, limits.channels);
        let directory = Mutex::new(directory);
        Self(Arc::new(SharedChannels { limits, all, directory }))
    }

    /// Bytes that all of them hold.
    pub fn bytes(&self) -> usize {
        self.0.all.used()
    }

    /// Channels that are there.
    pub fn count(&self) -> usize {
        self.0.lock().channels.len()
    }

    /// Events that were evicted so far, to make room for others.
    pub fn evicted(&self) -> u64 {
        self.0.all.evicted()
    }

    fn handle(&self, name: &ChannelName, channel: Arc<MemoryChannel>, account: Arc<ChannelAccount>) -> ChannelHandle {
        ChannelHandle { channels: Arc::clone(&self.0), channel, name: name.clone(), account }
    }
}

impl ChannelLogs for MemoryChannels {
    fn open(&self, name: &ChannelName, account: &Account) -> Reply<'_, Result<Arc<dyn ChannelLog>, ChannelsFull>> {
        let mut directory = self.0.lock();
        let account = directory.enter(account);
        let (channel, removed) = match directory.hold(name) {
            Some(channel) => (channel, None),
            None => match directory.make_room(account.id) {
                Ok(removed) => (directory.add(name, account.id), removed),
                Err(full) => {
                    directory.leave(account.id);
                    return ready(Err(full));
                }
            },
        };
        drop(directory);
        // Up to `channels.max_bytes` of events: freed outside the lock, which every caller takes.
        drop(removed);
        ready(Ok(Arc::new(self.handle(name, channel, account)) as Arc<dyn ChannelLog>))
    }

    fn find(&self, name: &ChannelName) -> Reply<'_, Option<Arc<dyn ChannelLog>>> {
        let mut directory = self.0.lock();
        let Some(owner) = directory.owner(name).cloned() else { return ready(None) };
        let account = directory.enter(&owner);
        let channel = directory.hold(name);
        drop(directory);
        ready(channel.map(|channel| Arc::new(self.handle(name, channel, account)) as Arc<dyn ChannelLog>))
    }

    fn sweep(&self) -> Reply<'_, ()> {
        let now = Instant::now();
        let listed = |(name, listed): (&ChannelName, &ListedChannel)| (name.clone(), Arc::clone(&listed.channel));
        let channels: Vec<_> = self.0.lock().channels.iter().map(listed).collect();
        // One at a time: callers go on in between.
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
        ready(())
    }
}

impl SharedChannels {
    fn lock(&self) -> MutexGuard<'_, ChannelDirectory> {
        unpoisoned(self.directory.lock())
    }

    /// Evicts the oldest events of the account that holds most, so that so many bytes more have room, or a part of them.
    /// Returns whether anything went.
    fn make_room(&self, bytes: usize) -> bool {
        let next = self.lock().next_evictable();
        match next {
            None => false,
            Some(Evictable::Tombstone) => true,
            Some(Evictable::Events { account, channel, key }) => {
                // Outside the directory's lock: an event in the middle of a log is slow to remove.
                channel.lock().evict_of(account, self.all.lacking(bytes).max(1));
                self.lock().list_again(account, &channel, key);
                true
            }
        }
    }
}

impl ChannelHandle {
    fn append_now(&self, events: Vec<ChannelEvent>) -> Result<Sequence, AppendError> {
        let SharedChannels { limits, all, .. } = &*self.channels;
        let must_fit = matches!(events.as_slice(), [ChannelEvent::Said(_, event)] if event.is_terminal());
        // As if nothing were kept: room that is made for it may evict a shape that it shares.
        let cost = total(&costs(&events, None));
        // Before anything goes for it: an append that is refused changes nothing.
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
            // After the bytes are taken: an eviction would remove the account's empty entry again.
            if !state.has_holding(self.account.id) {
                drop(state);
                self.channels.lock().list(&self.channel, &self.account);
                continue;
            }
            let was_keeping = state.keeps_events();
            state.append(self.account.id, events, cost, now);
            state.trim(limits, now);
            // Under the log's lock, lest two tails overtake one another.
            self.channel.tail.move_to(state.tail());
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
    fn append(&self, events: Vec<ChannelEvent>) -> Reply<'_, Result<Sequence, AppendError>> {
        ready(self.append_now(events))
    }

    fn skip(&self) -> Reply<'_, ()> {
        let mut state = self.channel.lock();
        state.skip(Instant::now());
        self.channel.tail.move_to(state.tail());
        ready(())
    }

    fn history(&self, most: usize) -> Reply<'_, History> {
        let now = Instant::now();
        let mut state = self.channel.lock();
        state.trim(&self.channels.limits, now);
        ready(state.history(most, &self.channels.limits, now))
    }
}

impl Readable for ChannelHandle {
    type Event = ChannelEvent;

    fn read(&self, after: Sequence) -> Reply<'_, Result<Page<ChannelEvent>, ReadError>> {
        ready(self.channel.lock().page(after))
    }

    fn tail(&self) -> TailReader {
        self.channel.tail.reader()
    }
}

impl Drop for ChannelHandle {
    fn drop(&mut self) {
        self.channels.lock().release(&self.name, self.account.id);
    }
}
