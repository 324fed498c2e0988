//! The attempts of one generation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::attempt_failure::{AttemptFailure, AttemptPlace, UpstreamMessages, labels, log_failure};
use super::tokens::guess_prompt;
use super::withdrawn::WithdrawnAttempt;
use crate::domain::{CancelBills, FailureCode, Principal, Prompt, RequestId, Usage, UsageReport, Usd};
use crate::telemetry::{Metrics, Outcome};
use crate::upstream::{
    AttemptError, AttemptNumber, AttemptObserver, AttemptReason, Billed, Delivery, SentMark, Target,
};
use crate::usage::{AttemptRole, AttemptSubject, AttemptUsage, Ledger, OpenAttempt};

/// Records the attempts of one generation, in its log lines, its metrics and for its ending.
///
/// Each attempt is counted once, when it ends. If it is still open when this is dropped, it is counted as cancelled.
#[derive(Debug)]
pub struct Attempts {
    context: AttemptContext,
    /// The first target of the plan.
    planned: Target,
    /// In order. Two can be open: an attempt and its hedge.
    made: Mutex<Vec<Attempt>>,
    metrics: Arc<Metrics>,
}

/// The request that the attempts are made for.
#[derive(Debug)]
pub struct AttemptContext {
    pub request_id: RequestId,
    /// The requested model.
    pub model: String,
    pub prompt: Arc<Prompt>,
    pub messages: UpstreamMessages,
    pub principal: Principal,
    /// The tokens that are reserved for each attempt.
    pub reserved: Usage,
    /// What another process had reserved of a budget for its own attempts, which may all be billed, and whose answer stands
    /// until one of these begins. `None`: there is no such process.
    pub earlier: Option<Usd>,
    pub ledger: Ledger,
}

/// One attempt at a target.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub number: AttemptNumber,
    pub target: Target,
    pub began: Instant,
    sent: SentMark,
    entry: Arc<OpenAttempt>,
    answer: AnswerFate,
    /// `None` while it is open.
    pub end: Option<AttemptEnd>,
}

/// What became of the answer of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AnswerFate {
    /// It has not begun.
    None,
    /// It is that of the generation.
    Standing,
    /// Another one replaced it; with what the upstream had reported.
    Withdrawn(UsageReport),
}

/// Whether an answer replaces another one of the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    First,
    InPlaceOfAnother,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptEnd {
    pub took: Duration,
    pub outcome: Outcome,
    /// The API's error code of its failure.
    pub code: Option<FailureCode>,
    pub billed: Billed,
    pub role: AttemptRole,
}

/// How an attempt ends, as the caller knows it.
struct EndedAs {
    outcome: Outcome,
    code: Option<FailureCode>,
    role: AttemptRole,
}

impl Attempts {
    pub fn new(context: AttemptContext, planned: Target, metrics: Arc<Metrics>) -> Self {
        Self { context, planned, made: Mutex::default(), metrics }
    }

    /// Returns the target of the current attempt, or the one that the first attempt will have.
    pub fn target(&self) -> Target {
        current(&self.lock()).map_or_else(|| self.planned.clone(), |attempt| attempt.target.clone())
    }

    /// Returns the target that usage and cost are of: of the answer that stands, else of the current attempt if it may be
    /// billed, else of the last one that may be.
    pub fn charged_target(&self) -> Target {
        self.charged().map_or_else(|| self.planned.clone(), |attempt| attempt.target)
    }

    /// Returns the attempt that usage and cost are of.
    fn charged(&self) -> Option<Attempt> {
        let attempts = self.lock();
        if self.is_answered_by_another(&attempts) {
            return None;
        }
        let may_be_billed = |attempt: &&Attempt| attempt.billed() == Billed::Maybe;
        let current = current(&attempts);
        let own = standing(&attempts).or(current.filter(may_be_billed));
        let charged = own.or_else(|| attempts.iter().rfind(may_be_billed)).or(current);
        charged.cloned()
    }

