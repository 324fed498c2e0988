//! Reservations whose calls Redis has not answered, and which it may have carried out all the same.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::redis_client::{CommandConnection, Patience, ScriptCall};

/// Calls that undo reservations once Redis answers again.
#[derive(Default)]
pub struct UnansweredCalls {
    waiting: Mutex<VecDeque<UnansweredCall>>,
    added: Notify,
}

struct UnansweredCall {
    since: Instant,
    undoing: Vec<ScriptCall>,
}

/// After this time, the rates have been refilled and the slots have expired.
const UNDO_TIME: Duration = Duration::from_mins(1);
/// Above this number, the oldest is left to expire.
const MOST: usize = 10_000;
/// Calls that are undone at the same time.
const AT_ONCE: usize = 64;

impl UnansweredCalls {
    pub fn add(&self, undoing: Vec<ScriptCall>) {
        let mut waiting = self.lock();
        if waiting.len() >= MOST {
            waiting.pop_front();
        }
        waiting.push_back(UnansweredCall { since: Instant::now(), undoing });
        self.added.notify_one();
    }

    /// Undoes the reservations. Runs until dropped.
    pub async fn undo(&self, connection: &CommandConnection) {
        loop {
            let batch: Vec<_> = {
                let mut waiting = self.lock();
                let most = waiting.len().min(AT_ONCE);
                waiting.drain(..most).collect()
            };
            if batch.is_empty() {
                self.added.notified().await;
                continue;
            }
            join_all(batch.into_iter().map(|UnansweredCall { since, undoing }| async move {
                for call in undoing {
                    let patience = UNDO_TIME.saturating_sub(since.elapsed());
                    _ = connection.call(&call, Patience::For(patience)).await;
                }
            }))
            .await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<UnansweredCall>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
