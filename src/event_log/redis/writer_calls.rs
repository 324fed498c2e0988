//! The calls that the writer of a log sends.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until};

use super::batch::BatchEncoder;
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
}

impl WriterCalls {
    /// Appends a batch of `events` entries after `tail`.
    pub fn append(&self, epoch: Epoch, tail: Sequence, events: usize, batch: Vec<u8>) -> ScriptCall {
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
    pub create: ScriptCall,
    pub calls: WriterCalls,
}

/// The result of a reply to an append or a renewal.
pub enum ReplyVerdict {
    Ok,
    Failed(AppendError),
    /// Redis has lost the end of the log, or all of it: what it lacks is sent again.
    Behind,
}

/// A call that was sent, and is repeated until it is answered.
pub struct SentCall {
    /// The number of events that it carries.
    pub events: usize,
    /// It makes a log again that Redis has lost.
    pub is_restore: bool,
    pub sent: Instant,
    /// Ends with `event_log.redis.hold`.
    pub hold: Pin<Box<Sleep>>,
    pub reply: BoxFuture<'static, Result<Reply, CallError>>,
}

impl SentCall {
    pub fn send(store: &Store, call: ScriptCall, events: usize) -> Self {
        let (connection, sent) = (store.client.connection.clone(), Instant::now());
        let reply = async move { connection.call(&call, Patience::Unlimited).await }.boxed();
        Self { events, is_restore: false, sent, hold: Box::pin(sleep_until(sent + store.terms.hold)), reply }
    }
}

/// Returns a name of one call, however often it is sent.
pub fn nonce() -> String {
    ConnectionId::random().to_string()
}
