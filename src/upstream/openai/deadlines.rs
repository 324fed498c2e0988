//! Deadlines of the steps of an answer.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::super::{AttemptErrorKind, Phase, Signal};
use super::endpoint::Timeouts;
use super::reader::AnswerReader;

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
    pub fn record(&mut self, signals: &[Signal], reader: &AnswerReader) {
        if signals.iter().any(|signal| matches!(signal, Signal::Chunk(chunk) if chunk.part().choice().is_some())) {
            self.phase = Phase::NextToken;
            self.due = Instant::now() + self.timeouts.idle;
        }
        if !reader.is_whole() {
            return;
        }
        if self.phase != Phase::NextToken {
            self.phase = Phase::NextToken;
            self.due = Instant::now() + self.timeouts.idle;
        }
        if reader.has_usage() {
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

    use tokio::time::sleep_until;

    use super::super::super::Signals;

    #[tokio::test(start_paused = true)]
    async fn step_that_is_always_ready_does_not_prevent_the_timeout() {
        let hour = Duration::from_hours(1);
        let mut timer = pin!(sleep_until(Instant::now()));
        let timeouts = Timeouts { connect: hour, head: hour, first_token: hour, idle: hour };
        let mut deadlines = AnswerDeadlines::new(timeouts, timer.as_mut());
        assert_eq!(deadlines.await_step(ready(())).await, Ok(()));
        tokio::time::advance(hour).await;
        assert_eq!(deadlines.await_step(ready(())).await, Err(AttemptErrorKind::Timeout(Phase::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_its_own_timeout() {
        let [head, first_token, idle] = [10, 100, 20].map(Duration::from_secs);
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut deadlines = AnswerDeadlines::new(Timeouts { connect: head, head, first_token, idle }, timer.as_mut());
        let mut reader = AnswerReader::new("m".to_owned(), 1, 1 << 20);
        let mut signals = Signals::new();
        let requested_at = deadlines.requested_at;
        let mut said = |deadlines: &mut AnswerDeadlines<'_>, bytes: &str| {
            signals.clear();
            reader.feed(bytes.as_bytes(), &mut signals).expect("no fault");
            deadlines.record(&signals, &reader);
            (deadlines.phase, deadlines.due - Instant::now())
        };
        assert_eq!((deadlines.phase, deadlines.due), (Phase::Head, requested_at + head));
        tokio::time::advance(Duration::from_secs(5)).await;
        deadlines.record_head();
        assert_eq!((deadlines.phase, deadlines.due), (Phase::FirstToken, requested_at + first_token));

        // Other bytes do not count as progress, only a token does.
        let left = Duration::from_secs(95);
        let role = r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
        for no_token in [": ping\n\n", role, "\n\n", "data: {\"choices\":[],\"usage\":{}}\n\n"] {
            assert_eq!(said(&mut deadlines, no_token), (Phase::FirstToken, left), "{no_token}");
        }
        let token = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        assert_eq!(said(&mut deadlines, token), (Phase::NextToken, idle));
        tokio::time::advance(Duration::from_secs(15)).await;
        assert_eq!(said(&mut deadlines, ": ping\n\n"), (Phase::NextToken, Duration::from_secs(5)));
        assert_eq!(said(&mut deadlines, token), (Phase::NextToken, idle));
        let finish = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n";
        assert_eq!(said(&mut deadlines, finish), (Phase::NextToken, idle));
        let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n";
        assert_eq!(said(&mut deadlines, usage), (Phase::NextToken, DONE_TIMEOUT));
    }
}
