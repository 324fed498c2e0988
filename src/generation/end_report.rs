//! The end of a generation, for operators.

use std::time::Duration;

use super::attempt_failure::labels;
use super::attempts::Attempts;
use super::ending::Ending;
use super::subject::Subject;
use crate::domain::{FailureCode, Timings, TokenSource, Usage};
use crate::telemetry::{GenerationEnd, Metrics};
use crate::upstream::Billed;

/// How a generation ended, for its log line and the metrics.
pub struct EndReport<'a> {
    pub subject: &'a Subject,
    pub attempts: &'a Attempts,
    pub ending: &'a Ending,
    pub usage: Usage,
    pub timings: Timings,
}

impl EndReport<'_> {
    /// Writes one log line and updates the metrics.
    pub fn write(&self, metrics: &Metrics) {
        let Self { subject, attempts, ending, usage, timings } = *self;
        let outcome = ending.outcome();
        let Subject { request_id, principal, model, output_limit, .. } = subject;
        let target = attempts.target();
        let error_type = ending.code().map(FailureCode::name);
        let counted = Some(usage).filter(|_| attempts.billed() == Billed::Maybe);
        let end = GenerationEnd { outcome, error_type, usage: counted, timings, output_limit: *output_limit };
        metrics.generation_ended(labels(&target), &end);
        // The ledger counts what attempts cost.
        if counted.is_some_and(|usage| usage.cost.is_none()) {
            metrics.unpriced(labels(&attempts.charged_target()));
        }
        // The request's id and not the generation's: without authentication the latter is a capability.
        tracing::info!(
            request_id = %request_id,
            principal = principal.qualified_name().as_deref(),
            model,
            upstream = &*target.upstream().name,
            attempts = attempts.count(),
            outcome = outcome.name(),
            code = error_type,
            input_tokens = counted.map(|usage| usage.input_tokens),
            output_tokens = counted.and_then(|usage| usage.output_tokens),
            estimated = counted.map(|usage| usage.source == TokenSource::Estimated),
            cost = counted.and_then(|usage| usage.cost).map(tracing::field::display),
            first_token_ms = timings.first_token.map(millis),
            total_ms = millis(timings.total),
            "generation ended"
        );
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
