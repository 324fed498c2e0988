//! A generation while it runs: what has been learnt of it, and how it ends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{SetOnce, watch};
use tokio::time::Instant;

use super::audience::Audience;
use super::snapshot::Snapshot;
use super::tokens::{self, TokenCounter};
use crate::domain::{
    CancelReason, Cancelled, ChatRequest, Chunk, Done, Event, Failed, Failure, FailureCode, Finish, FinishReason,
    GenerationId, Prompt, Remedy, RequestId, Timings, Trailer, UpstreamWords, Usage, UsageReport,
};
use crate::event_log::{Closing, Log};
use crate::limits::{Spent, Turn};
use crate::telemetry::{Gauge, GenerationEnd, GenerationLabels, Metrics, Outcome};
use crate::upstream::UpstreamIdentity;

/// A generation while it runs: what its task, its viewers and whoever wants it ended share.
///
/// In this process its task alone ends it: others ask the task, which first of all lets go of the
/// upstream. So a stop stops the cost before anything is counted or written.
#[derive(Debug)]
pub struct Running {
    pub id: GenerationId,
    pub request_id: RequestId,
    pub audience: Arc<Audience>,
    accepted: Instant,
    model: String,
    upstream: Arc<UpstreamIdentity>,
    prompt: Arc<Prompt>,
    spent: Mutex<Spent>,
    turn: Option<watch::Receiver<Turn>>,
    /// Set when the provider is asked.
    asked_provider: AtomicBool,
    output_limit: Option<u64>,
    first_token: OnceLock<Instant>,
    tally: Mutex<Tally>,
    wish: SetOnce<Ending>,
    metrics: Arc<Metrics>,
    counter: TokenCounter,
}

/// What has been learnt of the answer so far.
#[derive(Debug, Default)]
struct Tally {
    reported: UsageReport,
    finish: BTreeMap<u32, FinishReason>,
}

/// With what a generation was admitted.
#[derive(Debug)]
pub struct Admitted {
    pub upstream: Arc<UpstreamIdentity>,
    pub prompt: Arc<Prompt>,
    pub spent: Spent,
    pub turn: Option<watch::Receiver<Turn>>,
}

/// Why a generation failed, as far as its task knows.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedEnding {
    pub code: FailureCode,
    pub detail: &'static str,
    pub remedy: Option<Remedy>,
    pub retry_after: Option<Duration>,
    pub upstream: Option<Box<UpstreamWords>>,
}

/// Why a generation ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    Done { trailer: Trailer },
    Cancelled(CancelReason),
    Failed(Box<FailedEnding>),
}

impl Running {
    pub fn new(
        id: GenerationId,
        request_id: RequestId,
        request: &ChatRequest,
        admitted: Admitted,
        audience: Arc<Audience>,
        metrics: Arc<Metrics>,
        counter: TokenCounter,
    ) -> Self {
        Self {
            id,
            request_id,
            audience,
            accepted: Instant::now(),
            model: request.model.clone(),
            upstream: admitted.upstream,
            prompt: admitted.prompt,
            spent: Mutex::new(admitted.spent),
            turn: admitted.turn,
            asked_provider: AtomicBool::new(false),
            output_limit: request.output_limit(),
            first_token: OnceLock::new(),
            tally: Mutex::default(),
            wish: SetOnce::new(),
            metrics,
            counter,
        }
    }

    /// Where the generation stands in the line, if it has ever stood in one.
    pub fn turn(&self) -> Option<watch::Receiver<Turn>> {
        self.turn.clone()
    }

    /// From here on there is something to pay for. The generation has waited for its place until now.
    pub fn note_provider_asked(&self) {
        self.asked_provider.store(true, Ordering::Relaxed);
        self.metrics.waited(self.accepted.elapsed());
    }

    fn has_asked_provider(&self) -> bool {
        self.asked_provider.load(Ordering::Relaxed)
    }

    /// Counts it among those that wait for their place, until this is dropped.
    pub fn waiting(&self) -> Gauge {
        self.metrics.waiting()
    }

    /// Takes note of a chunk that says something, and of when the first came.
    pub fn note_chunk(&self, chunk: &Chunk) {
        if chunk.part().choice().is_none() {
            return;
        }
        self.metrics.piece();
        if self.first_token.get().is_some() {
            return;
        }
        let now = Instant::now();
        if self.first_token.set(now).is_ok() {
            self.metrics.first_token(self.labels(), now - self.accepted);
        }
    }

    /// A choice ends once: some servers say it again, and not always in the same word.
    pub fn note_finish(&self, choice: u32, reason: FinishReason) {
        self.lock().finish.entry(choice).or_insert(reason);
    }

    pub fn note_usage(&self, report: UsageReport) {
        let mut tally = self.lock();
        tally.reported = tally.reported.updated_by(report);
    }

    pub fn note_panic(&self) {
        self.metrics.panicked();
    }

    /// Asks the task to end the generation. The first wish counts.
    pub fn ask(&self, ending: Ending) {
        _ = self.wish.set(ending);
    }

