//! The call that makes a log.

use std::sync::Arc;

use super::batch::BatchEncoder;
use super::replica_viewers::ReplicaViewers;
use super::script;
use super::store::Store;
use crate::domain::{Event, Start};
use crate::event_log::{CreateError, LogTerms, LogUnavailable};
use crate::redis_client::{CallError, ScriptCall};

/// Returns the call. `replaced` is a generation whose log was lost without its claim.
pub fn create_call(
    store: &Store,
    (start, terms): (&Arc<Start>, &LogTerms),
    encoder: &mut BatchEncoder,
    (claim, replaced): (Option<&String>, &str),
) -> ScriptCall {
    let keys = store.keys.of(start.generation);
    let fingerprint = terms.claim.as_ref().map_or(&[][..], |claim| &claim.request.as_bytes()[..]);
    let recovery = store.recorded(terms);
    let grace = recovery.and_then(|recovery| recovery.grace).map(|grace| grace.as_millis().to_string());
    ScriptCall::new(&script::CREATE, [&keys.head, &keys.entries, &keys.viewers].into_iter().chain(claim))
        .arg(start.generation.to_string())
        .arg(format!("{}/{}", store.client.replica, start.generation))
        .arg(store.client.replica.to_string())
        .arg(encoder.encode([&Event::Start(Arc::clone(start))]))
        .arg(BatchEncoder::default().encode([&terms.if_orphaned]))
        .millis(store.terms.lease)
        .millis(store.lifetime())
        .millis(ReplicaViewers::lease())
        .arg(claim.map_or("", String::as_str))
        .arg(fingerprint)
        .arg(replaced)
        .arg(recovery.map_or(&[][..], |recovery| &recovery.request[..]))
        .arg(grace.unwrap_or_default())
}

pub fn create_error(error: CallError) -> CreateError {
    match error {
        CallError::Full => CreateError::Full,
        CallError::Unavailable(unavailable) => LogUnavailable::from(unavailable).into(),
    }
}
