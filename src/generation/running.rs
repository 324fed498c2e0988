//! A generation while it runs: what has been learnt of it, and how it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::audience::Audience;
use crate::domain::{
    CancelReason, Cancelled, Chunk, Done, Event, Failed, Failure, FailureCode, FinishReason, GenerationId, RequestId,
    Timings, TokenSource, Trailer, Usage,
};
use crate::event_log::{Closing, Log};
use crate::telemetry::{Metrics, Outcome};

/// A generation while it runs: what its task, its viewers and whoever ends it share.
#[derive(Debug)]
pub struct Running {
    pub id: GenerationId,
    pub request_id: RequestId,
    pub audience: Arc<Audience>,
    accepted: Instant,
    tally: Mutex<Tally>,
    metrics: Arc<Metrics>,
}

/// What has been learnt of the answer so far.
#[derive(Debug, Default)]
struct Tally {
    estimate: Usage,
    provider: Option<Usage>,
    first_token: Option<Instant>,
    finish: BTreeMap<u32, FinishReason>,
}

/// Why a generation ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    Done { trailer: Trailer },
    Cancelled(CancelReason),
    Failed { code: FailureCode, detail: &'static str, retry_after: Option<std::time::Duration> },
}

/// An estimate of the prompt's tokens: about four bytes make one.
const BYTES_PER_TOKEN: usize = 4;

impl Running {
    pub fn new(
        id: GenerationId,
        request_id: RequestId,
        audience: Arc<Audience>,
        prompt_bytes: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        let input_tokens = prompt_bytes.div_ceil(BYTES_PER_TOKEN) as u64;
        let estimate = Usage { input_tokens, source: TokenSource::Estimated, ..Usage::default() };
        let tally = Mutex::new(Tally { estimate, ..Tally::default() });
        Self { id, request_id, audience, accepted: Instant::now(), tally, metrics }
    }

    pub fn note_chunk(&self, chunk: &Chunk) {
        if chunk.part().choice().is_none() {
            return;
        }
        let mut tally = self.lock();
        tally.estimate.output_tokens += 1;
        if tally.first_token.is_none() {
            let now = Instant::now();
            tally.first_token = Some(now);
            self.metrics.first_token(now - self.accepted);
        }
    }

    /// A choice ends once: some servers say it again, and not always in the same word.
    pub fn note_finish(&self, choice: u32, reason: FinishReason) {
        self.lock().finish.entry(choice).or_insert(reason);
    }

    pub fn note_usage(&self, usage: Usage) {
        self.lock().provider = Some(usage);
    }

    /// Ends the generation unless somebody has; whoever was first is counted.
    pub async fn end(&self, log: &Arc<dyn Log>, ending: Ending) -> Closing {
        let (event, usage) = self.terminal(&ending);
        let closing = log.close(event).await;
        if closing == Closing::Won {
            let outcome = ending.outcome();
            self.metrics.ended(outcome, usage, self.accepted.elapsed());
            // The request's id and not the generation's: without authentication that one is a capability.
            tracing::info!(
                request_id = %self.request_id,
                outcome = outcome.name(),
                code = ending.code().map(tracing::field::debug),
                input_tokens = usage.input_tokens,
                output_tokens = usage.output_tokens,
                "generation ended"
            );
        }
        closing
    }

    fn terminal(&self, ending: &Ending) -> (Event, Usage) {
        let tally = self.lock();
        let usage = tally.provider.unwrap_or(tally.estimate);
        let timings = Timings {
            first_token: tally.first_token.map(|first| first - self.accepted),
            total: self.accepted.elapsed(),
        };
        let event = match ending {
            Ending::Done { trailer } => {
                let mut finish: Vec<_> =
                    tally.finish.iter().map(|(choice, reason)| (*choice, reason.clone())).collect();
                if finish.is_empty() {
                    // `[DONE]` without a reason: the model stopped, and nobody said why.
                    finish.push((0, "stop".into()));
                }
                Event::Done(Arc::new(Done { finish, trailer: trailer.clone(), usage, timings }))
            }
            Ending::Cancelled(reason) => Event::Cancelled(Arc::new(Cancelled { reason: *reason, usage, timings })),
            Ending::Failed { code, detail, retry_after } => {
                let failure = Failure {
                    code: *code,
                    detail: (*detail).to_owned(),
                    retry_after: *retry_after,
                    request_id: self.request_id,
                };
                Event::Failed(Arc::new(Failed { failure, usage, timings }))
            }
        };
        (event, usage)
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ending {
    const fn code(&self) -> Option<FailureCode> {
        match self {
            Self::Failed { code, .. } => Some(*code),
            Self::Done { .. } | Self::Cancelled(_) => None,
        }
    }

    const fn outcome(&self) -> Outcome {
        match self {
            Self::Done { .. } => Outcome::Done,
            Self::Cancelled(_) => Outcome::Cancelled,
            Self::Failed { .. } => Outcome::Failed,
        }
    }
}