    /// Returns whether an attempt may cost something, also one of another process.
    pub fn billed(&self) -> Billed {
        let may_be_billed =
            self.context.earlier.is_some() || self.lock().iter().any(|attempt| attempt.billed() == Billed::Maybe);
        if may_be_billed { Billed::Maybe } else { Billed::No }
    }

    /// Returns the delivery that the current attempt asked for.
    pub fn delivery(&self) -> Delivery {
        current(&self.lock()).map(|attempt| attempt.sent.delivery()).unwrap_or_default()
    }

    /// Returns what the tokens cost at the target that is charged for them, as the ledger has it; `None` if that is
    /// unknown.
    pub fn cost(&self, usage: &Usage) -> Option<Usd> {
        let charged = self.charged();
        let target = charged.as_ref().map_or(&self.planned, |attempt| &attempt.target);
        let is_known = usage.output_tokens.is_some();
        let reserved = &self.context.reserved;
        let usage = match charged.as_ref().map(|attempt| attempt.charge(AttemptUsage::Known(*usage), reserved)) {
            Some(AttemptUsage::AsReserved) if is_known => reserved,
            _ => usage,
        };
        self.context.ledger.cost(&target.upstream().name, target.model(), usage)
    }

    /// Returns whether the answer that stands is that of an attempt of another process.
    fn is_answered_by_another(&self, made: &[Attempt]) -> bool {
        self.context.earlier.is_some() && standing(made).is_none()
    }

