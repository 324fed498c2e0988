//! The state of a running generation, and its ending.

use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{SetOnce, watch};
use tokio::time::Instant;

use super::answer_text::{AnswerText, AnswerTexts};
use super::attempt_failure::labels;
use super::attempts::{Attempts, Committed};
use super::end_report::EndReport;
use super::ending::Ending;
use super::subject::Subject;
use super::tally::Tally;
use super::tokens::{self, COUNTED_BYTES, TokenCounter};
use super::withdrawn::settle_withdrawn;
use crate::domain::{
    CancelReason, Cancelled, Chunk, Done, Event, Failed, FailureCode, Finish, FinishReason, GenerationId, Prompt,
    Timings, Usage, UsageReport,
};
use crate::event_log::{CloseOutcome, Limit, Writer};
use crate::limits::{OutputEstimate, QueueState, Reservations, Settled, Settlement};
use crate::telemetry::{Gauge, Metrics};
use crate::upstream::{Billed, Delivery};
use crate::usage::AttemptUsage;

/// The state of a running generation that its task, its viewers and requests to end it share.
///
/// In this process only its task ends it: others ask the task, which first drops the upstream connection. A stop
/// therefore stops the cost before anything is counted or written.
#[derive(Debug)]
pub struct Running {
    pub id: GenerationId,
    subject: Subject,
    /// When this process accepted it, or took it over.
    accepted: Instant,
    /// The time from its acceptance in another process until then.
    age: Duration,
    prompt: Arc<Prompt>,
    /// `None` once they are settled.
    reservations: Mutex<Option<Reservations>>,
    estimate: OutputEstimate,
    queue_state: Option<watch::Receiver<QueueState>>,
    pub attempts: Attempts,
    /// Set if the generation is known to have cost nothing. A repeat of the request may then start a new one.
    unbilled: OnceLock<()>,
    /// Set when the end was counted and logged.
    reported_end: OnceLock<()>,
    first_token: OnceLock<Instant>,
    tally: Mutex<Tally>,
    requested_end: SetOnce<Ending>,
    metrics: Arc<Metrics>,
    counter: TokenCounter,
}

/// The reservations with which a generation was admitted.
#[derive(Debug)]
pub struct AdmittedGeneration {
    pub prompt: Arc<Prompt>,
    pub reservations: Reservations,
    pub queue_state: Option<watch::Receiver<QueueState>>,
    /// Updated with the length of the answer.
    pub estimate: OutputEstimate,
}

impl Running {
    pub fn new(
        id: GenerationId,
        subject: Subject,
        attempts: Attempts,
        admitted: AdmittedGeneration,
        metrics: Arc<Metrics>,
        counter: TokenCounter,
    ) -> Self {
        Self {
            id,
            subject,
            accepted: Instant::now(),
            age: Duration::ZERO,
            prompt: admitted.prompt,
            reservations: Mutex::new(Some(admitted.reservations)),
            estimate: admitted.estimate,
            queue_state: admitted.queue_state,
            attempts,
            unbilled: OnceLock::new(),
            reported_end: OnceLock::new(),
            first_token: OnceLock::new(),
            tally: Mutex::default(),
            requested_end: SetOnce::new(),
            metrics,
            counter,
        }
    }

    /// States its times from its acceptance in another process, which was this long ago.
    pub fn accepted_before(self, age: Duration) -> Self {
        Self { age, ..self }
    }

    /// Returns the generation's queue position, if it has ever been queued.
    pub fn queue_state(&self) -> Option<watch::Receiver<QueueState>> {
        self.queue_state.clone()
    }

    /// Records that the generation has its slot, and how long it waited.
    pub fn record_slot(&self) {
        self.metrics.waited(self.accepted.elapsed());
    }

    /// Returns whether a repeat of the request may start a new generation, because this one ended before anything could
    /// be billed.
    pub fn was_unbilled(&self) -> bool {
        self.unbilled.get().is_some()
    }

    /// Counts the generation as waiting for its slot until the gauge is dropped.
    pub fn waiting(&self) -> Gauge {
        self.metrics.waiting()
    }

