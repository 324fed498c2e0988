//! The end of a chat's answer, when a viewer has it.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::domain::{ChatKey, Start};
use crate::event_log::EventLog;

/// Closes a chat when a viewer was sent the end of its answer.
#[derive(Clone)]
pub struct ChatEnd {
    pub log: Arc<dyn EventLog>,
    pub tasks: TaskTracker,
    pub start: Arc<Start>,
    pub chat: ChatKey,
}

impl ChatEnd {
    /// Closes the chat, without waiting.
    pub fn close(self) {
        let Self { log, tasks, start, chat } = self;
        tasks.spawn(async move { _ = log.close_chat(&start.owner, chat, start.generation).await });
    }
}
