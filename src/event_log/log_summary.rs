//! A log without its answer.

use std::sync::Arc;

use super::{GenerationLog, TailState, read_page};
use crate::domain::{Event, Sequence, Start};

/// The start and the end of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSummary {
    pub start: Arc<Start>,
    /// The position of the last entry.
    pub last: Sequence,
    /// The terminal event; `None` while the log is open.
    pub end: Option<Event>,
}

impl LogSummary {
    /// Reads the end of a log. `None` if it is lost.
    pub async fn of(log: &dyn GenerationLog) -> Option<Self> {
        let tail = log.tail().await.ok()?;
        let end = match tail.state {
            TailState::Open => None,
            TailState::Closed => Some(read_page(log, tail.sequence.before()).await.ok()?.entries.pop()?.event),
        };
        Some(Self { start: Arc::clone(log.start()), last: tail.sequence, end })
    }
}
