//! The fields added by the service that an upstream is known to refuse.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::request_form::{Concession, Verdict};

/// The known refusals of one upstream, by model. Each expires after an hour; at most [`RefusedFields::MOST`] models are
/// kept.
#[derive(Debug, Default)]
pub struct RefusedFields(Mutex<RefusalsByModel>);

/// For each model, the refused defaults and the time of each refusal.
type RefusalsByModel = BTreeMap<Box<str>, Vec<(Concession, Instant)>>;

/// Refusals expire because an upstream may be updated and then accept the fields.
const LASTS: Duration = Duration::from_hours(1);

impl RefusedFields {
    /// Bounded because callers choose the names of models.
    pub const MOST: usize = 256;

    /// Returns whether the upstream refused this default for the model within the last hour.
    pub fn refuses(&self, model: &str, concession: Concession) -> bool {
        let models = self.lock();
        let refused = models.get(model).into_iter().flatten();
        refused.into_iter().any(|(known, since)| *known == concession && since.elapsed() < LASTS)
    }

    /// Records the verdicts of a successful request.
    pub fn note(&self, model: &str, verdicts: &[(Concession, Verdict)]) {
        if verdicts.is_empty() {
            return;
        }
        let mut models = self.lock();
        let mut refused = models.remove(model).unwrap_or_default();
        for (concession, verdict) in verdicts {
            refused.retain(|(known, _)| known != concession);
            if *verdict == Verdict::Refused {
                refused.push((*concession, Instant::now()));
            }
        }
        if refused.is_empty() {
            return;
        }
        if models.len() >= Self::MOST {
            let newest = |refused: &Vec<(Concession, Instant)>| refused.iter().map(|(_, since)| *since).max();
            let oldest = models.iter().min_by_key(|(_, refused)| newest(refused)).map(|(model, _)| model.clone());
            oldest.and_then(|oldest| models.remove(&oldest));
        }
        models.insert(model.into(), refused);
    }

    fn lock(&self) -> MutexGuard<'_, RefusalsByModel> {
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
        let refused = RefusedFields::default();
        refused.note("m", &REFUSED);
        assert!(!refused.refuses("other", Concession::StreamOptions) && !refused.refuses("m", Concession::Stream));
        advance(LASTS.saturating_sub(Duration::from_millis(1))).await;
        assert!(refused.refuses("m", Concession::StreamOptions));
        advance(Duration::from_millis(1)).await;
        assert!(!refused.refuses("m", Concession::StreamOptions));
    }

    #[tokio::test(start_paused = true)]
    async fn accepted_field_is_no_longer_refused() {
        let refused = RefusedFields::default();
        refused.note("m", &REFUSED);
        refused.note("m", &[(Concession::StreamOptions, Verdict::Accepted)]);
        assert!(!refused.refuses("m", Concession::StreamOptions));
    }

    #[tokio::test(start_paused = true)]
    async fn oldest_refusals_are_evicted() {
        let refused = RefusedFields::default();
        for model in 0..=RefusedFields::MOST {
            refused.note(&model.to_string(), &REFUSED);
            advance(Duration::from_secs(1)).await;
        }
        assert!(!refused.refuses("0", Concession::StreamOptions) && refused.refuses("1", Concession::StreamOptions));
        assert_eq!(refused.lock().len(), RefusedFields::MOST);
    }
}
