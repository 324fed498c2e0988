//! The order in which the targets and keys of one request are tried.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::attempt_lease::AttemptLease;
use super::plan::{Plan, PlannedTarget, Target};
use super::policy::{FailureVerdict, HedgeBudget, LONGEST_WAIT, NextStep, full_jitter};
use super::upstream_server::BreakerPass;
use crate::domain::FallbackClass;

/// What is left to try for one request.
#[derive(Debug)]
pub struct Course {
    /// In order of preference.
    candidates: Vec<Candidate>,
    fallback_on: Arc<[FallbackClass]>,
    attempts: usize,
    /// The candidate whose answer was committed last.
    committed: Option<usize>,
    /// The longest time until the first token of a chain of targets.
    first_token: Option<Duration>,
    /// The end of the generation.
    end: Instant,
    /// No attempt but the first begins after this.
    deadline: Instant,
}

/// A target with one key.
#[derive(Debug)]
struct Candidate {
    target: Target,
    /// Its place in the plan, which all keys of the target share.
    place: usize,
    key: usize,
    retries: u32,
    state: CandidateState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CandidateState {
    Untried,
    InProgress,
    /// May be tried again at this time.
    Again(Instant),
    /// May be tried at this time, if there is nothing else to try.
    LastResort(Instant),
    /// Untried, because its breaker is open or it rests for long.
    Skipped,
    Finished,
}

/// Why an attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptReason {
    First,
    /// The same target with the same key.
    Retry,
    /// The same target with another key.
    OtherKey,
    /// Another target.
    Fallback,
    /// Another target or key, beside an attempt that is slow.
    Hedge,
}

/// The number of an attempt of a request: from 1, in the order in which they began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptNumber(usize);

/// The next attempt.
#[derive(Debug)]
pub struct NextAttempt {
    candidate: usize,
    pub number: AttemptNumber,
    pub target: Target,
    pub key: usize,
    pub reason: AttemptReason,
    pub lease: AttemptLease,
}

/// What a request does next.
#[derive(Debug)]
pub enum CourseStep {
    Attempt(NextAttempt),
    /// Asks again at this time.
    Wait(Instant),
    /// Nothing is left to try.
    End,
}

impl Course {
    /// `end` is that of the generation. A chain of targets takes no longer until its first token than the slowest
    /// of its upstreams may.
    pub fn new(plan: Plan, end: Instant, now: Instant) -> Self {
        let Plan { first, others, fallback_on, .. } = plan;
        let targets: Vec<_> = std::iter::once(first).chain(others).collect();
        let first_token = targets.iter().map(|planned| planned.target.server().terms().first_token).max();
        let candidates = targets.into_iter().enumerate().flat_map(|(place, planned)| {
            let PlannedTarget { target, keys } = planned;
            keys.into_iter().map(move |key| Candidate::new(target.clone(), place, key))
        });
        let candidates = candidates.collect();
        let deadline = first_token_deadline(first_token, end, now);
        Self { candidates, fallback_on, attempts: 0, committed: None, first_token, end, deadline }
    }