    /// Counts a chunk with content, and records the time of the first.
    pub fn record_chunk(&self, chunk: &Chunk) {
        if chunk.part().choice().is_none() {
            return;
        }
        self.metrics.piece();
        if self.first_token.get().is_some() {
            return;
        }
        let now = Instant::now();
        if self.first_token.set(now).is_ok() {
            self.metrics.first_token(labels(&self.attempts.target()), now - self.accepted);
        }
    }

    /// Records that an answer begins which no other attempt replaces while it lasts. The one before is withdrawn: from now
    /// on usage, finish reasons and the time to the first token are those of the new one.
    pub fn begin_answer(&self) {
        let mut tally = self.lock();
        if self.attempts.commit(tally.reported) == Committed::InPlaceOfAnother {
            let withdrawn = Tally { withdrawn: None, ..std::mem::take(&mut *tally) };
            let (began_anew, withdrawn) = (Some(Instant::now()), Some(Box::new(withdrawn)));
            *tally = Tally { began_anew, withdrawn, ..Tally::default() };
        }
    }

    /// Undoes [`Running::begin_answer`]: the log has no room for the beginning of the new answer, so the one before stands.
    pub fn undo_answer(&self) {
        let mut tally = self.lock();
        self.attempts.undo_commit();
        *tally = tally.withdrawn.take().map(|withdrawn| *withdrawn).unwrap_or_default();
    }

    /// Records a finish reason. Some servers send several, not always the same; as in the official SDKs, the last one
    /// counts.
    pub fn record_finish(&self, choice: u32, reason: FinishReason) {
        self.lock().finish.insert(choice, reason);
    }

    pub fn record_usage(&self, report: UsageReport) {
        let mut tally = self.lock();
        tally.reported = tally.reported.updated_by(report);
    }

    /// Leaves the slot and the reservations to the process that has taken the generation over.
    pub fn forget_reservations(&self) {
        if let Some(reservations) = self.reservations.lock().unwrap_or_else(PoisonError::into_inner).take() {
            reservations.forget();
        }
    }

    pub fn record_panic(&self) {
        self.metrics.panicked();
    }

    /// Asks the task to end the generation. Only the first request counts.
    pub fn request_end(&self, ending: Ending) {
        _ = self.requested_end.set(ending);
    }

    /// Resolves when the task has been asked to end the generation.
    pub async fn end_requested(&self) -> Ending {
        self.requested_end.wait().await.clone()
    }

    /// Ends the generation, unless it has already ended. The upstream connection is closed or its answer complete by
    /// now, so counting tokens may take time. If the log has no room for the last of the answer, the generation fails.
    pub async fn end(&self, writer: &mut dyn Writer, ending: Ending) {
        self.attempts.end(ending.outcome(), ending.code());
        let timings = self.timings();
        let mut ending = ending;
        loop {
            let is_restarting = writer.pending().iter().any(|event| matches!(event, Event::Restart(_)));
            let Err(limit) = self.try_end(writer, &ending, timings).await else { return };
            if is_restarting {
                self.undo_answer();
            }
            ending = Ending::failed(limit.into());
        }
    }

    /// # Errors
    ///
    /// As [`Writer::close`]: a second call does not fail.
    async fn try_end(&self, writer: &mut dyn Writer, ending: &Ending, timings: Timings) -> Result<(), Limit> {
        let answers = if self.needs_answer(ending) { answer_texts(writer).await } else { None };
        let (withdrawn, answer) = answers.map(|answers| (answers.withdrawn, answers.standing)).unzip();
        let finish = self.finish(answer.as_ref());
        let reported = self.lock().reported;
        let is_urgent = ending.code() == Some(FailureCode::ShuttingDown);
        settle_withdrawn(self.attempts.withdrawn(), withdrawn.unwrap_or_default(), async |target, text| {
            if is_urgent {
                return tokens::guess(&self.prompt, &text);
            }
            self.counter.count(target.model(), &self.prompt, text).await
        })
        .await;
        let usage = match (reported.complete(), self.attempts.billed(), answer) {
            (Some(usage), _, _) => usage,
            (None, Billed::No, _) => nothing_used(),
            (None, _, None) => Usage::default(),
            // A guess, not a count: every viewer must receive the terminal event before the process ends.
            (None, _, Some(answer)) if is_urgent => reported.completed_by(tokens::guess(&self.prompt, &answer)),
            (None, _, Some(answer)) => reported
                .completed_by(self.counter.count(self.attempts.charged_target().model(), &self.prompt, answer).await),
        };
        let usage = self.known(usage, ending);
        self.settle(ending, usage).await;
        self.close(writer, ending, finish, usage, timings).await
    }

