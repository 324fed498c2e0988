//! Remembers for which generations a repeated POST has received the end.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::domain::GenerationId;

/// The generations whose end was sent in response to a POST with the id of the terminal event. The first such POST
/// receives the end in a stream, which makes fetch-event-source stop. Later ones receive `204`, which makes clients
/// back off that otherwise reconnect without a delay after every stream.
#[derive(Debug, Default)]
pub struct DeliveredEnds(Mutex<VecDeque<GenerationId>>);

/// The most generations that are remembered. Beyond it the oldest is removed, and its next POST receives a stream
/// again.
const REMEMBERED: usize = 1024;

impl DeliveredEnds {
    /// Records that the end is sent. Returns whether it had been sent before.
    pub fn note(&self, generation: GenerationId) -> bool {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.contains(&generation) {
            return true;
        }
        if noted.len() == REMEMBERED {
            noted.pop_front();
        }
        noted.push_back(generation);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_note_returns_true_until_the_generation_is_evicted() {
        let ends = DeliveredEnds::default();
        let first = GenerationId::random();
        assert!(!ends.note(first));
        assert!(ends.note(first));
        for _ in 0..REMEMBERED {
            ends.note(GenerationId::random());
        }
        assert!(!ends.note(first));
        assert_eq!(ends.0.lock().expect("a lock").len(), REMEMBERED);
    }
}
