//! Until when the next step of an answer is due.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::super::{Phase, Signal, UpstreamError};
use super::endpoint::Timeouts;
use super::reader::AnswerReader;

/// How far an answer has come, and until when the next step is due.
#[derive(Debug)]
pub struct Progress<'a> {
    timeouts: Timeouts,
    phase: Phase,
    asked: Instant,
    due: Instant,
    /// Set anew only when it rings, or for what is due earlier: not for each token.
    timer: Pin<&'a mut Sleep>,
}

impl<'a> Progress<'a> {
    pub fn new(timeouts: Timeouts, mut timer: Pin<&'a mut Sleep>) -> Self {
        let asked = Instant::now();
        let due = asked + timeouts.head.min(timeouts.first_token);
        timer.as_mut().reset(due);
        Self { timeouts, phase: Phase::Head, asked, due, timer }
    }

    /// The head has come; the time to the first token counts from the request all the same.
    pub fn head(&mut self) {
        self.phase = Phase::FirstToken;
        self.due = self.asked + self.timeouts.first_token;
    }

    pub async fn in_time<T>(&mut self, step: impl Future<Output = T>) -> Result<T, UpstreamError> {
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
            // The clock first: a step that is always ready must not outrun it.
            biased;
            () = overdue => Err(UpstreamError::Timeout(self.phase)),
            done = step => Ok(done),
        }
    }

    /// Takes note of what came. A token puts the next step off, and nothing else does.
    pub fn note(&mut self, signals: &[Signal], reader: &AnswerReader) {
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
            self.due = self.due.min(Instant::now() + FINISH_PATIENCE);
        }
    }
}

/// After the finish reasons and the usage `[DONE]` is at most this far away; an upstream that does not send it has
/// nevertheless finished. After finish reasons alone the idle timeout holds: some servers speak on.
const FINISH_PATIENCE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;
    use std::pin::pin;

    use tokio::time::sleep_until;

    use super::super::super::Signals;

    #[tokio::test(start_paused = true)]
    async fn bytes_that_are_always_there_do_not_outrun_the_clock() {
        let hour = Duration::from_hours(1);
        let mut timer = pin!(sleep_until(Instant::now()));
        let timeouts = Timeouts { connect: hour, head: hour, first_token: hour, idle: hour };
        let mut progress = Progress::new(timeouts, timer.as_mut());
        assert_eq!(progress.in_time(ready(())).await, Ok(()));
        tokio::time::advance(hour).await;
        assert_eq!(progress.in_time(ready(())).await, Err(UpstreamError::Timeout(Phase::Head)));
    }

    #[tokio::test(start_paused = true)]
    async fn each_step_has_a_limit_of_its_own() {
        let [head, first_token, idle] = [10, 100, 20].map(Duration::from_secs);
        let mut timer = pin!(sleep_until(Instant::now()));
        let mut progress = Progress::new(Timeouts { connect: head, head, first_token, idle }, timer.as_mut());
        let mut reader = AnswerReader::new("m".to_owned(), 1, 1 << 20);
        let mut signals = Signals::new();
        let asked = progress.asked;
        let mut said = |progress: &mut Progress<'_>, bytes: &str| {
            signals.clear();
            reader.feed(bytes.as_bytes(), &mut signals).expect("no fault");
            progress.note(&signals, &reader);
            (progress.phase, progress.due - Instant::now())
        };
        assert_eq!((progress.phase, progress.due), (Phase::Head, asked + head));
        tokio::time::advance(Duration::from_secs(5)).await;
        progress.head();
        assert_eq!((progress.phase, progress.due), (Phase::FirstToken, asked + first_token));

        // A byte is not progress, a token is.
        let left = Duration::from_secs(95);
        let role = r#"data: {"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
        for no_token in [": ping\n\n", role, "\n\n", "data: {\"choices\":[],\"usage\":{}}\n\n"] {
            assert_eq!(said(&mut progress, no_token), (Phase::FirstToken, left), "{no_token}");
        }
        let token = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        assert_eq!(said(&mut progress, token), (Phase::NextToken, idle));
        tokio::time::advance(Duration::from_secs(15)).await;
        assert_eq!(said(&mut progress, ": ping\n\n"), (Phase::NextToken, Duration::from_secs(5)));
        assert_eq!(said(&mut progress, token), (Phase::NextToken, idle));
        let finish = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n";
        assert_eq!(said(&mut progress, finish), (Phase::NextToken, idle));
        let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n";
        assert_eq!(said(&mut progress, usage), (Phase::NextToken, FINISH_PATIENCE));
    }
}