    /// Returns the time after which no attempt begins.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    pub const fn attempts(&self) -> usize {
        self.attempts
    }

    /// Returns whether another target could be tried now instead of this one.
    pub fn has_other_target(&self, attempt: &NextAttempt, now: Instant) -> bool {
        let place = self.candidates.get(attempt.candidate).map(|candidate| candidate.place);
        let mut others = self.candidates.iter().filter(|other| Some(other.place) != place);
        others.any(|other| other.state == CandidateState::Untried && other.would_admit(now))
    }

    /// Chooses the next attempt. The caller makes it, and records its failure.
    pub fn next(&mut self, now: Instant) -> CourseStep {
        if self.attempts > 0 && now >= self.deadline {
            return CourseStep::End;
        }
        for at in 0..self.candidates.len() {
            let Some(candidate) = self.candidates.get_mut(at) else { break };
            match candidate.state {
                CandidateState::Untried => match candidate.admit(now) {
                    Some(lease) => {
                        candidate.target.server().record_call(now);
                        return self.attempt(at, lease);
                    }
                    None => candidate.skip(now),
                },
                CandidateState::Again(time) if time > now => {
                    if self.can_wait_until(time, now) {
                        return CourseStep::Wait(time);
                    }
                    self.finish(at);
                }
                CandidateState::Again(_) if candidate.tried() => match candidate.retry(now) {
                    Some(lease) => return self.attempt(at, lease),
                    None => self.finish(at),
                },
                // Its rest has ended.
                CandidateState::Again(_) => {
                    candidate.state = CandidateState::Untried;
                    return self.next(now);
                }
                CandidateState::InProgress
                | CandidateState::LastResort(_)
                | CandidateState::Skipped
                | CandidateState::Finished => {}
            }
        }
        self.last_resort(now)
    }

    /// Chooses the candidate with the shortest wait. Without one, asks a target that was not asked yet all the same: it may
    /// have recovered, and its own refusal is a better answer than ours.
    fn last_resort(&mut self, now: Instant) -> CourseStep {
        let waits = self.candidates.iter().enumerate().filter_map(|(at, candidate)| match candidate.state {
            CandidateState::LastResort(time) => Some((time, at)),
            _ => None,
        });
        if let Some((time, at)) = waits.min().filter(|(time, _)| self.can_wait_until(*time, now)) {
            if let Some(candidate) = self.candidates.get_mut(at) {
                candidate.state = CandidateState::Again(time);
            }
            return self.next(now);
        }
        let is_untried = |place: usize| !self.candidates.iter().any(|other| other.place == place && other.tried());
        let mut left = self.candidates.iter().enumerate().filter(|(_, candidate)| {
            matches!(candidate.state, CandidateState::Skipped | CandidateState::LastResort(_))
                && is_untried(candidate.place)
        });
        let Some((at, candidate)) = left.next() else { return CourseStep::End };
        candidate.target.server().record_call(now);
        let lease = candidate.lease(candidate.target.server().force(candidate.target.model(), now));
        self.attempt(at, lease)
    }

    fn can_wait_until(&self, time: Instant, now: Instant) -> bool {
        time < self.deadline && time.saturating_duration_since(now) <= LONGEST_WAIT
    }

    fn attempt(&mut self, at: usize, lease: AttemptLease) -> CourseStep {
        let Some(candidate) = self.candidates.get(at) else { return CourseStep::End };
        let is_tried = |other: &&Candidate| other.place == candidate.place && other.tried();
        let reason = if self.attempts == 0 {
            AttemptReason::First
        } else if candidate.tried() {
            AttemptReason::Retry
        } else if self.candidates.iter().any(|other| is_tried(&other)) {
            AttemptReason::OtherKey
        } else {
            AttemptReason::Fallback
        };
        self.begin(at, reason, lease).map_or(CourseStep::End, CourseStep::Attempt)
    }

    fn begin(&mut self, at: usize, reason: AttemptReason, lease: AttemptLease) -> Option<NextAttempt> {
        let candidate = self.candidates.get_mut(at)?;
        candidate.state = CandidateState::InProgress;
        self.attempts += 1;
        let (number, target, key) = (AttemptNumber::new(self.attempts), candidate.target.clone(), candidate.key);
        Some(NextAttempt { candidate: at, number, target, key, reason, lease })
    }

    /// Chooses an attempt to make beside a slow one: at another target, else with another key. Returns `None` if none is
    /// left that was not tried, or the budget has no hedge left.
    pub fn hedge(&mut self, slow: &NextAttempt, budget: &HedgeBudget, now: Instant) -> Option<NextAttempt> {
        let place = self.candidates.get(slow.candidate)?.place;
        let candidates = self.candidates.iter().enumerate();
        let free = candidates.filter(|(_, other)| other.state == CandidateState::Untried && other.would_admit(now));
        let (at, candidate) = free.min_by_key(|(at, other)| (other.place == place, *at))?;
        budget.withdraw()?;
        let lease = candidate.admit(now)?;
        candidate.target.server().record_call(now);
        self.begin(at, AttemptReason::Hedge, lease)
    }

    /// Records that the other of two attempts had its first token earlier. It did not fail, so its target may be tried again.
    pub fn replace(&mut self, attempt: NextAttempt) {
        let NextAttempt { candidate: at, reason, mut lease, .. } = attempt;
        // A hedge had less time than usual.
        if reason != AttemptReason::Hedge {
            lease.record_replaced();
        }
        if let Some(candidate) = self.candidates.get_mut(at) {
            candidate.state = if candidate.tried() { CandidateState::Finished } else { CandidateState::Untried };
        }
    }

    /// Records that no other attempt replaces this one while its answer lasts.
    pub fn commit(&mut self, attempt: NextAttempt) -> AttemptLease {
        let NextAttempt { candidate: at, lease, .. } = attempt;
        if let Some(candidate) = self.candidates.get_mut(at) {
            candidate.state = CandidateState::Finished;
            candidate.retries = candidate.retries.saturating_add(1);
        }
        self.committed = Some(at);
        lease
    }

    /// Records that the committed answer broke after its first token. Its target is not tried again: it may be billed
    /// for the answer, whatever the key. The others have as long until their first token as at the beginning.
    pub fn record_break(&mut self, verdict: &FailureVerdict, now: Instant) {
        match (verdict.next, self.committed.take()) {
            (NextStep::OtherTargetIf(class), _) if !self.fallback_on.contains(&class) => self.finish_all(),
            (_, Some(at)) => self.finish(at),
            (_, None) => {}
        }
        self.deadline = first_token_deadline(self.first_token, self.end, now);
    }

    /// Records that an attempt failed before its first token.
    pub fn record_failure(&mut self, attempt: NextAttempt, verdict: &FailureVerdict, now: Instant) {
        let NextAttempt { candidate: at, mut lease, .. } = attempt;
        lease.record_failure(verdict, now);
        drop(lease);
        let Some(candidate) = self.candidates.get_mut(at) else { return };
        candidate.state = CandidateState::Finished;
        let retries = candidate.retries;
        let can_repeat = retries < candidate.target.server().terms().max_retries;
        candidate.retries = retries.saturating_add(1);
        let backoff = || now + full_jitter(retries, fastrand::f64());
        match verdict.next {
            NextStep::SameKey { wait } => {
                let state = wait.map_or_else(|| CandidateState::Again(backoff()), |wait| at_last(now, wait));
                self.finish(at);
                self.repeat(at, state, can_repeat);
            }
            NextStep::OtherKey { wait } => self.repeat(at, at_last(now, wait), can_repeat),
            NextStep::OtherKeyOnly => {}
            NextStep::OtherTarget => self.finish(at),
            NextStep::OtherTargetIf(class) if self.fallback_on.contains(&class) => self.finish(at),
            NextStep::OtherTargetIf(_) => self.finish_all(),
        }
    }

    fn repeat(&mut self, at: usize, state: CandidateState, can_repeat: bool) {
        if let Some(candidate) = self.candidates.get_mut(at).filter(|_| can_repeat) {
            candidate.state = state;
        }
    }

    fn finish_all(&mut self) {
        for candidate in &mut self.candidates {
            candidate.state = CandidateState::Finished;
        }
    }

    /// Finishes all keys of this candidate's target.
    fn finish(&mut self, at: usize) {
        let Some(place) = self.candidates.get(at).map(|candidate| candidate.place) else { return };
        for candidate in self.candidates.iter_mut().filter(|candidate| candidate.place == place) {
            candidate.state = CandidateState::Finished;
        }
    }
}

