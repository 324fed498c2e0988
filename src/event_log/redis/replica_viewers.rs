//! The viewers of this process, and the presence of this process at each generation that has one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;

use super::owned::OwnedGenerations;
use super::script;
use super::store::Store;
use crate::domain::{GenerationId, Lookup};
use crate::event_log::GenerationEnded;
use crate::redis_client::{PATIENCE, Patience, ScriptCall};

/// Counts the viewers of this process. Redis knows only which processes have any, each for a time that is extended.
#[derive(Clone)]
pub struct ReplicaViewers(Arc<SharedViewers>);

struct SharedViewers {
    store: Arc<Store>,
    owned: OwnedGenerations,
    by_generation: Mutex<Lookup<GenerationId, Arc<ViewersHere>>>,
}

/// The number of viewers of one generation. The lock is held while the first and the last one are reported to Redis, so that
/// it learns of both in their order.
#[derive(Default)]
struct ViewersHere(tokio::sync::Mutex<usize>);

/// One viewer. Dropping it removes the viewer.
pub struct ViewerHere {
    viewers: ReplicaViewers,
    generation: GenerationId,
}

/// How long a process that is gone counts as having viewers.
const VIEWER_LEASE: Duration = Duration::from_secs(6);
/// The interval in which a process extends that time.
pub const REFRESH: Duration = Duration::from_secs(2);

impl ReplicaViewers {
    pub fn new(store: Arc<Store>, owned: OwnedGenerations) -> Self {
        Self(Arc::new(SharedViewers { store, owned, by_generation: Mutex::default() }))
    }

    pub const fn lease() -> Duration {
        VIEWER_LEASE
    }

    /// Adds the first viewer of a generation that was made with it.
    pub fn first(&self, generation: GenerationId) -> ViewerHere {
        let here = Arc::new(ViewersHere(tokio::sync::Mutex::new(1)));
        self.0.lock().insert(generation, here);
        ViewerHere { viewers: self.clone(), generation }
    }

    /// Adds a viewer, unless the generation is shut to viewers. While Redis does not answer, the viewer is added at the
    /// next refresh.
    pub async fn join(&self, generation: GenerationId) -> Result<ViewerHere, GenerationEnded> {
        let here = Arc::clone(self.0.lock().entry(generation).or_default());
        let mut count = here.0.lock().await;
        let joined = if *count == 0 { self.extend(generation).await } else { None };
        if joined != Some(Joined::Ended) {
            *count += 1;
            return Ok(ViewerHere { viewers: self.clone(), generation });
        }
        drop(count);
        self.0.forget(generation, here);
        Err(GenerationEnded)
    }

    /// Returns whether the generation has a viewer in this process.
    pub async fn is_present(&self, generation: GenerationId) -> bool {
        let here = self.0.lock().get(&generation).cloned();
        match here {
            Some(here) => *here.0.lock().await > 0,
            None => false,
        }
    }

    /// Extends the time of this process at every generation that has a viewer here. Runs until dropped.
    pub async fn refresh(&self) {
        loop {
            sleep(REFRESH).await;
            let present: Vec<_> = self.0.lock().iter().map(|(id, here)| (*id, Arc::clone(here))).collect();
            let extended = present.into_iter().map(|(generation, here)| async move {
                let count = here.0.lock().await;
                if *count > 0 {
                    self.extend(generation).await;
                    return;
                }
                // Left by a viewer that was dropped while it joined.
                drop(count);
                self.0.forget(generation, here);
            });
            futures_util::future::join_all(extended).await;
        }
    }

    /// Tells Redis that this process has a viewer. `None`: Redis does not answer.
    async fn extend(&self, generation: GenerationId) -> Option<Joined> {
        let store = &self.0.store;
        let keys = store.keys.of(generation);
        let call = ScriptCall::new(&script::JOIN, [&keys.head, &keys.viewers])
            .arg(store.client.replica.to_string())
            .millis(VIEWER_LEASE);
        let reply = store.client.connection.call(&call, Patience::For(PATIENCE)).await.ok()?;
        // A log that Redis has lost is made again by its owner.
        Some(if reply.code() == "ended" { Joined::Ended } else { Joined::Present })
    }

    async fn leave(&self, generation: GenerationId) {
        let Some(here) = self.0.lock().get(&generation).cloned() else { return };
        let mut count = here.0.lock().await;
        *count = count.saturating_sub(1);
        if *count > 0 {
            return;
        }
        let store = &self.0.store;
        let keys = store.keys.of(generation);
        let call = ScriptCall::new(&script::LEAVE, [&keys.head, &keys.viewers])
            .arg(generation.to_string())
            .arg(store.client.replica.to_string())
            .arg(store.keys.replicas());
        // If Redis does not answer, the time of this process runs out.
        _ = store.client.connection.call(&call, Patience::For(VIEWER_LEASE)).await;
        drop(count);
        self.0.forget(generation, here);
        if let Some(owned) = self.0.owned.get(generation) {
            owned.viewers_changed.notify_one();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joined {
    Present,
    Ended,
}

impl SharedViewers {
    /// Removes a count that is no longer used. A viewer that joins meanwhile has taken the count from the table.
    fn forget(&self, generation: GenerationId, here: Arc<ViewersHere>) {
        let mut all = self.lock();
        drop(here);
        if all.get(&generation).is_some_and(|here| Arc::strong_count(here) == 1) {
            all.remove(&generation);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lookup<GenerationId, Arc<ViewersHere>>> {
        self.by_generation.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ViewerHere {
    fn drop(&mut self) {
        let (viewers, generation) = (self.viewers.clone(), self.generation);
        let tasks = viewers.0.store.tasks.clone();
        tasks.spawn(async move { viewers.leave(generation).await });
    }
}
