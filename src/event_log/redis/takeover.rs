//! Makes this process the owner of a log whose owner is lost.

use std::sync::Arc;

use super::batch::BatchEncoder;
use super::kept_bytes;
use super::keys::LogKeys;
use super::mirror::Mirror;
use super::owned::OwnedGenerations;
use super::redis_writer::RedisWriter;
use super::script;
use super::store::Store;
use super::writer_calls::{NewLog, WriterCalls, nonce};
use crate::domain::{Epoch, Sequence};
use crate::event_log::{LogUnavailable, TakenLog};
use crate::redis_client::{PATIENCE, Patience, ScriptCall};

/// Takes the log over that `mirror` is a copy of. `None` if it has an owner, has ended, or may not be taken over (any
/// more).
pub async fn take_over(
    store: &Arc<Store>,
    owned: &OwnedGenerations,
    mirror: Arc<Mirror>,
) -> Result<Option<TakenLog>, LogUnavailable> {
    let generation = mirror.generation();
    let keys = store.keys.of(generation);
    let call = ScriptCall::new(&script::TAKE, [&keys.head, &keys.entries, &keys.viewers])
        .arg(nonce())
        .arg(store.client.replica.to_string())
        .millis(store.terms.lease);
    let reply = store.client.connection.call(&call, Patience::For(PATIENCE)).await.map_err(|_| LogUnavailable)?;
    if reply.code() != "taken" {
        return Ok(None);
    }
    let epoch = Epoch::new(u32::try_from(reply.number(1)).unwrap_or(u32::MAX));
    let tail = Sequence::new(reply.number(2));
    // A message that came before is in the reply to the next call of the writer, too.
    let mine = owned.own(generation);
    mine.request_end(std::str::from_utf8(reply.bytes(4)).unwrap_or_default());
    let claim = std::str::from_utf8(reply.bytes(5)).ok().filter(|claim| !claim.is_empty()).map(str::to_owned);
    let request = reply.bytes(3).to_vec();
    // Nothing is appended from now on, so what Redis has is the whole log.
    if !mirror.own(epoch, tail).await {
        return Err(LogUnavailable);
    }
    forget_request(store, &keys);
    let calls = WriterCalls {
        generation,
        keys,
        claim,
        lease: store.terms.lease,
        retention: store.terms.retention,
        stored: kept_bytes::LOG_BYTES + mirror.bytes(),
    };
    let new = NewLog { mirror, owned: mine, encoder: BatchEncoder::default(), create: None, calls };
    let writer = RedisWriter::new(Arc::clone(store), new).continuing(epoch, tail);
    Ok(Some(TakenLog { writer: Box::new(writer), request }))
}

/// Removes the recorded request, without waiting: no other process may take the log over any more. If that fails, it is removed
/// when the log is closed.
fn forget_request(store: &Arc<Store>, keys: &LogKeys) {
    let mut commands = redis::pipe();
    commands.hdel(&keys.head, "req").ignore();
    let connection = store.client.connection.clone();
    store.tasks.spawn(async move { _ = connection.send::<()>(&commands).await });
}
