//! The generations that this process owns, for messages from other processes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, SetOnce};

use crate::domain::{CancelReason, GenerationId, Lookup};

/// Finds the owned generations by their ids.
#[derive(Clone, Default)]
pub struct OwnedGenerations(Arc<Mutex<Lookup<GenerationId, Weak<OwnedGeneration>>>>);

/// What other processes tell the owner of a generation. Kept by its writer.
#[derive(Debug)]
pub struct OwnedGeneration {
    id: GenerationId,
    all: OwnedGenerations,
    end_request: SetOnce<CancelReason>,
    /// Marked when the viewers may have changed.
    pub viewers_changed: Notify,
}

impl OwnedGenerations {
    pub fn own(&self, id: GenerationId) -> Arc<OwnedGeneration> {
        let (end_request, viewers_changed) = (SetOnce::new(), Notify::new());
        let owned = Arc::new(OwnedGeneration { id, all: self.clone(), end_request, viewers_changed });
        self.lock().insert(id, Arc::downgrade(&owned));
        owned
    }

    pub fn get(&self, id: GenerationId) -> Option<Arc<OwnedGeneration>> {
        self.lock().get(&id).and_then(Weak::upgrade)
    }

    /// Carries out a message to this process: `end ID REASON` or `left ID`.
    pub fn receive(&self, message: &str) {
        let mut words = message.split(' ');
        let (kind, id) = (words.next().unwrap_or_default(), words.next().and_then(|id| id.parse().ok()));
        let Some(owned) = id.and_then(|id| self.get(id)) else { return };
        match kind {
            "end" => owned.request_end(words.next().unwrap_or_default()),
            "left" => owned.viewers_changed.notify_one(),
            // A message of a later version.
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lookup<GenerationId, Weak<OwnedGeneration>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for OwnedGenerations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OwnedGenerations({})", self.lock().len())
    }
}

impl OwnedGeneration {
    /// Stores the first request to end the generation, by the name of its reason.
    pub fn request_end(&self, reason: &str) {
        if let Some(reason) = reason_named(reason) {
            _ = self.end_request.set(reason);
        }
    }

    pub async fn end_requested(&self) -> CancelReason {
        *self.end_request.wait().await
    }
}

impl Drop for OwnedGeneration {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

pub const fn name_of(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::ClientRequest => "client_request",
        CancelReason::Abandoned => "abandoned",
    }
}

/// Returns the reason with this name. One of a later version is a request all the same.
fn reason_named(name: &str) -> Option<CancelReason> {
    match name {
        "" => None,
        "abandoned" => Some(CancelReason::Abandoned),
        _ => Some(CancelReason::ClientRequest),
    }
}
