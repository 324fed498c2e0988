//! This process's copy of a channel's log in Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::channel_keys::ChannelKeys;
use super::channel_page::ChannelPage;
use super::channel_script;
use super::channel_store::{ChannelStore, RedisChannelTerms};
use super::stored_event::StoredEventDecoder;
use crate::domain::{ChannelEvent, ChannelName, Sequence};
use crate::event_log::channel_state::ChannelState;
use crate::event_log::sync::{Mutex, MutexGuard, unpoisoned};
use crate::event_log::tail::{TailMark, TailWake};
use crate::event_log::{AppendError, History, Limit, Page, ReadError, Tail};
use crate::redis_client::{CallError, Patience, ScriptCall};

/// A copy of what Redis keeps of a channel, shared by all readers of this process. It is empty until it is first read.
pub struct ChannelCopy {
    store: Arc<ChannelStore>,
    keys: ChannelKeys,
    state: Mutex<ChannelState>,
    tail: TailMark,
    /// The greatest number that this process has seen in Redis.
    seen: AtomicU64,
    is_read: AtomicBool,
    /// Set when a task begins to keep the copy up to date.
    is_followed: AtomicBool,
    reading: tokio::sync::Mutex<StoredEventDecoder>,
    reads_begun: AtomicU64,
    /// The number of the last read that was completed.
    reads_completed: AtomicU64,
    dropped: CancellationToken,
}

/// What a read does about a channel without a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingLog {
    Create,
    Report,
}

/// Redis has no log of the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoLog;

/// Events of one read.
const MOST_EVENTS: u64 = 256;

impl ChannelCopy {
    pub fn new(store: Arc<ChannelStore>, name: &ChannelName) -> Self {
        let keys = ChannelKeys::of(store.client.prefix(), name);
        let state = ChannelState::new(Arc::clone(&store.copies), Sequence::START, None);
        Self {
            store,
            keys,
            state: Mutex::new(state),
            tail: TailMark::new(Sequence::START),
            seen: AtomicU64::new(0),
            is_read: AtomicBool::new(false),
            is_followed: AtomicBool::new(false),
            reading: tokio::sync::Mutex::default(),
            reads_begun: AtomicU64::new(0),
            reads_completed: AtomicU64::new(0),
            dropped: CancellationToken::new(),
        }
    }

    pub const fn store(&self) -> &Arc<ChannelStore> {
        &self.store
    }

    pub const fn keys(&self) -> &ChannelKeys {
        &self.keys
    }

    pub fn wake(&self) -> TailWake {
        self.tail.wake()
    }

    /// Returns whether the caller must start the task that keeps the copy up to date.
    pub fn begin_following(&self) -> bool {
        !self.is_followed.swap(true, Ordering::AcqRel)
    }

    /// Returns a token that is cancelled when the copy is dropped.
    pub const fn dropped(&self) -> &CancellationToken {
        &self.dropped
    }

    pub fn bytes(&self) -> usize {
        self.lock().bytes()
    }

    /// Returns the tail, if the copy has all that this process has seen.
    pub fn tail(&self) -> Option<Tail> {
        self.is_current().then(|| self.lock().tail())
    }

    /// Returns a page of the copy; `None` if Redis must be read first.
    pub fn page(&self, after: Sequence) -> Option<Result<Page<ChannelEvent>, ReadError>> {
        if !self.is_read.load(Ordering::Acquire) {
            return None;
        }
        let page = self.lock().page(after);
        match &page {
            // The position may be of an event that another process has read.
            Err(ReadError::BeyondTail) => None,
            Ok(page) if page.entries.is_empty() && !self.is_current() => None,
            _ => Some(page),
        }
    }

    /// Returns a page of the copy as it is.
    pub fn page_of_copy(&self, after: Sequence) -> Result<Page<ChannelEvent>, ReadError> {
        self.lock().page(after)
    }

    pub fn tail_of_copy(&self) -> Tail {
        self.lock().tail()
    }