    /// Returns what all attempts cost, and an open one or those of another process at their reservation; `None` if one of
    /// them is unknown.
    pub fn spent(&self) -> Option<Usd> {
        let earlier = self.context.earlier.unwrap_or_default();
        self.lock().iter().try_fold(earlier, |sum, attempt| Some(sum.plus(attempt.entry.charge()?)))
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Records that the answer of the open attempt is that of the generation from now on. The one before is withdrawn, if
    /// there is one; the upstream had reported `reported` of it.
    pub fn commit(&self, reported: UsageReport) -> Committed {
        let mut attempts = self.lock();
        let before = attempts.iter_mut().find(|attempt| attempt.answer == AnswerFate::Standing);
        let committed = if let Some(before) = before {
            before.answer = AnswerFate::Withdrawn(reported);
            Committed::InPlaceOfAnother
        } else {
            Committed::First
        };
        if let Some(open) = attempts.iter_mut().rfind(|attempt| attempt.end.is_none()) {
            open.answer = AnswerFate::Standing;
        }
        committed
    }

    /// Undoes the last commit: the answer before it stands, if there was one.
    pub fn undo_commit(&self) {
        let mut attempts = self.lock();
        if let Some(undone) = attempts.iter_mut().find(|attempt| attempt.answer == AnswerFate::Standing) {
            undone.answer = AnswerFate::None;
        }
        if let Some(before) = attempts.iter_mut().rfind(|attempt| attempt.is_withdrawn()) {
            before.answer = AnswerFate::Standing;
        }
    }

    /// Returns the attempts whose answers were withdrawn, in order.
    pub fn withdrawn(&self) -> Vec<WithdrawnAttempt> {
        let attempts = self.lock();
        let withdrawn = attempts.iter().filter_map(|attempt| match attempt.answer {
            AnswerFate::Withdrawn(reported) => Some(WithdrawnAttempt {
                target: attempt.target.clone(),
                reported,
                entry: Arc::clone(&attempt.entry),
                least: attempt.may_go_on().then_some(self.context.reserved),
            }),
            AnswerFate::None | AnswerFate::Standing => None,
        });
        withdrawn.collect()
    }

    pub fn has_withdrawn(&self) -> bool {
        self.lock().iter().any(Attempt::is_withdrawn)
    }

    /// Records that the current attempt failed, unless it has already ended, and classifies its error.
    pub fn failed(&self, error: &AttemptError) -> AttemptFailure {
        let number = current(&self.lock()).map(|attempt| attempt.number);
        self.attempt_failed_as(number, error)
    }

    fn attempt_failed_as(&self, number: Option<AttemptNumber>, error: &AttemptError) -> AttemptFailure {
        let failure = AttemptFailure::of(error);
        let end = EndedAs { outcome: Outcome::Failed, code: Some(failure.code), role: AttemptRole::Failed };
        if let Some(Attempt { number, target, .. }) =
            number.and_then(|number| self.end_attempt(number, end, |_| error.billed()))
        {
            let AttemptContext { request_id, model, prompt, messages, .. } = &self.context;
            let place = AttemptPlace { request_id: *request_id, number, target: &target, model, prompt: &prompt.text };
            log_failure(place, error, failure.code, *messages);
        }
        failure
    }

    /// Records how the current attempt ended, unless it has already ended, and that its hedge is no longer wanted.
    pub fn end(&self, outcome: Outcome, code: Option<FailureCode>) {
        let open: Vec<_> = self.lock().iter().filter(|made| made.end.is_none()).map(|made| made.number).collect();
        let Some((current, hedges)) = open.split_first() else { return };
        let role = if outcome == Outcome::Failed { AttemptRole::Failed } else { AttemptRole::Winner };
        self.end_attempt(*current, EndedAs { outcome, code, role }, Attempt::billed);
        for hedge in hedges {
            self.attempt_replaced(*hedge);
        }
    }

    /// Settles the attempts that have ended in the ledger, except those that were withdrawn. `usage` is that of the
    /// current one, whose answer is the generation's; each is settled once.
    pub fn settle(&self, usage: AttemptUsage) {
        let made = self.lock().clone();
        if self.is_answered_by_another(&made) {
            return self.settle_without_answer(made.iter());
        }
        let Some(current) = current(&made) else { return };
        self.settle_without_answer(made.iter().filter(|attempt| attempt.number != current.number));
        let Some(end) = current.end else { return };
        let charge = current.charge(usage, &self.context.reserved);
        let usage = if end.billed == Billed::No { AttemptUsage::Unbilled } else { charge };
        current.entry.settle(end.outcome, end.role, usage);
    }

    /// Settles attempts whose answers never began, so that the upstream may charge for the prompt.
    fn settle_without_answer<'a>(&self, attempts: impl Iterator<Item = &'a Attempt>) {
        for attempt in attempts.filter(|attempt| attempt.answer == AnswerFate::None) {
            let Some(AttemptEnd { outcome, billed, role, .. }) = attempt.end else { continue };
            let input_tokens = guess_prompt(&self.context.prompt);
            let prompt = Usage { input_tokens, output_tokens: Some(0), ..Usage::default() };
            let usage = match billed {
                Billed::No => AttemptUsage::Unbilled,
                Billed::Maybe => attempt.charge(AttemptUsage::Known(prompt), &self.context.reserved),
            };
            // Cancelled, while the answer of another one stands.
            let role = if role == AttemptRole::Winner { AttemptRole::Failed } else { role };
            attempt.entry.settle(outcome, role, usage);
        }
    }

