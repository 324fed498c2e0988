//! The viewers of a generation, and what happens when the last one disconnects.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::GenerationId;
use crate::event_log::EventLog;

pub use crate::domain::OnDisconnect;

/// The viewers of one generation, in all processes.
///
/// ```text
///            the last leaves              the grace passes
///   followed ───────────────▶ unfollowed ─────────────────▶ shut: no viewer can join
///       ▲                         │
///       └──────── one joins ──────┘
/// ```
///
/// Joining and shutting are decided in one step of the event log: a client that reconnects as the grace ends either
/// becomes a viewer or finds the terminal event in the log.
#[derive(Clone)]
pub struct Audience {
    pub log: Arc<dyn EventLog>,
    pub generation: GenerationId,
    pub on_disconnect: OnDisconnect,
    pub grace: Duration,
    /// Cancelled when viewers are sent to other replicas.
    pub moving: CancellationToken,
}

/// The shortest grace from then on: viewers that are sent to another replica reconnect within it.
const MOVING_TIME: Duration = Duration::from_secs(15);

impl Audience {
    /// Resolves when there has been no viewer for the grace and the generation must end. Never resolves with
    /// [`OnDisconnect::Continue`].
    pub async fn abandoned(&self) {
        match self.on_disconnect {
            OnDisconnect::Cancel => tokio::select! {
                biased;
                () = self.moving.cancelled() => {
                    self.log.shut_when_empty(self.generation, self.grace.max(MOVING_TIME)).await;
                }
                () = self.log.shut_when_empty(self.generation, self.grace) => {}
            },
            OnDisconnect::Continue => std::future::pending().await,
        }
    }
}