    /// Like [`Running::end`], for a task that is dropped: counts nothing that takes time. A requested ending takes
    /// precedence over `ending`.
    pub async fn end_at_once(&self, writer: &mut dyn Writer, ending: Ending) {
        let mut ending = self.requested_end.get().cloned().unwrap_or(ending);
        self.attempts.end(ending.outcome(), ending.code());
        let reported = self.lock().reported;
        let answers = answer_texts(writer).now_or_never().flatten();
        let (withdrawn, answer) = answers.map(|answers| (answers.withdrawn, answers.standing)).unzip();
        let guessing = |_, text| ready(tokens::guess(&self.prompt, &text));
        settle_withdrawn(self.attempts.withdrawn(), withdrawn.unwrap_or_default(), guessing).await;
        let usage = reported.complete().unwrap_or_else(|| {
            if self.attempts.billed() == Billed::No {
                return nothing_used();
            }
            answer.map(|answer| reported.completed_by(tokens::guess(&self.prompt, &answer))).unwrap_or_default()
        });
        let timings = self.timings();
        let usage = self.known(usage, &ending);
        self.settle(&ending, usage).await;
        while let Err(limit) = self.close(writer, &ending, self.finish(None), usage, timings).await {
            ending = Ending::failed(limit.into());
        }
    }

    /// Returns whether the answer must be read from the log: for tokens that the provider did not count, choices without
    /// a finish reason, or withdrawn answers.
    fn needs_answer(&self, ending: &Ending) -> bool {
        let tally = self.lock();
        let is_counted = tally.reported.complete().is_some() || self.attempts.billed() == Billed::No;
        let is_finished = !matches!(ending, Ending::Done { .. }) || tally.finish.len() >= self.subject.choices;
        !(is_counted && is_finished) || self.attempts.has_withdrawn()
    }

    /// Returns how each choice ended, with `stop` for a choice that has content but no stated reason.
    fn finish(&self, answer: Option<&AnswerText>) -> Box<[Finish]> {
        let stated = self.lock().finish.clone();
        let spoken = answer.into_iter().flat_map(|answer| &answer.choices).filter(|(_, said)| !said.is_empty());
        let unstated = spoken.map(|(choice, _)| *choice).filter(|choice| !stated.contains_key(choice));
        let unstated: Vec<_> = unstated.map(Finish::unstated).collect();
        let mut finish: Vec<_> =
            stated.into_iter().map(|(choice, reason)| Finish::stated(choice, reason)).chain(unstated).collect();
        if finish.is_empty() {
            finish.push(Finish::unstated(0));
        }
        finish.sort_by_key(|finish| finish.choice);
        finish.into()
    }

    /// Removes the output tokens if a whole answer was requested and did not arrive: its length is then unknown. Adds
    /// the cost, if it is known.
    fn known(&self, usage: Usage, ending: &Ending) -> Usage {
        let output_tokens = usage.output_tokens.filter(|_| !self.is_cut_off_whole(ending));
        let usage = Usage { output_tokens, ..usage };
        Usage { cost: self.attempts.cost(&usage), ..usage }
    }

    fn is_cut_off_whole(&self, ending: &Ending) -> bool {
        self.attempts.delivery() == Delivery::Whole
            && !matches!(ending, Ending::Done { .. })
            && self.attempts.billed() == Billed::Maybe
    }

