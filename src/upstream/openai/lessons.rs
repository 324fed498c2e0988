//! What an upstream is known to refuse of what we add.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::request_form::{Concession, Verdict};

/// What one upstream refuses, by model. Each lesson lasts for an hour; of the models [`Lessons::MOST`] are kept.
#[derive(Debug, Default)]
pub struct Lessons(Mutex<Models>);

/// Of each model, what its upstream refused, and when that was learned.
type Models = BTreeMap<Box<str>, Vec<(Concession, Instant)>>;

/// An upstream may be updated; then what we add works again.
const LASTS: Duration = Duration::from_hours(1);

impl Lessons {
    /// Callers choose the names of models.
    pub const MOST: usize = 256;

    /// Whether this model's upstream refused it within the last hour.
    pub fn refuses(&self, model: &str, concession: Concession) -> bool {
        let models = self.lock();
        let lessons = models.get(model).into_iter().flatten();
        lessons.into_iter().any(|(known, since)| *known == concession && since.elapsed() < LASTS)
    }

    /// Notes what a successful request has shown.
    pub fn note(&self, model: &str, verdicts: &[(Concession, Verdict)]) {
        if verdicts.is_empty() {
            return;
        }
        let mut models = self.lock();
        let mut lessons = models.remove(model).unwrap_or_default();
        for (concession, verdict) in verdicts {
            lessons.retain(|(known, _)| known != concession);
            if *verdict == Verdict::Refused {
                lessons.push((*concession, Instant::now()));
            }
        }
        if lessons.is_empty() {
            return;
        }
        if models.len() >= Self::MOST {
            let newest = |lessons: &Vec<(Concession, Instant)>| lessons.iter().map(|(_, since)| *since).max();
            let oldest = models.iter().min_by_key(|(_, lessons)| newest(lessons)).map(|(model, _)| model.clone());
            oldest.and_then(|oldest| models.remove(&oldest));
        }
        models.insert(model.into(), lessons);
    }

    fn lock(&self) -> MutexGuard<'_, Models> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const REFUSED: [(Concession, Verdict); 1] = [(Concession::StreamOptions, Verdict::Refused)];

    #[tokio::test(start_paused = true)]
    async fn a_lesson_is_of_one_model_and_lasts_for_an_hour() {
        let lessons = Lessons::default();
        lessons.note("m", &REFUSED);
        assert!(!lessons.refuses("other", Concession::StreamOptions) && !lessons.refuses("m", Concession::Stream));
        advance(LASTS.saturating_sub(Duration::from_millis(1))).await;
        assert!(lessons.refuses("m", Concession::StreamOptions));
        advance(Duration::from_millis(1)).await;
        assert!(!lessons.refuses("m", Concession::StreamOptions));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_accepted_again_is_forgotten() {
        let lessons = Lessons::default();
        lessons.note("m", &REFUSED);
        lessons.note("m", &[(Concession::StreamOptions, Verdict::Accepted)]);
        assert!(!lessons.refuses("m", Concession::StreamOptions));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_lessons_make_room() {
        let lessons = Lessons::default();
        for model in 0..=Lessons::MOST {
            lessons.note(&model.to_string(), &REFUSED);
            advance(Duration::from_secs(1)).await;
        }
        assert!(!lessons.refuses("0", Concession::StreamOptions) && lessons.refuses("1", Concession::StreamOptions));
        assert_eq!(lessons.lock().len(), Lessons::MOST);
    }
}
