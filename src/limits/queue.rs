//! The state of a generation that waits for a slot.

use std::time::Duration;

/// The state of a queued generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueState {
    Waiting(QueuePosition),
    Granted,
    /// A generation of an account with fewer queued generations has taken its queue position.
    Displaced,
}

/// The result of a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitOutcome {
    Granted,
    Displaced,
}

/// The queue position of a generation and its estimated wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueuePosition {
    /// 1 is next.
    pub position: u32,
    /// Estimated from the mean time for which recent slots were held. `None` until a slot has been released.
    pub eta: Option<Duration>,
}