    /// Ends an attempt and returns it; `None` if it has already ended.
    fn end_attempt(
        &self,
        number: AttemptNumber,
        EndedAs { outcome, code, role }: EndedAs,
        billed: impl FnOnce(&Attempt) -> Billed,
    ) -> Option<Attempt> {
        let (attempt, end) = {
            let mut attempts = self.lock();
            let mut open = attempts.iter_mut().filter(|attempt| attempt.end.is_none());
            let attempt = open.find(|attempt| attempt.number == number)?;
            let end = AttemptEnd { took: attempt.began.elapsed(), outcome, code, billed: billed(attempt), role };
            attempt.end = Some(end);
            (attempt.clone(), end)
        };
        let error_type = end.code.map(FailureCode::name);
        self.metrics.attempt_ended(labels(&attempt.target), end.outcome, error_type, end.took);
        Some(attempt)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Attempt>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AttemptObserver for Attempts {
    fn attempt_began(&self, number: AttemptNumber, target: &Target, sent: &SentMark, reason: AttemptReason) {
        if reason != AttemptReason::First {
            self.metrics.attempt_repeated(labels(target), reason.name());
        }
        let AttemptContext { principal, model, reserved, ledger, .. } = &self.context;
        let entry = ledger.begin(AttemptSubject {
            principal: principal.clone(),
            model: model.as_str().into(),
            upstream: (*target.upstream().name).into(),
            target: Arc::clone(target.model()),
            reserved: *reserved,
        });
        let mut attempts = self.lock();
        self.settle_without_answer(attempts.iter());
        let attempt = Attempt {
            number,
            target: target.clone(),
            began: Instant::now(),
            sent: sent.clone(),
            entry: Arc::new(entry),
            answer: AnswerFate::None,
            end: None,
        };
        attempts.push(attempt);
    }

    fn attempt_failed(&self, number: AttemptNumber, error: &AttemptError) {
        self.attempt_failed_as(Some(number), error);
    }

    fn attempt_replaced(&self, number: AttemptNumber) {
        let end = EndedAs { outcome: Outcome::Cancelled, code: None, role: AttemptRole::Hedged };
        self.end_attempt(number, end, Attempt::billed);
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled, None);
    }
}

impl Attempt {
    /// Returns whether the upstream may charge for it, as far as is known.
    pub fn billed(&self) -> Billed {
        self.end.map_or_else(|| self.sent.get().into(), |end| end.billed)
    }

    const fn is_withdrawn(&self) -> bool {
        matches!(self.answer, AnswerFate::Withdrawn(_))
    }

    /// Returns what the attempt is charged if it has used this much.
    fn charge(&self, usage: AttemptUsage, reserved: &Usage) -> AttemptUsage {
        if self.may_go_on() { usage.at_least(reserved) } else { usage }
    }

