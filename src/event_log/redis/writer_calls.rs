//! The calls that the writer of a log sends.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until};

use super::batch::BatchEncoder;
use super::kept_bytes::{self, BATCH_BYTES};
use super::keys::LogKeys;
use super::mirror::Mirror;
use super::owned::OwnedGeneration;
use super::script;
use super::store::Store;
use crate::domain::{ConnectionId, Epoch, Event, GenerationId, Sequence};
use crate::event_log::AppendError;
use crate::redis_client::{CallError, Patience, Reply, ScriptCall};

/// Makes the calls for one log.
pub struct WriterCalls {
    pub generation: GenerationId,
    pub keys: LogKeys,
    /// The key of the claim, if there is one.
    pub claim: Option<String>,
    pub lease: Duration,
    pub retention: Duration,
    /// About what the log takes in Redis.
    pub stored: usize,
}

impl WriterCalls {
    /// Appends a batch of `events` entries after `tail`.
    pub fn append(&mut self, epoch: Epoch, tail: Sequence, events: usize, batch: Vec<u8>) -> ScriptCall {
        self.stored += batch.len() + BATCH_BYTES;
        ScriptCall::new(&script::APPEND, [&self.keys.head, &self.keys.entries])
            .number(epoch.get().into())
            .number(tail.get())
            .number(tail.plus(events as u64).get())
            .arg(nonce())
            .arg(batch)
            .millis(self.lease)
            .arg(self.keys.wakes.as_str())
    }

    /// Appends the last batch, which ends with the terminal event.
    pub fn close(
        &self,
        nonce: &str,
        (epoch, tail): (Epoch, Sequence),
        (events, batch): (usize, Vec<u8>),
        terminal: &Event,
    ) -> ScriptCall {
        let usage = terminal.usage().and_then(|usage| serde_json::to_string(&usage).ok()).unwrap_or_default();
        let keys = [&self.keys.head, &self.keys.entries, &self.keys.viewers].into_iter().chain(&self.claim);
        ScriptCall::new(&script::CLOSE, keys)
            .number(epoch.get().into())
            .number(tail.get())
            .number(tail.plus(events as u64).get())
            .arg(nonce)
            .arg(batch)
            .arg(BatchEncoder::default().encode([terminal]))
            .millis(self.retention)
            .arg(self.keys.wakes.as_str())
            .arg(usage)
            .arg(self.generation.to_string())
    }

    /// Asks whether Redis has `events` entries after `tail`.
    pub fn check(&self, store: &Store, (epoch, tail): (Epoch, Sequence), events: usize) -> SentCall {
        let call = self.renew(epoch, self.lease, tail.plus(events as u64));
        SentCall::send(store, CallPurpose::Check, call, events)
    }

    /// Counts what the closed log takes, without waiting.
    pub fn settle(&self, store: &Arc<Store>) {
        let (store, generation, stored) = (Arc::clone(store), self.generation, self.stored);
        store.tasks.clone().spawn(async move { kept_bytes::settle(&store, generation, stored).await });
    }

    /// Moves the end of the lease, if Redis has all entries up to `tail`. A lease of 0 gives the log up.
    pub fn renew(&self, epoch: Epoch, lease: Duration, tail: Sequence) -> ScriptCall {
        ScriptCall::new(&script::RENEW, [&self.keys.head]).number(epoch.get().into()).millis(lease).number(tail.get())
    }
}

/// What a new writer is made with.
pub struct NewLog {
    pub mirror: Arc<Mirror>,
    pub owned: Arc<OwnedGeneration>,
    pub encoder: BatchEncoder,
    /// `None` for a log that was taken over: if Redis loses it, it cannot be made again.
    pub create: Option<ScriptCall>,
    pub calls: WriterCalls,
}

/// The result of a reply to an append or a renewal.
pub enum ReplyVerdict {
    Ok,
    Failed(AppendError),
    /// Redis has lost the end of the log, or all of it: what it lacks is sent again.
    Behind,
}

/// What a call is sent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallPurpose {
    Append,
    /// Makes a log again that Redis has lost.
    Restore,
    /// Finds out whether an append was carried out before Redis refused its repeat because it is full.
    Check,
}

/// A call that was sent, and is repeated until it is answered.
pub struct SentCall {
    /// The number of events that it carries.
    pub events: usize,
    pub purpose: CallPurpose,
    pub sent: Instant,
    /// Ends with `event_log.redis.hold`.
    pub hold: Pin<Box<Sleep>>,
    pub reply: BoxFuture<'static, Result<Reply, CallError>>,
}

impl SentCall {
    pub fn send(store: &Store, purpose: CallPurpose, call: ScriptCall, events: usize) -> Self {
        let (connection, sent) = (store.client.connection.clone(), Instant::now());
        let reply = async move { connection.call(&call, Patience::Unlimited).await }.boxed();
        Self { events, purpose, sent, hold: Box::pin(sleep_until(sent + store.terms.hold)), reply }
    }
}

/// Returns a name of one call, however often it is sent.
pub fn nonce() -> String {
    ConnectionId::random().to_string()
}
