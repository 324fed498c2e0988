//! What every part of the channels in Redis needs: the client, the terms, the calls.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channel_keys::ChannelKeys;
use super::channel_script;
use super::stored_event::encode_event;
use crate::domain::{ChannelEvent, ConnectionId, Keeping};
use crate::event_log::channel_account::ChannelBudget;
use crate::event_log::channel_slot::{EVENT_BYTES, costs};
use crate::event_log::{AppendError, ChannelLimits, Limit};
use crate::redis_client::{RedisClient, ScriptCall};

pub struct ChannelStore {
    pub client: RedisClient,
    pub terms: RedisChannelTerms,
    /// The bytes of the copies of this process.
    pub copies: Arc<ChannelBudget>,
    /// Notified when the copies exceed their limit.
    pub copies_full: Notify,
    /// Events that appends of this process have evicted.
    pub evicted: AtomicU64,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

/// The limits and times of channels in Redis.
#[derive(Debug, Clone, Copy)]
pub struct RedisChannelTerms {
    /// `total` limits the copies of this process; the number of channels has no limit.
    pub limits: ChannelLimits,
    /// The minimum time that every event is kept, for slow subscribers.
    pub live: Duration,
    /// How long the entry of a subscriber is kept after the last refresh of its process.
    pub lease: Duration,
}

/// Time beside the retention until the keys of a channel without appends and subscribers expire.
const MARGIN: Duration = Duration::from_mins(1);
/// The streams of a channel, as the scripts number them.
const KEPT: u64 = 2;
const PASSING: u64 = 3;

impl RedisChannelTerms {
    pub const fn new(limits: ChannelLimits) -> Self {
        Self { limits, live: ChannelLimits::LIVE, lease: Duration::from_secs(6) }
    }
}

impl ChannelStore {
    /// Returns by how many bytes the copies exceed their limit.
    pub fn excess(&self) -> usize {
        self.copies.used().saturating_sub(self.terms.limits.total)
    }

    /// Wakes the task that shrinks copies if they exceed their limit.
    pub fn check_copies(&self) {
        if self.excess() > 0 {
            self.copies_full.notify_one();
        }
    }

    /// Returns a call with the terms, which all scripts have first.
    pub fn call<'a>(
        &self,
        script: &'static LazyLock<redis::Script>,
        keys: impl IntoIterator<Item = &'a String>,
        wakes: &str,
    ) -> ScriptCall {
        let ChannelLimits { history, retention, bytes, .. } = self.terms.limits;
        ScriptCall::new(script, keys)
            .millis(retention)
            .millis(self.terms.live)
            .number(history as u64)
            .millis(retention + self.terms.live + MARGIN)
            .number(bytes as u64)
            .arg(wakes)
            .number(EVENT_BYTES as u64)
    }

    /// Returns the call that appends events, or an error if they are too large. It may be sent more than once.
    pub fn append(&self, keys: &ChannelKeys, events: &[ChannelEvent]) -> Result<ScriptCall, AppendError> {
        let must_fit = matches!(events, [ChannelEvent::Generation(_, event)] if event.is_terminal());
        let costs = costs(events, None);
        if !must_fit && costs.iter().map(|cost| cost.bytes).sum::<usize>() > self.terms.limits.bytes {
            return Err(AppendError::Full(Limit::Own));
        }
        let script = if must_fit { &channel_script::APPEND_END } else { &channel_script::APPEND_CHANNEL };
        let call = self.call(script, keys.of_appends(), &keys.wakes).arg(nonce());
        Ok(events.iter().zip(costs).fold(call, |call, (event, cost)| {
            let stream = if event.keeping() == Keeping::Kept { KEPT } else { PASSING };
            let kind = u64::from(event.keeping() == Keeping::Kept && event.counts());
            call.number(stream).number(kind).number(cost.bytes as u64).arg(encode_event(event))
        }))
    }

    /// Returns the call that leaves a number empty.
    pub fn skip(&self, keys: &ChannelKeys) -> ScriptCall {
        self.call(&channel_script::SKIP, keys.of_appends(), &keys.wakes).arg(nonce()).number(EVENT_BYTES as u64)
    }
}

/// Identifies an append, so that a repeat of it is found.
fn nonce() -> String {
    // An id of a connection has as many random bits as are needed here.
    ConnectionId::random().to_string()
}
