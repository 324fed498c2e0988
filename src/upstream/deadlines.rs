//! Deadlines of the steps of an answer.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::{AttemptErrorKind, Phase, Signal};

/// Timeouts of the steps of an answer; a whole generation has a limit of its own.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the request to the response headers.
    pub head: Duration,
    /// From the request to the first text, reasoning or tool call.
    pub first_token: Duration,
    /// From one of those to the next one.
    pub idle: Duration,
}

/// How far an answer has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadProgress {
    Unfinished,
    /// Every choice has its finish reason.
    Finished,
    /// Nothing but the end of the stream is missing.
    FinishedWithUsage,
}

/// The phase of an answer and the deadline of its next step.
#[derive(Debug)]
pub struct AnswerDeadlines<'a> {
    timeouts: Timeouts,
    phase: Phase,
    requested_at: Instant,
    due: Instant,
    /// Reset only when it fires, or to an earlier deadline: not for each token.
    timer: Pin<&'a mut Sleep>,
}

impl<'a> AnswerDeadlines<'a> {
    pub fn new(timeouts: Timeouts, mut timer: Pin<&'a mut Sleep>) -> Self {
        let requested_at = Instant::now();
        let due = requested_at + timeouts.head.min(timeouts.first_token);
        timer.as_mut().reset(due);
        Self { timeouts, phase: Phase::Head, requested_at, due, timer }
    }

    /// Records the response headers. The time to the first token still counts from the request.
    pub fn record_head(&mut self) {
        self.phase = Phase::FirstToken;
        self.due = self.requested_at + self.timeouts.first_token;
    }

    pub async fn await_step<T>(&mut self, step: impl Future<Output = T>) -> Result<T, AttemptErrorKind> {
        if self.due < self.timer.deadline() {
            self.timer.as_mut().reset(self.due);
        }
        let (due, timer) = (self.due, &mut self.timer);
        let overdue = async {
            loop {
                timer.as_mut().await;
                if due <= Instant::now() {
                    break;
                }
                timer.as_mut().reset(due);
            }
        };
        tokio::select! {
            // Timer first: a step that is always ready must not prevent the timeout.
            biased;
            () = overdue => Err(AttemptErrorKind::Timeout(self.phase)),
            done = step => Ok(done),
        }
    }

    /// Records the signals of one read. Only a token, or the end of an answer without one, extends the deadline.
    pub fn record(&mut self, signals: &[Signal], progress: ReadProgress) {
        if signals.iter().any(|signal| matches!(signal, Signal::Chunk(chunk) if chunk.part().choice().is_some())) {
            self.phase = Phase::NextToken;
            self.due = Instant::now() + self.timeouts.idle;
        }
        if progress == ReadProgress::Unfinished {
            return;
        }
        if self.phase != Phase::NextToken {
            self.phase = Phase::NextToken;
            self.due = Instant::now() + self.timeouts.idle;
        }
        if progress == ReadProgress::FinishedWithUsage {
            self.due = self.due.min(Instant::now() + DONE_TIMEOUT);
        }
    }
}

/// Time for `[DONE]` after the finish reasons and the usage. An upstream that does not send it has finished
/// nevertheless. After finish reasons alone the idle timeout applies, because some servers send more content.
const DONE_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;
    use std::pin::pin;
    use std::sync::Arc;

    use tokio::time::sleep_until;

    use crate::domain::{Chunk, Escaped, Part, Shape, UsageReport};

    #[tokio::test(start_paused = true)]
    async fn step_that_is_always_ready_does_not_prevent_the_timeout() {
        let hour = Duration::from_hours(1);
        let mut timer = pin!(sleep_until(Instant::now()));
        let timeouts = Timeouts { head: hour, first_token: hour, idle: hour };
        let mut deadlines = AnswerDeadlines::new(timeouts, timer.as_mut());
        assert_eq!(deadlines.await_step(ready(())).await, Ok(()));
        tokio::time::advance(hour).await;
        assert_eq!(deadlines.await_step(ready(())).await, Err(AttemptErrorKind::Timeout(Phase::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_own_timeout() {
        let [head, first_token, idle] = [10, 100, 20].map(Duration::from_secs);
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut deadlines = AnswerDeadlines::new(Timeouts { head, first_token, idle }, timer.as_mut());
        let requested_at = deadlines.requested_at;
        let record = |deadlines: &mut AnswerDeadlines<'_>, signals: &[Signal], progress| {
            deadlines.record(signals, progress);
            (deadlines.phase, deadlines.due - Instant::now())
        };
        assert_eq!((deadlines.phase, deadlines.due), (Phase::Head, requested_at + head));
        tokio::time::advance(Duration::from_secs(5)).await;
        deadlines.record_head();
        assert_eq!((deadlines.phase, deadlines.due), (Phase::FirstToken, requested_at + first_token));

        // Other signals do not count as progress, only a token does.
        let left = Duration::from_secs(95);
        let silent = chunk(Part::Silent);
        for no_token in [&[][..], &[silent], &[Signal::Usage(UsageReport::default())]] {
            let recorded = record(&mut deadlines, no_token, ReadProgress::Unfinished);
            assert_eq!(recorded, (Phase::FirstToken, left), "{no_token:?}");
        }
        let token = [chunk(Part::Reasoning { choice: 0 })];
        assert_eq!(record(&mut deadlines, &token, ReadProgress::Unfinished), (Phase::NextToken, idle));
        tokio::time::advance(Duration::from_secs(15)).await;
        let nothing = record(&mut deadlines, &[], ReadProgress::Unfinished);
        assert_eq!(nothing, (Phase::NextToken, Duration::from_secs(5)));
        assert_eq!(record(&mut deadlines, &token, ReadProgress::Unfinished), (Phase::NextToken, idle));
        assert_eq!(record(&mut deadlines, &[], ReadProgress::Finished), (Phase::NextToken, idle));
        assert_eq!(record(&mut deadlines, &[], ReadProgress::FinishedWithUsage), (Phase::NextToken, DONE_TIMEOUT));
    }

    fn chunk(part: Part) -> Signal {
        Signal::Chunk(Chunk::new(Arc::new(Shape::new(None, part)), Escaped::from_text("a")))
    }
}
