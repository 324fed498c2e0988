//! Claims of idempotency keys in Redis, and the removal of the logs that they name.

use super::kept_bytes;
use super::script;
use super::store::Store;
use crate::domain::{Claim, GenerationId, IdempotencyKey, Principal};
use crate::event_log::{ClaimError, Conflict, LogUnavailable, LostAnswer};
use crate::redis_client::{PATIENCE, Patience, ScriptCall};

/// What becomes of the claim on a log that is removed.
#[derive(Debug, Clone, Copy)]
pub enum ClaimFate {
    Free,
    Tombstone,
}

pub async fn claimed(store: &Store, owner: &Principal, claim: &Claim) -> Result<Option<GenerationId>, ClaimError> {
    let mut commands = redis::pipe();
    commands.cmd("HMGET").arg(store.keys.claim(owner, &claim.key)).arg(&["id", "fp", "lost"]);
    let found =
        store.client.connection.send::<(Vec<Option<Vec<u8>>>,)>(&commands).await.map_err(LogUnavailable::from)?.0;
    let [Some(id), Some(fingerprint), lost] = found.as_slice() else { return Ok(None) };
    if fingerprint.as_slice() != claim.request.as_bytes() {
        return Err(Conflict.into());
    }
    if let Some(usage) = lost {
        return Err(LostAnswer { usage: serde_json::from_slice(usage).ok() }.into());
    }
    Ok(std::str::from_utf8(id).ok().and_then(|id| id.parse().ok()))
}

pub async fn knows(store: &Store, owner: &Principal, key: &IdempotencyKey) -> Result<bool, LogUnavailable> {
    let mut commands = redis::pipe();
    commands.exists(store.keys.claim(owner, key));
    Ok(store.client.connection.send::<(bool,)>(&commands).await?.0)
}

/// Returns the key of the claim on a log; `None` if it has none, or is gone.
async fn claim_of(store: &Store, generation: GenerationId) -> Result<Option<String>, LogUnavailable> {
    let mut commands = redis::pipe();
    commands.hget(store.keys.of(generation).head, "claim");
    let claim = store.client.connection.send::<(Option<String>,)>(&commands).await?.0;
    Ok(claim.filter(|claim| !claim.is_empty()))
}

pub async fn release(store: &Store, generation: GenerationId) -> Result<(), LogUnavailable> {
    let Some(claim) = claim_of(store, generation).await? else { return Ok(()) };
    let keys = store.keys.of(generation);
    let call = ScriptCall::new(&script::RELEASE, [&keys.head, &claim]).arg(generation.to_string());
    send(store, &call).await
}

pub async fn remove(store: &Store, generation: GenerationId, claim_becomes: ClaimFate) -> Result<(), LogUnavailable> {
    let claim = claim_of(store, generation).await?;
    let keys = store.keys.of(generation);
    let fate = match claim_becomes {
        ClaimFate::Free => "free",
        ClaimFate::Tombstone => "kept",
    };
    let call = ScriptCall::new(&script::REMOVE, [&keys.head, &keys.entries, &keys.viewers].into_iter().chain(&claim))
        .arg(generation.to_string())
        .arg(fate);
    send(store, &call).await?;
    kept_bytes::release(store, generation).await;
    Ok(())
}

async fn send(store: &Store, call: &ScriptCall) -> Result<(), LogUnavailable> {
    store.client.connection.call(call, Patience::For(PATIENCE)).await.map(drop).map_err(|_| LogUnavailable)
}
