//! The logs that a read of this process has found without an owner, and that may be taken over.

use tokio::sync::{Mutex, mpsc};

use crate::domain::GenerationId;

/// A queue of ids. A log that finds it full is found again by the next read.
#[derive(Debug)]
pub struct Orphans {
    sender: mpsc::Sender<GenerationId>,
    receiver: Mutex<mpsc::Receiver<GenerationId>>,
}

/// The number of logs that may wait to be taken over.
const MOST_WAITING: usize = 1024;

impl Default for Orphans {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        Self { sender, receiver: Mutex::new(receiver) }
    }
}

impl Orphans {
    pub fn report(&self, generation: GenerationId) {
        _ = self.sender.try_send(generation);
    }

    /// Returns the next log. It may have an owner again.
    pub async fn next(&self) -> GenerationId {
        match self.receiver.lock().await.recv().await {
            Some(generation) => generation,
            // Cannot happen: the sender is kept beside the receiver.
            None => std::future::pending().await,
        }
    }
}
