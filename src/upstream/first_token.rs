//! The beginning of an answer, up to its first token.

use std::pin::pin;

use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::{Answer, AttemptError, AttemptErrorKind, Delivery, Phase, Sent, SentMark, Signal, Signals};

/// An attempt that failed before its first token.
#[derive(Debug)]
pub struct FailedAttempt {
    /// What it delivered, such as usage.
    pub held: Signals,
    pub error: AttemptError,
}

/// The signals up to the read with the first token, and the rest of the answer.
pub type FirstTokenResult = Result<(Signals, Answer), FailedAttempt>;

/// Bytes that are held back. An attempt that delivers more before its first token is committed.
pub(super) const MAX_HELD_BYTES: usize = 64 << 10;

impl FailedAttempt {
    /// For a plan without a target, which no router makes.
    pub(super) fn not_made() -> Self {
        let kind = AttemptErrorKind::Unreachable { cause: "no target".into() };
        Self { held: Signals::new(), error: AttemptError::new(kind, Sent::No) }
    }
}

/// Reads an answer up to the read with its first token, until `cut`. A whole answer arrives at its end: nothing shows that
/// its model has begun, so it is not cut off.
pub async fn first_token(answer: Answer, cut: Option<Instant>, sent: &SentMark) -> FirstTokenResult {
    let Some(cut) = cut else { return read_first_token(answer).await };
    let mut reading = pin!(read_first_token(answer));
    match timeout_at(cut, reading.as_mut()).await {
        Ok(read) => read,
        Err(_) if sent.delivery() == Delivery::Whole => reading.await,
        Err(_) => {
            let error = AttemptError::new(AttemptErrorKind::Timeout(Phase::FirstToken), sent.get());
            Err(FailedAttempt { held: Signals::new(), error })
        }
    }
}

async fn read_first_token(mut answer: Answer) -> FirstTokenResult {
    let (mut held, mut bytes) = (Signals::new(), 0);
    loop {
        let signals = match answer.next().await {
            Some(Ok(signals)) => signals,
            Some(Err(error)) => return Err(FailedAttempt { held, error }),
            None => {
                let cause = "the answer has no end".into();
                let error = AttemptError::in_response(AttemptErrorKind::Disconnected { cause });
                return Err(FailedAttempt { held, error });
            }
        };
        bytes += signals.iter().map(held_bytes).sum::<usize>();
        let is_committed = signals.iter().any(commits) || bytes > MAX_HELD_BYTES;
        held.extend(signals);
        if is_committed {
            return Ok((held, answer));
        }
    }
}

/// Returns whether a signal ends the time in which another attempt may replace this one: a token, or the end of an
/// answer without one. Chunks with a role or an empty delta do not, nor does usage.
fn commits(signal: &Signal) -> bool {
    match signal {
        Signal::Chunk(chunk) => chunk.part().choice().is_some(),
        Signal::Finish { .. } | Signal::End { .. } => true,
        Signal::Usage(_) => false,
    }
}

pub(super) fn held_bytes(signal: &Signal) -> usize {
    let chunk = match signal {
        Signal::Chunk(chunk) => chunk.shape().size() + chunk.text().as_str().len(),
        Signal::Finish { .. } | Signal::Usage(_) | Signal::End { .. } => 0,
    };
    size_of::<Signal>() + chunk
}
