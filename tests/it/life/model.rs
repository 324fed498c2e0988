//! A simple model of a generation: the state and the outcome that are expected.

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
            Event::Start(_) | Event::Chunk(_) | Event::Restart(_) => None,
            Event::Done(_) => Some(Self::Done),
            Event::Cancelled(cancelled) => Some(match cancelled.reason {
                CancelReason::ClientRequest => Self::Stopped,
                CancelReason::Abandoned => Self::Abandoned,
            }),
            Event::Failed(failed) => Some(Self::Failed(failed.failure.code)),
        }
    }
}

/// The expected state of one generation.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one generation")]
pub struct Model {
    pub on_disconnect: OnDisconnect,
    pub grace: Duration,
    pub storage: Storage,
    pub deadline: Instant,
    /// Number of tokens that the upstream has sent.
    pub said: usize,
    /// Whether the upstream has sent its last signal or has closed.
    pub silent: bool,
    pub viewers: usize,
    pub empty_since: Instant,
    /// Outcomes that may win, because the cause of each has occurred.
    pub possible: Vec<Outcome>,
    /// Whether one of them must have won as soon as all tasks are idle.
    pub must_end: bool,
    pub ended: Option<Outcome>,
    /// The earliest and the latest time at which it can have ended.
    pub ended_between: Option<(Instant, Instant)>,
    /// All viewers had left when it had ended or might have ended: a log with `Storage::UntilRead` is being removed.
    pub may_be_removed: bool,
    /// An erasure of the record has been requested.
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

    /// Adds the outcomes that are due at `now`. Every task may have read the clock.
    pub fn clock(&mut self, now: Instant) {
        if now >= self.deadline {
            self.must_end(Outcome::Failed(FailureCode::DeadlineExceeded));
        }
        if self.on_disconnect == OnDisconnect::Cancel && self.viewers == 0 && now >= self.empty_since + self.grace {
            // Not certain: a viewer may attach at the same moment, and the first task that runs decides.
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
            self.may_be_removed |= self.ended.is_some() || !self.possible.is_empty();
        }
    }
}
