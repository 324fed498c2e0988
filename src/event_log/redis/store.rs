//! What every part of this backend needs: the client, the names, the terms.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::keys::Keys;
use super::orphans::Orphans;
use super::script;
use crate::domain::GenerationId;
use crate::event_log::{LogTerms, LogUnavailable, Recovery};
use crate::redis_client::{PATIENCE, Patience, RedisClient, RedisUnavailable, ScriptCall};

pub struct Store {
    pub client: RedisClient,
    pub keys: Keys,
    pub terms: RedisTerms,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    pub orphans: Orphans,
}

/// The times and sizes of logs in Redis.
#[derive(Debug, Clone, Copy)]
pub struct RedisTerms {
    /// Bytes of one generation's log (`generation.max_bytes`), without its terminal event.
    pub most_of_one_log: usize,
    /// Bytes of all logs together (`event_log.redis.max_bytes`). `None`: only the server limits them.
    pub max_bytes: Option<usize>,
    /// How long a closed log stays readable (`generation.retention`).
    pub retention: Duration,
    /// How long a log can be open (`generation.max_duration`).
    pub max_duration: Duration,
    /// How long an owner keeps a log that it does not write to (`event_log.redis.lease`).
    pub lease: Duration,
    /// After this silence of Redis, viewers of the owner's process see entries that Redis has not acknowledged
    /// (`event_log.redis.hold`).
    pub hold: Duration,
    /// Whether a log whose owner is lost may be taken over (`event_log.redis.recover`).
    pub recovery: RecoveryMode,
}

/// What becomes of a log whose owner is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RecoveryMode {
    /// The next reader closes it.
    #[default]
    Close,
    /// Another process takes it over, if its request permits that.
    TakeOver,
}

/// Time beside `generation.max_duration` until the keys of a log that is never closed expire.
const CLOSING_TIME: Duration = Duration::from_mins(1);

impl From<RedisUnavailable> for LogUnavailable {
    fn from(_: RedisUnavailable) -> Self {
        Self
    }
}

impl Store {
    /// Returns the time after which the keys of a new log expire, whatever happens to its owner.
    pub fn lifetime(&self) -> Duration {
        self.terms.max_duration + self.terms.retention + CLOSING_TIME
    }

    /// Returns what is stored for a takeover.
    pub fn recorded<'a>(&self, terms: &'a LogTerms) -> Option<&'a Recovery> {
        terms.recovery.as_ref().filter(|_| self.terms.recovery == RecoveryMode::TakeOver)
    }

    /// Lets a claim expire with its log, which another process closed. Without it, the claim expires later, and a create
    /// that finds its log gone replaces it.
    pub async fn retain_claim(&self, generation: GenerationId, claim: &[u8]) {
        let Ok(claim) = String::from_utf8(claim.to_vec()) else { return };
        let call = ScriptCall::new(&script::RETAIN_CLAIM, [&self.keys.of(generation).head, &claim])
            .arg(generation.to_string())
            .millis(self.terms.retention);
        _ = self.client.connection.call(&call, Patience::For(PATIENCE)).await;
    }
}
