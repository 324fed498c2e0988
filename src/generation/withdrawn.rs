//! Attempts whose answers were withdrawn for those of others.

use std::sync::Arc;

use futures_util::future::join_all;

use super::answer_text::AnswerText;
use crate::domain::{Usage, UsageReport};
use crate::telemetry::Outcome;
use crate::upstream::Target;
use crate::usage::{AttemptRole, AttemptUsage, OpenAttempt};

/// An attempt whose answer was withdrawn. Its tokens are counted when the generation ends.
#[derive(Debug)]
pub struct WithdrawnAttempt {
    pub target: Target,
    /// What the upstream had reported when its answer broke.
    pub reported: UsageReport,
    pub entry: Arc<OpenAttempt>,
    /// The least that is charged: what was reserved, if the upstream goes on with an answer whose call was closed.
    pub least: Option<Usage>,
}

/// Settles withdrawn attempts in the ledger, by their texts in the same order. The log may have earlier texts, of
/// another process. `count` estimates the tokens of one text; without a text an attempt is charged as it was reserved.
pub async fn settle_withdrawn<C: Future<Output = Usage>>(
    attempts: Vec<WithdrawnAttempt>,
    mut texts: Vec<AnswerText>,
    count: impl Fn(Target, AnswerText) -> C,
) {
    let settling = attempts.into_iter().rev().map(|WithdrawnAttempt { target, reported, entry, least }| {
        let counting = texts.pop().map(|text| count(target, text));
        async move {
            let usage = match (reported.complete(), counting) {
                (Some(usage), _) => AttemptUsage::Known(usage),
                (None, Some(counting)) => AttemptUsage::Known(reported.completed_by(counting.await)),
                (None, None) => AttemptUsage::AsReserved,
            };
            let usage = least.map_or(usage, |least| usage.at_least(&least));
            entry.settle(Outcome::Failed, AttemptRole::Withdrawn, usage);
        }
    });
    join_all(settling.collect::<Vec<_>>()).await;
}
