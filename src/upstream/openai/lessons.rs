//! The fields added by the service that an upstream is known to refuse.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::request_form::{Concession, Verdict};

/// The known refusals of one upstream, by model. Each expires after an hour; at most [`Lessons::MOST`] models are kept.
#[derive(Debug, Default)]
pub struct Lessons(Mutex<LessonsByModel>);

/// For each model, the refused defaults and the time of each refusal.
type LessonsByModel = BTreeMap<Box<str>, Vec<(Concession, Instant)>>;

/// Refusals expire because an upstream may be updated and then accept the fields.
const LASTS: Duration = Duration::from_hours(1);

impl Lessons {
    /// Bounded because callers choose the names of models.
    pub const MOST: usize = 256;

    /// Returns whether the upstream refused this default for the model within the last hour.
    pub fn refuses(&self, model: &str, concession: Concession) -> bool {
        let models = self.lock();
        let lessons = models.get(model).into_iter().flatten();
        lessons.into_iter().any(|(known, since)| *known == concession && since.elapsed() < LASTS)
    }

    /// Records the verdicts of a successful request.
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

    fn lock(&self) -> MutexGuard<'_, LessonsByModel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const REFUSED: [(Concession, Verdict); 1] = [(Concession::StreamOptions, Verdict::Refused)];

    #[tokio::test(start_paused = true)]
    async fn refusal_applies_to_one_model_and_expires_after_an_hour() {
        let lessons = Lessons::default();
        lessons.note("m", &REFUSED);
        assert!(!lessons.refuses("other", Concession::StreamOptions) && !lessons.refuses("m", Concession::Stream));
        advance(LASTS.saturating_sub(Duration::from_millis(1))).await;
        assert!(lessons.refuses("m", Concession::StreamOptions));
        advance(Duration::from_millis(1)).await;
        assert!(!lessons.refuses("m", Concession::StreamOptions));
    }

    #[tokio::test(start_paused = true)]
    async fn accepted_field_is_no_longer_refused() {
        let lessons = Lessons::default();
        lessons.note("m", &REFUSED);
        lessons.note("m", &[(Concession::StreamOptions, Verdict::Accepted)]);
        assert!(!lessons.refuses("m", Concession::StreamOptions));
    }

    #[tokio::test(start_paused = true)]
    async fn oldest_refusals_are_evicted() {
        let lessons = Lessons::default();
        for model in 0..=Lessons::MOST {
            lessons.note(&model.to_string(), &REFUSED);
            advance(Duration::from_secs(1)).await;
        }
        assert!(!lessons.refuses("0", Concession::StreamOptions) && lessons.refuses("1", Concession::StreamOptions));
        assert_eq!(lessons.lock().len(), Lessons::MOST);
    }
}