    /// Returns whether the upstream goes on with an answer whose call was closed here, and bills all of it.
    fn may_go_on(&self) -> bool {
        self.target.server().terms().cancel_bills == CancelBills::All
            && self.end.is_some_and(|end| end.was_closed_here())
    }
}

impl AttemptEnd {
    /// Returns whether this service closed the connection before the answer was complete, so that the upstream may go on
    /// with it.
    const fn was_closed_here(&self) -> bool {
        match (self.outcome, self.code) {
            (Outcome::Cancelled, _) => true,
            (Outcome::Failed, Some(code)) => matches!(
                code,
                FailureCode::UpstreamTimeout
                    | FailureCode::UpstreamMalformed
                    | FailureCode::DeadlineExceeded
                    | FailureCode::TooLarge
                    | FailureCode::Overloaded
                    | FailureCode::ShuttingDown
                    | FailureCode::ReplicaLost
                    | FailureCode::Internal
            ),
            (Outcome::Done | Outcome::Failed, _) => false,
        }
    }
}

/// Returns the attempt whose answer is the generation's, as far as is known: the one whose answer stands, else the first
/// that is open, else the last one that was not replaced.
fn current(attempts: &[Attempt]) -> Option<&Attempt> {
    let is_winner = |attempt: &&Attempt| attempt.end.is_some_and(|end| end.role == AttemptRole::Winner);
    let open = || attempts.iter().find(|attempt| attempt.end.is_none());
    standing(attempts).or_else(open).or_else(|| attempts.iter().rfind(is_winner)).or(attempts.last())
}

/// Returns the attempt whose answer is that of the generation.
fn standing(attempts: &[Attempt]) -> Option<&Attempt> {
    attempts.iter().find(|attempt| attempt.answer == AnswerFate::Standing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TokenSource;
    use crate::generation::answer_text::AnswerText;
    use crate::generation::withdrawn::settle_withdrawn;
    use crate::upstream::{AttemptErrorKind, Phase, RetryTerms, ScriptedProvider, Sent, UpstreamServer};
    use crate::usage::{UsageDimension, UsageQuery, UsageRow};

    fn target(upstream: &str) -> Target {
        Target::single(ScriptedProvider::new(upstream, []), "m")
    }

    fn attempts(metrics: &Arc<Metrics>) -> Attempts {
        Attempts::new(context(Usage::default()), target("a"), Arc::clone(metrics))
    }

    fn context(reserved: Usage) -> AttemptContext {
        AttemptContext {
            request_id: RequestId::random(),
            model: "m".into(),
            prompt: Arc::default(),
            messages: UpstreamMessages::Log,
            principal: Principal::Anonymous,
            reserved,
            earlier: None,
            ledger: Ledger::default(),
        }
    }

    fn refused() -> AttemptError {
        AttemptError::in_response(AttemptErrorKind::Refused { status: 503, retry_after: None, report: None })
    }

    fn disconnected() -> AttemptError {
        AttemptError::new(AttemptErrorKind::Disconnected { cause: "connection reset".into() }, Sent::Maybe)
    }

    /// Returns the lines of the counter of attempts.
    fn counted(metrics: &Metrics) -> Vec<String> {
        let (_, text) = metrics.render();
        let name = "tokenrill_upstream_attempts_total";
        let mut lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(name)).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Begins an attempt with this number.
    fn begin(attempts: &Attempts, number: usize, upstream: &str) -> SentMark {
        let sent = SentMark::default();
        attempts.attempt_began(AttemptNumber::new(number), &target(upstream), &sent, AttemptReason::First);
        sent
    }

    #[test]
    fn each_attempt_is_counted_once_when_it_ends_with_its_own_target() {
        let metrics = Metrics::new();
        let attempts = attempts(&metrics);
        assert_eq!((attempts.target(), attempts.count()), (target("a"), 0));
        begin(&attempts, 1, "a");
        assert_eq!(counted(&metrics), Vec::<String>::new());
        assert_eq!(attempts.failed(&refused()).code, FailureCode::UpstreamOverloaded);
        // The failure that no attempt follows is reported by the loop and by the generation's task.
        attempts.failed(&refused());
        begin(&attempts, 2, "b");
        attempts.end(Outcome::Done, None);
        attempts.end(Outcome::Cancelled, None);
        assert_eq!((attempts.target(), attempts.count()), (target("b"), 2));
        drop(attempts);
        let expected = [
            r#"{upstream="a",model="other",outcome="failed",error_type="upstream_overloaded"} 1"#,
            r#"{upstream="b",model="m",outcome="done",error_type=""} 1"#,
        ];
        assert_eq!(counted(&metrics), expected);
    }

    #[test]
    fn attempt_that_is_open_when_the_generation_is_dropped_is_counted_as_cancelled() {
        let metrics = Metrics::new();
        let attempts = attempts(&metrics);
        begin(&attempts, 1, "a");
        drop(attempts);
        let expected = [r#"{upstream="a",model="other",outcome="cancelled",error_type=""} 1"#];
        assert_eq!(counted(&metrics), expected);
    }

    #[test]
    fn generation_is_billed_if_one_of_its_attempts_may_be() {
        let attempts = attempts(&Metrics::new());
        assert_eq!(attempts.billed(), Billed::No, "before the first attempt");
        let sent = begin(&attempts, 1, "a");
        assert_eq!(attempts.billed(), Billed::No, "nothing was sent");
        sent.set();
        assert_eq!(attempts.billed(), Billed::Maybe);
        attempts.failed(&refused());
        assert_eq!(attempts.billed(), Billed::No, "a refusal is not billed");
        begin(&attempts, 2, "b").set();
        attempts.failed(&disconnected());
        begin(&attempts, 3, "c").of_request(Delivery::Whole).set();
        assert_eq!(attempts.delivery(), Delivery::Whole);
        attempts.failed(&refused());
        assert_eq!(attempts.billed(), Billed::Maybe, "the second attempt may have been billed");
        let numbers: Vec<_> = attempts.lock().iter().map(|attempt| (attempt.number.get(), attempt.billed())).collect();
        assert_eq!(numbers, [(1, Billed::No), (2, Billed::Maybe), (3, Billed::No)]);
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_records_how_long_it_took() {
        let attempts = attempts(&Metrics::new());
        begin(&attempts, 1, "a");
        tokio::time::advance(Duration::from_secs(3)).await;
        attempts.end(Outcome::Failed, Some(FailureCode::DeadlineExceeded));
        tokio::time::advance(Duration::from_secs(3)).await;
        let end = AttemptEnd {
            took: Duration::from_secs(3),
            outcome: Outcome::Failed,
            code: Some(FailureCode::DeadlineExceeded),
            billed: Billed::No,
            role: AttemptRole::Failed,
        };
        assert_eq!(attempts.lock().last().and_then(|attempt| attempt.end), Some(end));
    }

    /// Returns for each upstream: its name, the attempts that were done, cancelled and failed, the input tokens, and the
    /// attempts whose tokens were estimated.
    fn rows(attempts: &Attempts) -> Vec<(String, [u64; 3], u64, u64)> {
        let by = vec![UsageDimension::Upstream];
        let rows = attempts.context.ledger.rows(&UsageQuery { by, ..UsageQuery::default() });
        let row = |row: UsageRow| {
            let totals = row.totals;
            let outcomes = [totals.done, totals.cancelled, totals.failed];
            (row.upstream.expect("a name").to_string(), outcomes, totals.input_tokens, totals.estimated)
        };
        rows.into_iter().map(row).collect()
    }

    #[tokio::test]
    async fn withdrawn_attempt_is_settled_by_its_own_text_and_the_answer_that_stands_by_the_usage() {
        let attempts = attempts(&Metrics::new());
        for (number, upstream, committed) in [(1, "a", Committed::First), (2, "b", Committed::InPlaceOfAnother)] {
            begin(&attempts, number, upstream).set();
            assert_eq!(attempts.commit(UsageReport { input_tokens: Some(5), ..UsageReport::default() }), committed);
            attempts.failed(&disconnected());
        }
        // A third target refuses, so that the second answer stands.
        begin(&attempts, 3, "c").set();
        attempts.attempt_failed(AttemptNumber::new(3), &refused());
        assert_eq!((attempts.target(), attempts.charged_target()), (target("b"), target("b")));
        let count = |target: Target, _| async move {
            assert_eq!(*target.upstream().name, *"a");
            Usage { input_tokens: 1, output_tokens: Some(9), ..Usage::default() }
        };
        settle_withdrawn(attempts.withdrawn(), vec![AnswerText::default(), AnswerText::default()], count).await;
        attempts.settle(AttemptUsage::Known(Usage { input_tokens: 7, ..Usage::default() }));
        let failed = |upstream: &str, tokens, estimated| (upstream.to_owned(), [0, 0, 1], tokens, estimated);
        assert_eq!(rows(&attempts), [failed("a", 5, 1), failed("b", 7, 1), failed("c", 0, 0)]);
    }

    #[tokio::test]
    async fn withdrawn_attempt_that_was_closed_here_counts_at_its_reservation_if_the_upstream_bills_all_of_it() {
        let reserved = Usage { input_tokens: 10, output_tokens: Some(90), ..Usage::default() };
        let attempts = Attempts::new(context(reserved), target("a"), Metrics::new());
        let terms = RetryTerms { cancel_bills: CancelBills::All, ..RetryTerms::default() };
        let server = UpstreamServer::new(ScriptedProvider::new("a", []), Vec::new(), terms);
        let sent = SentMark::default();
        attempts.attempt_began(AttemptNumber::new(1), &Target::new(server, "m"), &sent, AttemptReason::First);
        sent.set();
        attempts.commit(UsageReport::default());
        attempts.failed(&AttemptError::in_response(AttemptErrorKind::Timeout(Phase::NextToken)));
        begin(&attempts, 2, "b").set();
        attempts.commit(UsageReport::default());
        let count = |_, _| async { Usage { input_tokens: 1, output_tokens: Some(2), ..Usage::default() } };
        settle_withdrawn(attempts.withdrawn(), vec![AnswerText::default()], count).await;
        assert_eq!(rows(&attempts), [("a".to_owned(), [0, 0, 1], 10, 1)]);
    }

    #[test]
    fn commit_that_is_undone_leaves_the_answer_before_it() {
        let attempts = attempts(&Metrics::new());
        begin(&attempts, 1, "a").set();
        attempts.commit(UsageReport::default());
        attempts.failed(&disconnected());
        begin(&attempts, 2, "b").set();
        attempts.commit(UsageReport::default());
        attempts.undo_commit();
        attempts.end(Outcome::Failed, Some(FailureCode::TooLarge));
        assert!(!attempts.has_withdrawn());
        assert_eq!(attempts.charged_target(), target("a"));
        attempts.settle(AttemptUsage::Known(Usage { input_tokens: 7, ..Usage::default() }));
        let prompt = guess_prompt(&Prompt::default());
        assert_eq!(rows(&attempts), [("a".to_owned(), [0, 0, 1], 7, 1), ("b".to_owned(), [0, 0, 1], prompt, 1)]);
    }

    #[test]
    fn generation_of_another_process_may_be_billed_and_its_text_is_not_charged_to_attempts_that_said_nothing() {
        let earlier = Some(Usd::from_nanos(5));
        let attempts =
            Attempts::new(AttemptContext { earlier, ..context(Usage::default()) }, target("a"), Metrics::new());
        assert_eq!((attempts.billed(), attempts.spent()), (Billed::Maybe, earlier));
        begin(&attempts, 1, "b").set();
        attempts.end(Outcome::Cancelled, None);
        assert_eq!(attempts.charged_target(), target("a"), "the first of the plan, not the one that said nothing");
        attempts.settle(AttemptUsage::Known(Usage { input_tokens: 700, ..Usage::default() }));
        assert_eq!(rows(&attempts), [("b".to_owned(), [0, 1, 0], guess_prompt(&Prompt::default()), 1)]);
    }

    #[test]
    fn each_attempt_is_settled_in_the_ledger_with_its_own_target() {
        let attempts = attempts(&Metrics::new());
        let rows = || rows(&attempts);
        begin(&attempts, 1, "a").set();
        attempts.failed(&refused());
        begin(&attempts, 2, "b").set();
        attempts.failed(&disconnected());
        begin(&attempts, 3, "c").set();
        let refused = ("a".to_owned(), [0, 0, 1], 0, 0);
        // The prompt is empty, so that its estimate is that of a message.
        let disconnected = ("b".to_owned(), [0, 0, 1], guess_prompt(&Prompt::default()), 1);
        assert_eq!(rows(), [refused.clone(), disconnected.clone()]);
        attempts.end(Outcome::Cancelled, None);
        let usage = Usage { input_tokens: 7, source: TokenSource::Provider, ..Usage::default() };
        for _ in 0..2 {
            attempts.settle(AttemptUsage::Known(usage));
        }
        assert_eq!(rows(), [refused, disconnected, ("c".to_owned(), [0, 1, 0], 7, 0)]);
    }

    #[test]
    fn attempt_that_its_hedge_replaced_is_cancelled_and_the_answer_is_that_of_the_hedge() {
        let metrics = Metrics::new();
        let attempts = attempts(&metrics);
        begin(&attempts, 1, "a").set();
        begin(&attempts, 2, "b").set();
        assert_eq!(attempts.target(), target("a"), "both are open");
        attempts.attempt_replaced(AttemptNumber::new(1));
        assert_eq!((attempts.target(), attempts.charged_target()), (target("b"), target("b")));
        attempts.end(Outcome::Done, None);
        assert_eq!((attempts.target(), attempts.count()), (target("b"), 2));
        assert_eq!(roles(&attempts), [(Outcome::Cancelled, AttemptRole::Hedged), (Outcome::Done, AttemptRole::Winner)]);
        let expected = [
            r#"{upstream="a",model="other",outcome="cancelled",error_type=""} 1"#,
            r#"{upstream="b",model="m",outcome="done",error_type=""} 1"#,
        ];
        assert_eq!(counted(&metrics), expected);
    }

    #[test]
    fn answer_is_that_of_the_first_attempt_if_its_hedge_failed_or_was_open_at_the_end() {
        for hedge_failed in [true, false] {
            let attempts = attempts(&Metrics::new());
            begin(&attempts, 1, "a").set();
            begin(&attempts, 2, "b").set();
            let mut expected = vec![(Outcome::Cancelled, AttemptRole::Winner)];
            if hedge_failed {
                attempts.attempt_failed(AttemptNumber::new(2), &refused());
                expected.push((Outcome::Failed, AttemptRole::Failed));
            } else {
                expected.push((Outcome::Cancelled, AttemptRole::Hedged));
            }
            assert_eq!(attempts.target(), target("a"));
            attempts.end(Outcome::Cancelled, None);
            assert_eq!((roles(&attempts), attempts.target()), (expected, target("a")));
        }
    }

    #[test]
    fn closed_attempt_counts_at_its_reservation_if_the_upstream_bills_all_of_it() {
        let reserved = Usage { input_tokens: 10, output_tokens: Some(90), ..Usage::default() };
        let used = |tokens| Usage { input_tokens: 10, output_tokens: Some(tokens), ..Usage::default() };
        let charged = |cancel_bills, (outcome, code): (Outcome, Option<FailureCode>), tokens| {
            let attempts = Attempts::new(context(reserved), target("a"), Metrics::new());
            let terms = RetryTerms { cancel_bills, ..RetryTerms::default() };
            let server = UpstreamServer::new(ScriptedProvider::new("a", []), Vec::new(), terms);
            let sent = SentMark::default();
            attempts.attempt_began(AttemptNumber::new(1), &Target::new(server, "m"), &sent, AttemptReason::First);
            sent.set();
            attempts.end(outcome, code);
            attempts.settle(AttemptUsage::Known(used(tokens)));
            let rows = attempts.context.ledger.rows(&UsageQuery::default());
            rows.first().map(|row| row.totals.output_tokens)
        };
        let stopped = (Outcome::Cancelled, None);
        assert_eq!(charged(CancelBills::Partial, stopped, 5), Some(5));
        assert_eq!(charged(CancelBills::All, stopped, 5), Some(90));
        assert_eq!(charged(CancelBills::All, stopped, 200), Some(200), "more than was reserved");
        for code in [FailureCode::DeadlineExceeded, FailureCode::UpstreamTimeout, FailureCode::ShuttingDown] {
            assert_eq!(charged(CancelBills::All, (Outcome::Failed, Some(code)), 5), Some(90), "{code:?}");
        }
        for code in [FailureCode::UpstreamDisconnected, FailureCode::UpstreamError] {
            assert_eq!(charged(CancelBills::All, (Outcome::Failed, Some(code)), 5), Some(5), "{code:?}");
        }
        assert_eq!(charged(CancelBills::All, (Outcome::Done, None), 5), Some(5));
    }

    fn roles(attempts: &Attempts) -> Vec<(Outcome, AttemptRole)> {
        attempts.lock().iter().filter_map(|attempt| attempt.end).map(|end| (end.outcome, end.role)).collect()
    }
}
