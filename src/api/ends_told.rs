//! Which readers have been told that nothing follows.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::domain::GenerationId;

/// The generations whose end has been told to a repeated POST: the first hears it in a stream, which
/// lets fetch-event-source come to rest; those after it get `204`, at which clients back off that start
/// again without a pause after every stream.
#[derive(Debug, Default)]
pub struct EndsTold(Mutex<VecDeque<GenerationId>>);

/// Beyond this the oldest is forgotten, and its next repeat hears the end in a stream again.
const REMEMBERED: usize = 1024;

impl EndsTold {
    /// Notes that the end is being told; whether it had been.
    pub fn note(&self, generation: GenerationId) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(&generation) {
            return true;
        }
        if told.len() == REMEMBERED {
            told.pop_front();
        }
        told.push_back(generation);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_time_it_has_been_told_until_it_is_forgotten() {
        let told = EndsTold::default();
        let first = GenerationId::random();
        assert!(!told.note(first));
        assert!(told.note(first));
        for _ in 0..REMEMBERED {
            told.note(GenerationId::random());
        }
        assert!(!told.note(first));
        assert_eq!(told.0.lock().expect("a lock").len(), REMEMBERED);
    }
}
