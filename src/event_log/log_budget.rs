//! What one log in memory needs of all logs together.

use crate::domain::{GenerationId, Usage};

/// The limits that a log's appends count against (contract 6).
pub trait LogBudget: Send + Sync {
    /// Returns the bytes that one log may take, without its terminal event.
    fn most_of_one_log(&self) -> usize;

    /// Counts `bytes` for the log, if there is room or can be made.
    fn charge(&self, generation: GenerationId, bytes: usize) -> bool;

    /// Counts the log's terminal event, and begins its retention.
    fn close(&self, generation: GenerationId, bytes: usize, usage: Option<Usage>);
}