    pub fn history(&self, most: usize) -> History {
        self.lock().history(most, &self.store.terms.limits, Instant::now())
    }

    /// Returns whether the copy is in use and lacks events that this process has seen in Redis.
    pub fn is_behind(&self) -> bool {
        self.is_read.load(Ordering::Acquire) && !self.is_current()
    }

    /// Returns whether the copy has events that are no longer kept.
    pub fn has_expired(&self) -> bool {
        let RedisChannelTerms { limits, live, .. } = self.store.terms;
        self.lock().has_older(limits.retention, live, Instant::now())
    }

    fn is_current(&self) -> bool {
        self.is_read.load(Ordering::Acquire) && self.lock().tail().sequence.get() >= self.seen.load(Ordering::Acquire)
    }

    /// Records that Redis has events up to this number.
    pub fn note_seen(&self, number: u64) {
        self.seen.fetch_max(number, Ordering::AcqRel);
    }

    /// Appends events, however long Redis does not answer.
    pub async fn append(&self, events: &[ChannelEvent]) -> Result<Sequence, AppendError> {
        let call = self.store.append(&self.keys, events)?;
        match self.store.client.connection.call(&call, Patience::Unlimited).await {
            Ok(reply) => {
                let number = reply.number(1);
                self.store.evicted.fetch_add(reply.number(2), Ordering::Relaxed);
                self.note_seen(number);
                Ok(Sequence::new(number))
            }
            Err(CallError::Full) => Err(AppendError::Full(Limit::Total)),
            Err(CallError::Unavailable(_)) => Err(AppendError::Lost),
        }
    }

    /// Leaves a number empty, however long Redis does not answer.
    pub async fn skip(&self) {
        if let Ok(reply) = self.store.client.connection.call(&self.store.skip(&self.keys), Patience::Unlimited).await {
            self.note_seen(reply.number(1));
        }
    }

    /// Reads what Redis has beyond the copy, however long it does not answer. A caller that waits for a read of another
    /// one needs no read of its own if that one has begun after the call.
    pub async fn refresh(&self, missing: MissingLog) -> Result<(), NoLog> {
        let before = self.reads_begun.load(Ordering::Acquire);
        let mut decoder = self.reading.lock().await;
        if self.reads_completed.load(Ordering::Acquire) > before {
            return Ok(());
        }
        let read = self.reads_begun.fetch_add(1, Ordering::AcqRel) + 1;
        loop {
            let reply = self.store.client.connection.call(&self.read_call(missing), Patience::Unlimited).await;
            let page = reply.ok().and_then(ChannelPage::of).ok_or(NoLog)?;
            self.store_page(&page, &mut decoder);
            if page.is_last() {
                break;
            }
        }
        self.is_read.store(true, Ordering::Release);
        self.reads_completed.store(read, Ordering::Release);
        Ok(())
    }

    fn read_call(&self, missing: MissingLog) -> ScriptCall {
        let position = self.lock().tail().sequence;
        self.store
            .call(&channel_script::READ_CHANNEL, self.keys.of_log(), &self.keys.wakes)
            .number(position.get())
            .number(MOST_EVENTS)
            .arg(if missing == MissingLog::Create { "create" } else { "find" })
    }

    fn store_page(&self, page: &ChannelPage, decoder: &mut StoredEventDecoder) {
        let mut state = self.lock();
        page.copy_into(&mut state, decoder, self.store.terms.live);
        // Under the lock, so that no older tail overwrites a newer one.
        self.tail.move_to(state.tail().sequence);
        drop(state);
        self.store.check_copies();
    }

    /// Removes the oldest events of the copy, which are then a gap to its readers.
    pub fn shrink(&self, bytes: usize) {
        self.lock().shrink_copy(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, ChannelState> {
        unpoisoned(self.state.lock())
    }
}

impl Drop for ChannelCopy {
    fn drop(&mut self) {
        self.dropped.cancel();
        self.store.copies.refund(self.bytes());
    }
}