    fn timings(&self) -> Timings {
        let first_token = self.lock().began_anew.or(self.first_token.get().copied());
        let first_token = first_token.map(|first| first - self.accepted + self.age);
        Timings { first_token, total: self.accepted.elapsed() + self.age }
    }

    /// Settles the reservations, before the terminal event is readable: its reader may start the next generation at
    /// once.
    fn settle(&self, ending: &Ending, usage: Usage) -> impl Future<Output = ()> + Send + use<> {
        // An answer that was cut off must not lower the estimate.
        if let (Ending::Done { .. }, Some(tokens)) = (ending, usage.output_tokens) {
            self.estimate.learn(tokens / u64::try_from(self.subject.choices).unwrap_or(1).max(1));
        }
        let settlement = match self.attempts.billed() {
            Billed::No => Settlement::Used(0),
            Billed::Maybe if self.is_cut_off_whole(ending) => Settlement::AsReserved,
            Billed::Maybe => Settlement::Used(usage.total()),
        };
        self.attempts.settle(match settlement {
            Settlement::AsReserved => AttemptUsage::AsReserved,
            Settlement::Used(_) | Settlement::Refunded => AttemptUsage::Known(usage),
        });
        let reservations = self.reservations.lock().unwrap_or_else(PoisonError::into_inner).take();
        let settled = Settled { usage: settlement, cost: self.attempts.spent() };
        let settled = reservations.map(|reservations| reservations.settle(settled));
        async move {
            if let Some(settled) = settled {
                settled.await;
            }
        }
    }

    /// Appends the terminal event, unless there is one. The end is counted and logged once.
    async fn close(
        &self,
        writer: &mut dyn Writer,
        ending: &Ending,
        finish: Box<[Finish]>,
        usage: Usage,
        timings: Timings,
    ) -> Result<(), Limit> {
        let closed = writer.close(self.terminal(ending, finish, usage, timings)).await?;
        if self.reported_end.set(()).is_err() {
            return Ok(());
        }
        if closed != CloseOutcome::Won {
            // Another process ended the log, because this one did not renew its lease in time.
            self.report(&Ending::failed(FailureCode::ReplicaLost), usage, timings);
            return Ok(());
        }
        let is_repeatable = match ending {
            Ending::Failed(_) | Ending::Cancelled(CancelReason::Abandoned) => true,
            Ending::Done { .. } | Ending::Cancelled(CancelReason::ClientRequest) => false,
        };
        if self.attempts.billed() == Billed::No && is_repeatable {
            _ = self.unbilled.set(());
        }
        self.report(ending, usage, timings);
        Ok(())
    }

    fn report(&self, ending: &Ending, usage: Usage, timings: Timings) {
        let end = EndReport { subject: &self.subject, attempts: &self.attempts, ending, usage, timings };
        end.write(&self.metrics);
    }

    fn terminal(&self, ending: &Ending, finish: Box<[Finish]>, usage: Usage, timings: Timings) -> Event {
        match ending {
            Ending::Done { trailer } => {
                Event::Done(Arc::new(Done { finish, trailer: trailer.clone(), usage, timings }))
            }
            Ending::Cancelled(reason) => Event::Cancelled(Arc::new(Cancelled { reason: *reason, usage, timings })),
            Ending::Failed(failed) => {
                let usage = Some(usage).filter(|_| self.attempts.billed() == Billed::Maybe);
                Event::Failed(Arc::new(Failed {
                    failure: self.subject.failure(failed, self.attempts.billed()),
                    usage,
                    timings,
                }))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what the writer was given so far.
fn answer_texts(writer: &dyn Writer) -> impl Future<Output = Option<AnswerTexts>> + Send {
    let (log, pending) = (Arc::clone(writer.log()), writer.pending());
    async move {
        // Up to what viewers have seen, which a slow log may not have acknowledged.
        let tail = log.tail().await.ok()?.sequence;
        AnswerTexts::read(&*log, tail, pending, COUNTED_BYTES).await
    }
}

/// The usage of a generation that never reached its upstream.
fn nothing_used() -> Usage {
    Usage { output_tokens: Some(0), ..Usage::default() }
}
