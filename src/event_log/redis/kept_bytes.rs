//! The bytes that the accounts hold in Redis, if the settings limit them.

use std::time::Duration;

use super::script;
use super::store::Store;
use crate::domain::{GenerationId, Start};
use crate::event_log::{CreateError, LogTerms};
use crate::redis_client::{CallError, PATIENCE, Patience, ScriptCall, digest_of_account};

/// About what a log takes in Redis beside its batches: its keys, its start, its claim, and these counts.
pub const LOG_BYTES: usize = 6 * 1024;
/// About what a batch takes in addition to its bytes.
pub const BATCH_BYTES: usize = 16;

/// Returns about what a log takes before its first chunk.
pub fn log_bytes(start: &Start) -> usize {
    LOG_BYTES + start.notes_size()
}

/// Counts a new log for its account, with its recorded request.
///
/// # Errors
///
/// [`CreateError::Full`] if all logs together are at the limit and the account is above its share.
pub async fn reserve(store: &Store, start: &Start, terms: &LogTerms) -> Result<(), CreateError> {
    let Some(most) = store.terms.max_bytes else { return Ok(()) };
    let account = digest_of_account(&terms.account, &[]);
    let bytes = log_bytes(start) + store.recorded(terms).map_or(0, |recovery| recovery.request.len());
    let call = call(store, start.generation, &account, (bytes, store.lifetime())).number(most as u64);
    match store.client.connection.call(&call, Patience::For(PATIENCE)).await {
        Ok(reply) if reply.code() == "full" => Err(CreateError::Full),
        Ok(_) => Ok(()),
        Err(CallError::Full) => Err(CreateError::Full),
        Err(CallError::Unavailable(_)) => Err(CreateError::Unavailable(crate::event_log::LogUnavailable)),
    }
}

/// Counts what a closed log holds until its retention ends.
pub async fn settle(store: &Store, generation: GenerationId, bytes: usize) {
    replace(store, generation, bytes).await;
}

/// No longer counts a log that was not made, or was removed.
pub async fn release(store: &Store, generation: GenerationId) {
    replace(store, generation, 0).await;
}

/// Without a reply, the count stays as it is until it expires.
async fn replace(store: &Store, generation: GenerationId, bytes: usize) {
    if store.terms.max_bytes.is_some() {
        let call = call(store, generation, "", (bytes, store.terms.retention)).number(0);
        _ = store.client.connection.call(&call, Patience::For(PATIENCE)).await;
    }
}

fn call(store: &Store, generation: GenerationId, account: &str, (bytes, time): (usize, Duration)) -> ScriptCall {
    ScriptCall::new(&script::KEEP, &store.keys.kept_bytes())
        .arg(generation.to_string())
        .arg(account)
        .number(bytes as u64)
        .millis(time)
}
