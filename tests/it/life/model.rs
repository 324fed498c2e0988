//! What should come of a generation, as simply as it can be said.

use std::time::Duration;

use tokenrill::domain::{CancelReason, Event, FailureCode};
use tokenrill::generation::{OnDisconnect, Storage};
use tokio::time::Instant;

/// How a generation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Stopped,
    Abandoned,
    Failed(FailureCode),
}

impl Outcome {
    pub fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Start(_) | Event::Chunk(_) => None,
            Event::Done(_) => Some(Self::Done),
            Event::Cancelled(cancelled) => Some(match cancelled.reason {
                CancelReason::ClientRequest => Self::Stopped,
                CancelReason::Abandoned => Self::Abandoned,
            }),
            Event::Failed(failed) => Some(Self::Failed(failed.failure.code)),
        }
    }
}

/// One generation.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "what has happened and what has not, each by itself")]
pub struct Model {
    pub on_disconnect: OnDisconnect,
    pub grace: Duration,
    pub storage: Storage,
    pub deadline: Instant,
    /// Tokens that the upstream has said.
    pub said: usize,
    /// Whether the upstream has said its last.
    pub silent: bool,
    pub viewers: usize,
    pub empty_since: Instant,
    /// Endings that may win: the cause of each is there.
    pub possible: Vec<Outcome>,
    /// Whether one of them must have won once all has come to rest.
    pub must_end: bool,
    pub ended: Option<Outcome>,
    /// Between which moments.
    pub ended_between: Option<(Instant, Instant)>,
    /// All viewers had left when it had ended, or might have: a record that is not to be kept is going.
    pub let_go: bool,
    /// The record is gone by a wish or because nobody is to read it again.
    pub erased: bool,
}

impl Model {
    pub fn may_end(&mut self, outcome: Outcome) {
        if self.ended.is_none() && !self.possible.contains(&outcome) {
            self.possible.push(outcome);
        }
    }

    pub fn must_end(&mut self, outcome: Outcome) {
        if self.ended.is_none() {
            self.may_end(outcome);
            self.must_end = true;
        }
    }

    /// The clock stands at `now`, and everybody could look at it.
    pub fn clock(&mut self, now: Instant) {
        if now >= self.deadline {
            self.must_end(Outcome::Failed(FailureCode::DeadlineExceeded));
        }
        if self.on_disconnect == OnDisconnect::Cancel && self.viewers == 0 && now >= self.empty_since + self.grace {
            // Certain only where nobody comes in the same moment: whoever looks first decides.
            self.may_end(Outcome::Abandoned);
        }
    }

    pub fn is_abandoned(&self, now: Instant) -> bool {
        self.on_disconnect == OnDisconnect::Cancel && self.viewers == 0 && now >= self.empty_since + self.grace
    }

    pub fn leave(&mut self, now: Instant) {
        self.viewers -= 1;
        if self.viewers == 0 {
            self.empty_since = now;
            self.let_go |= self.ended.is_some() || !self.possible.is_empty();
        }
    }
}