    /// Resolves when somebody wants the generation ended.
    pub async fn asked(&self) -> Ending {
        self.wish.wait().await.clone()
    }

    /// Ends the generation, unless that has been done from elsewhere. The upstream has been let go of,
    /// or has come to its end: counting takes its time.
    pub async fn end(&self, log: &Arc<dyn Log>, ending: Ending) {
        let timings = self.timings();
        let reported = self.lock().reported;
        let usage = match reported.complete() {
            Some(usage) => usage,
            None if !self.has_asked_provider() => Usage::default(),
            None => match Snapshot::read(log.as_ref()).await {
                None => Usage::default(),
                // Every reader is to be told before the process ends.
                Some(answer) if ending.code() == Some(FailureCode::ShuttingDown) => {
                    reported.completed_by(tokens::guess(&self.prompt, &answer))
                }
                Some(answer) => reported.completed_by(self.counter.count(&self.model, &self.prompt, answer).await),
            },
        };
        self.close(log, &ending, usage, timings).await;
    }

    /// As [`Running::end`], for a task that is dropped and can wait for nothing: as somebody wished, or
    /// else as `ending`. A backend that cannot close at once is left to its lease.
    pub fn end_at_once(&self, log: &Arc<dyn Log>, ending: Ending) {
        let ending = self.wish.get().cloned().unwrap_or(ending);
        let reported = self.lock().reported;
        let usage = reported.complete().unwrap_or_else(|| {
            if !self.has_asked_provider() {
                return Usage::default();
            }
            let answer = Snapshot::read(log.as_ref()).now_or_never().flatten();
            answer.map(|answer| reported.completed_by(tokens::guess(&self.prompt, &answer))).unwrap_or_default()
        });
        _ = self.close(log, &ending, usage, self.timings()).now_or_never();
    }

    fn timings(&self) -> Timings {
        let first_token = self.first_token.get().map(|first| *first - self.accepted);
        Timings { first_token, total: self.accepted.elapsed() }
    }

    /// Appends the terminal event if none is there; whoever was first is counted, once.
    async fn close(&self, log: &Arc<dyn Log>, ending: &Ending, usage: Usage, timings: Timings) {
        // Before anybody can know that it has ended, and start the next.
        let spent = std::mem::take(&mut *self.spent.lock().unwrap_or_else(PoisonError::into_inner));
        let failed_in_vain = ending.outcome() == Outcome::Failed && self.first_token.get().is_none();
        let in_vain = failed_in_vain || !self.has_asked_provider();
        spent.settle(if in_vain { 0 } else { usage.total() });
        if log.close(self.terminal(ending, usage, timings)).await != Closing::Won {
            return;
        }
        let outcome = ending.outcome();
        let code = ending.code().map(FailureCode::name);
        let output_limit = self.output_limit;
        let end = GenerationEnd { outcome, error_type: code, usage: Some(usage), timings, output_limit };
        self.metrics.generation_ended(self.labels(), &end);
        // The request's id and not the generation's: without authentication that one is a capability.
        tracing::info!(
            request_id = %self.request_id,
            outcome = outcome.name(),
            code,
            input_tokens = usage.input_tokens,
            output_tokens = usage.output_tokens,
            "generation ended"
        );
    }

    fn terminal(&self, ending: &Ending, usage: Usage, timings: Timings) -> Event {
        match ending {
            Ending::Done { trailer } => {
                let tally = self.lock();
                let finished = tally.finish.iter();
                let mut finish: Vec<_> =
                    finished.map(|(choice, reason)| Finish::stated(*choice, reason.clone())).collect();
                if finish.is_empty() {
                    finish.push(Finish::unstated(0));
                }
                let finish = finish.into();
                Event::Done(Arc::new(Done { finish, trailer: trailer.clone(), usage, timings }))
            }
            Ending::Cancelled(reason) => Event::Cancelled(Arc::new(Cancelled { reason: *reason, usage, timings })),
            Ending::Failed(failed) => {
                let failure = Failure {
                    code: failed.code,
                    detail: failed.detail.to_owned(),
                    remedy: failed.remedy,
                    retry_after: failed.retry_after,
                    request_id: self.request_id,
                    upstream: failed.upstream.clone(),
                };
                Event::Failed(Arc::new(Failed { failure, usage: Some(usage), timings }))
            }
        }
    }

    fn labels(&self) -> GenerationLabels<'_> {
        GenerationLabels { upstream: &self.upstream.name, model: &self.model }
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ending {
    const fn code(&self) -> Option<FailureCode> {
        match self {
            Self::Failed(failed) => Some(failed.code),
            Self::Done { .. } | Self::Cancelled(_) => None,
        }
    }

    const fn outcome(&self) -> Outcome {
        match self {
            Self::Done { .. } => Outcome::Done,
            Self::Cancelled(_) => Outcome::Cancelled,
            Self::Failed(_) => Outcome::Failed,
        }
    }
}