fn first_token_deadline(first_token: Option<Duration>, end: Instant, now: Instant) -> Instant {
    first_token.and_then(|time| now.checked_add(time)).map_or(end, |deadline| deadline.min(end))
}

fn at_last(now: Instant, wait: Duration) -> CandidateState {
    now.checked_add(wait).map_or(CandidateState::Finished, CandidateState::LastResort)
}

impl Candidate {
    const fn new(target: Target, place: usize, key: usize) -> Self {
        Self { target, place, key, retries: 0, state: CandidateState::Untried }
    }

    const fn tried(&self) -> bool {
        self.retries > 0
    }

    /// Leaves it for later: until its rest has ended, or as the last resort.
    fn skip(&mut self, now: Instant) {
        let rest = self.target.server().rest(self.target.model(), self.key, now);
        self.state = if rest.is_zero() || rest > LONGEST_WAIT {
            CandidateState::Skipped
        } else {
            CandidateState::LastResort(now + rest)
        };
    }

    fn would_admit(&self, now: Instant) -> bool {
        self.target.server().would_admit(self.target.model(), self.key, now)
    }

    fn admit(&self, now: Instant) -> Option<AttemptLease> {
        self.target.server().admit(self.target.model(), self.key, now).map(|pass| self.lease(pass))
    }

    fn lease(&self, pass: BreakerPass) -> AttemptLease {
        AttemptLease::new(Arc::clone(self.target.server()), Arc::clone(self.target.model()), self.key, pass)
    }

    fn retry(&self, now: Instant) -> Option<AttemptLease> {
        let lease = self.admit(now)?;
        self.target.server().take_retry(now).map(|()| lease)
    }
}

impl AttemptNumber {
    pub const fn new(number: usize) -> Self {
        Self(number)
    }

    pub const fn get(self) -> usize {
        self.0
    }
}

impl AttemptReason {
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Retry => "retry",
            Self::OtherKey => "other_key",
            Self::Fallback => "fallback",
            Self::Hedge => "hedge",
        }
    }
}
