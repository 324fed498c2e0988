//! The loop that makes the attempts of a request.
//!
//! ```text
//!   course ──attempt──▶ first token ──▶ committed: the attempt's stream is passed on as it is
//!      ▲            │
//!      │            └─ failed before it ──▶ FailureVerdict ──▶ nothing left: the failure is passed on
//!      └──── another key, target, or a wait ◀──┘
//! ```
//!
//! Nothing below this loop decides about another attempt. What an attempt delivers before its first token is held back,
//! because another attempt could replace it. If a committed answer breaks, its reader decides whether another target
//! begins anew.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use smallvec::SmallVec;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::attempt_lease::AttemptLease;
use super::course::{AttemptNumber, AttemptReason, Course, CourseStep, NextAttempt};
use super::first_token::{FailedAttempt, FirstTokenResult, first_token};
use super::plan::{HedgePolicy, Plan, Target};
use super::policy::FailureVerdict;
use super::{Answer, AttemptError, AttemptTerms, Delivery, SentMark, Signals};
use crate::domain::{ChatRequest, HedgeDelay};

/// A request with the targets that it may be sent to.
#[derive(Debug)]
pub struct PlannedRequest {
    pub plan: Plan,
    pub request: Arc<ChatRequest>,
    pub delivery: Delivery,
    /// No attempt but the first begins after this.
    pub deadline: Instant,
}

/// The answer of the attempt that no other attempt replaces.
pub struct CommittedAnswer {
    /// The signals that were held back, up to the read with the first token.
    pub held: Signals,
    /// The rest of the attempt's stream.
    pub answer: Answer,
    /// To be kept until the answer ends.
    pub lease: AttemptLease,
}

/// Records the attempts of a request as they are made.
pub trait AttemptObserver: Sync {
    /// An attempt begins. Each earlier one has ended, except the one beside which it is a hedge. The attempt sets `sent`,
    /// which stays readable when its stream is dropped.
    fn attempt_began(&self, number: AttemptNumber, target: &Target, sent: &SentMark, reason: AttemptReason);

    /// An attempt failed before its first token, and its stream was dropped.
    fn attempt_failed(&self, number: AttemptNumber, error: &AttemptError);

    /// The attempt beside this one had its first token earlier, and this one's stream was dropped.
    fn attempt_replaced(&self, number: AttemptNumber);
}

/// The attempts of one request: those that were made, and those that may follow.
///
/// Outlives a committed answer, so that another target can begin anew when the answer breaks. Keeps the request until it
/// is dropped.
#[derive(Debug)]
pub struct AttemptSeries {
    request: Arc<ChatRequest>,
    delivery: Delivery,
    /// The time until its first token of an attempt that another target could replace.
    first_token_time: Option<Duration>,
    hedge: Option<HedgePolicy>,
    course: Course,
}

/// An attempt whose first token is awaited.
struct BegunAttempt {
    attempt: NextAttempt,
    sent: SentMark,
}

/// Makes attempts at the targets of the plan until one delivers its first token, or none may follow.
///
/// Failures after the first token are not read here. Which attempt follows which failure: see `policy/next_step.rs` and
/// `course.rs`.
///
/// Cancel safe: dropping the future or the answer cancels the current attempt and starts none.
pub async fn carry_out(
    planned: PlannedRequest,
    observer: &impl AttemptObserver,
) -> Result<CommittedAnswer, FailedAttempt> {
    AttemptSeries::new(planned).next_answer(observer).await
}

impl AttemptSeries {
    pub fn new(planned: PlannedRequest) -> Self {
        let PlannedRequest { plan, request, delivery, deadline } = planned;
        let (first_token_time, hedge) = (plan.first_token, plan.hedge.clone());
        if let Some(hedge) = &hedge {
            hedge.budget.deposit();
        }
        Self { request, delivery, first_token_time, hedge, course: Course::new(plan, deadline, Instant::now()) }
    }

    /// Makes attempts until one delivers its first token, or none may follow: as [`carry_out`]. May be called again after
    /// [`AttemptSeries::record_break`].
    pub async fn next_answer(&mut self, observer: &impl AttemptObserver) -> Result<CommittedAnswer, FailedAttempt> {
        let mut last = None;
        loop {
            let attempt = match self.course.next(Instant::now()) {
                CourseStep::Attempt(attempt) => attempt,
                CourseStep::Wait(time) => {
                    sleep_until(time).await;
                    continue;
                }
                CourseStep::End => return Err(last.unwrap_or_else(FailedAttempt::not_made)),
            };
            let failed = match self.first_answer(attempt, observer).await {
                Ok(committed) => return Ok(committed),
                Err(failed) => failed,
            };
            last = Some(failed);
            // A stop or a deadline that is due must be seen by the caller of this future before the next attempt begins.
            yield_now().await;
        }
    }

    /// Makes one attempt, and a hedge beside it if it is slow. The first token of the two wins, and the other attempt's
    /// stream is dropped at once. Fails when both have failed.
    async fn first_answer(
        &mut self,
        attempt: NextAttempt,
        observer: &impl AttemptObserver,
    ) -> Result<CommittedAnswer, FailedAttempt> {
        let mut hedge_time = self.hedge_time(&attempt);
        let (mut begun, mut reads) = (SmallVec::<[BegunAttempt; 2]>::new(), FuturesUnordered::new());
        let (first, read) = self.begin(attempt, observer);
        begun.push(first);
        reads.push(read);
        loop {
            let (number, read) = tokio::select! {
                biased;
                Some(read) = reads.next() => read,
                () = sleep_until(hedge_time.unwrap_or_else(Instant::now)), if hedge_time.is_some() => {
                    hedge_time = None;
                    // As before each attempt: see `next_answer`.
                    yield_now().await;
                    if let Some(hedge) = begun.first().and_then(|begun| self.hedge(begun)) {
                        let (hedge, read) = self.begin(hedge, observer);
                        begun.push(hedge);
                        reads.push(read);
                    }
                    continue;
                }
            };
            let Some(at) = begun.iter().position(|begun| begun.attempt.number == number) else { continue };
            let BegunAttempt { attempt, sent } = begun.swap_remove(at);
            match read {
                Ok((held, answer)) => {
                    drop(reads);
                    for BegunAttempt { attempt, .. } in begun {
                        observer.attempt_replaced(attempt.number);
                        self.course.replace(attempt);
                    }
                    let mut lease = self.course.commit(attempt);
                    lease.record_first_token(sent.delivery());
                    return Ok(CommittedAnswer { held, answer, lease });
                }
                Err(failed) => {
                    observer.attempt_failed(number, &failed.error);
                    self.course.record_failure(attempt, &FailureVerdict::of(&failed.error), Instant::now());
                    if begun.is_empty() {
                        return Err(failed);
                    }
                }
            }
        }
    }

    /// Begins an attempt. The future reads its answer up to the first token.
    fn begin<O: AttemptObserver>(
        &self,
        attempt: NextAttempt,
        observer: &O,
    ) -> (BegunAttempt, impl Future<Output = (AttemptNumber, FirstTokenResult)> + Send + use<O>) {
        let terms = AttemptTerms::new(Arc::clone(attempt.target.model()), self.delivery);
        let (number, sent) = (attempt.number, terms.sent.clone());
        observer.attempt_began(number, &attempt.target, &sent, attempt.reason);
        let now = Instant::now();
        let own = self
            .first_token_time
            .filter(|_| self.course.has_other_target(&attempt, now))
            .and_then(|time| now.checked_add(time));
        let shared = (self.course.attempts() > 1).then(|| self.course.deadline());
        let answer = attempt.target.attempt(attempt.key, &self.request, terms);
        let (cut, mark) = (own.into_iter().chain(shared).min(), sent.clone());
        let read = async move { (number, first_token(answer, cut, &mark).await) };
        (BegunAttempt { attempt, sent }, read)
    }

    /// Returns when a hedge of this attempt begins. A whole answer has none: nothing shows that its model has begun.
    fn hedge_time(&self, attempt: &NextAttempt) -> Option<Instant> {
        let policy = self.hedge.as_ref().filter(|_| self.delivery == Delivery::Stream)?;
        let delay = match policy.delay {
            HedgeDelay::Fixed(time) => time,
            HedgeDelay::Percentile95 => attempt.target.server().usual_first_token(attempt.target.model())?,
        };
        Instant::now().checked_add(delay)
    }

    /// Chooses a hedge of this attempt, unless its upstream was asked for a whole answer after all.
    fn hedge(&mut self, slow: &BegunAttempt) -> Option<NextAttempt> {
        let policy = self.hedge.as_ref().filter(|_| slow.sent.delivery() == Delivery::Stream)?;
        self.course.hedge(&slow.attempt, &policy.budget, Instant::now())
    }

    /// Records that the committed answer broke after its first token. Only other targets may follow: the model may have
    /// been billed for the answer. None may if the request is at fault, unless the settings say so
    /// (`models.*.fallback_on`).
    pub fn record_break(&mut self, error: &AttemptError) {
        self.course.record_break(&FailureVerdict::of(error), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Mutex;

    use futures_util::{FutureExt, stream};
    use smallvec::smallvec;
    use tokio::time::sleep;

    use super::super::first_token::{MAX_HELD_BYTES, held_bytes};
    use super::super::scripted_provider::ScriptedProvider;
    use super::super::upstream_server::{RetryTerms, UpstreamServer};
    use super::super::{AttemptErrorKind, BreakerState, BreakerTerms, HedgeBudget, Phase, Provider, Sent, Signal};
    use super::*;
    use crate::domain::{Chunk, Escaped, FallbackClass, Part, Shape, Trailer};
    use crate::json::JsonObject;

    /// Records the calls of the loop, one word each.
    #[derive(Default)]
    struct RecordedCalls(Mutex<Vec<String>>);

    impl RecordedCalls {
        fn take(&self) -> Vec<String> {
            std::mem::take(&mut *self.0.lock().expect("a lock"))
        }
    }

    impl AttemptObserver for RecordedCalls {
        fn attempt_began(&self, _: AttemptNumber, target: &Target, _: &SentMark, reason: AttemptReason) {
            let mut calls = self.0.lock().expect("a lock");
            calls.push(format!("{}: {target:?}", reason.name()));
        }

        fn attempt_failed(&self, _: AttemptNumber, error: &AttemptError) {
            self.0.lock().expect("a lock").push(format!("failed: {:?}", error.sent));
        }

        fn attempt_replaced(&self, number: AttemptNumber) {
            self.0.lock().expect("a lock").push(format!("replaced: {}", number.get()));
        }
    }

    fn chunk(part: Part, text: &str) -> Signal {
        Signal::Chunk(Chunk::new(Arc::new(Shape::new(None, part)), Escaped::from_text(text)))
    }

    fn text(text: &str) -> Signal {
        chunk(Part::Text { choice: 0, logprobs_json: None }, text)
    }

    /// A chunk with a role and an empty delta.
    fn role() -> Signal {
        chunk(Part::Silent, "")
    }

    fn end() -> Signal {
        Signal::End { trailer: Trailer::default() }
    }

    fn unsent() -> AttemptError {
        AttemptError::new(AttemptErrorKind::Unreachable { cause: "connection refused".into() }, Sent::No)
    }

    fn refused(status: u16) -> AttemptError {
        AttemptError::in_response(AttemptErrorKind::Refused { status, retry_after: None, report: None })
    }

    fn disconnected() -> AttemptError {
        AttemptError::new(AttemptErrorKind::Disconnected { cause: "closed before a response".into() }, Sent::Maybe)
    }

    type Read = Result<Signals, AttemptError>;

    fn answer(reads: impl IntoIterator<Item = Read>) -> Answer {
        stream::iter(reads.into_iter().collect::<Vec<_>>()).boxed()
    }

    fn whole(word: &str) -> Answer {
        answer([Ok(smallvec![role()]), Ok(smallvec![text(word)]), Ok(smallvec![end()])])
    }

    fn failing(error: AttemptError) -> Answer {
        answer([Ok(smallvec![role()]), Err(error)])
    }

    fn silent() -> Answer {
        stream::once(pending()).boxed()
    }

    /// A plan with these targets, each asked once.
    fn planned(targets: &[&Arc<ScriptedProvider>]) -> PlannedRequest {
        planned_with(targets.iter().map(|provider| Target::single(Arc::clone(provider) as _, "m")))
    }

    fn planned_with(targets: impl IntoIterator<Item = Target>) -> PlannedRequest {
        let mut targets = targets.into_iter();
        let first = targets.next().expect("a target");
        PlannedRequest {
            plan: Plan::of("m", first, targets),
            request: Arc::new(ChatRequest::new("m".into(), JsonObject::default())),
            delivery: Delivery::Stream,
            deadline: Instant::now() + Duration::from_mins(1),
        }
    }

    /// A target whose upstream has a key for each provider and the default retries.
    fn retried(keys: &[&Arc<ScriptedProvider>]) -> Target {
        let mut keys = keys.iter().map(|provider| Arc::clone(provider) as Arc<dyn Provider>);
        let first = keys.next().expect("a key");
        Target::new(UpstreamServer::new(first, keys.collect(), RetryTerms::default()), "m")
    }

    /// The held signals, and the reads after them or the error.
    type CarriedOut = (Vec<Signal>, Vec<Read>);

    async fn carried_out(planned: PlannedRequest, calls: &RecordedCalls) -> CarriedOut {
        match carry_out(planned, calls).await {
            Ok(CommittedAnswer { held, answer, .. }) => (held.into_vec(), answer.collect().await),
            Err(FailedAttempt { held, error }) => (held.into_vec(), vec![Err(error)]),
        }
    }

    /// What a whole answer of `word` is after it was carried out.
    fn whole_of(word: &str) -> CarriedOut {
        (vec![role(), text(word)], vec![Ok(smallvec![end()])])
    }

    #[tokio::test]
    async fn only_target_is_held_back_up_to_its_first_token() {
        for last in [Ok(smallvec![end()]), Err(disconnected())] {
            let reads = [Ok(smallvec![role()]), Ok(smallvec![text("a"), text("b")]), last.clone()];
            let (a, calls) = (ScriptedProvider::new("a", [answer(reads)]), RecordedCalls::default());
            let (held, passed_on) = carried_out(planned(&[&a]), &calls).await;
            assert_eq!((held, passed_on), (vec![role(), text("a"), text("b")], vec![last]));
            assert_eq!(calls.take(), ["first: a/m"]);
        }
    }

    fn broken(word: &str) -> Answer {
        answer([Ok(smallvec![text(word)]), Err(disconnected())])
    }

    #[tokio::test]
    async fn another_target_begins_anew_after_an_answer_broke() {
        let (a, other_key) = (ScriptedProvider::new("a", [broken("a")]), ScriptedProvider::new("a", [whole("a")]));
        let (b, c) = (ScriptedProvider::new("b", [failing(unsent())]), ScriptedProvider::new("c", [whole("c")]));
        let single = |provider: &Arc<ScriptedProvider>| Target::single(Arc::clone(provider) as _, "m");
        let targets = [retried(&[&a, &other_key]), single(&b), single(&c)];
        let (mut series, calls) = (AttemptSeries::new(planned_with(targets)), RecordedCalls::default());
        let first = series.next_answer(&calls).await.expect("an answer");
        assert_eq!(first.held.into_vec(), [text("a")]);
        series.record_break(&disconnected());
        let second = series.next_answer(&calls).await.expect("an answer");
        assert_eq!(second.held.into_vec(), [role(), text("c")]);
        assert_eq!(calls.take(), ["first: a/m", "fallback: b/m", "failed: No", "fallback: c/m"]);
        assert_eq!((a.remaining(), other_key.remaining()), (0, 1), "the target that broke is not asked again");
        series.record_break(&disconnected());
        assert!(series.next_answer(&calls).await.is_err(), "no target is left");
        assert_eq!(calls.take(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn no_target_follows_an_answer_that_broke_by_a_fault_of_the_request() {
        let (a, b) = (ScriptedProvider::new("a", [broken("a")]), ScriptedProvider::new("b", [whole("b")]));
        let (mut series, calls) = (AttemptSeries::new(planned(&[&a, &b])), RecordedCalls::default());
        series.next_answer(&calls).await.expect("an answer");
        series.record_break(&refused(400));
        assert!(series.next_answer(&calls).await.is_err());
        assert_eq!(b.remaining(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn target_after_a_broken_answer_has_its_whole_time_for_the_first_token() {
        let (a, b) = (ScriptedProvider::new("a", [broken("a")]), ScriptedProvider::new("b", [silent()]));
        let terms = RetryTerms { first_token: Duration::from_secs(5), ..RetryTerms::default() };
        let target = |provider: &Arc<ScriptedProvider>| {
            Target::new(UpstreamServer::new(Arc::clone(provider) as _, Vec::new(), terms), "m")
        };
        let (mut series, calls) =
            (AttemptSeries::new(planned_with([target(&a), target(&b)])), RecordedCalls::default());
        series.next_answer(&calls).await.expect("an answer");
        sleep(Duration::from_secs(20)).await;
        series.record_break(&disconnected());
        let began = Instant::now();
        let failed = series.next_answer(&calls).await.err().expect("a failure");
        assert_eq!(failed.error.kind, AttemptErrorKind::Timeout(Phase::FirstToken));
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test]
    async fn second_target_answers_if_the_first_fails_before_its_first_token() {
        for (error, sent) in [
            (unsent(), "failed: No"),
            (refused(503), "failed: Yes"),
            (refused(401), "failed: Yes"),
            (refused(429), "failed: Yes"),
            (disconnected(), "failed: Maybe"),
        ] {
            let (a, b) = (ScriptedProvider::new("a", [failing(error)]), ScriptedProvider::new("b", [whole("b")]));
            let calls = RecordedCalls::default();
            let carried = carried_out(planned(&[&a, &b]), &calls).await;
            assert_eq!(carried, whole_of("b"), "nothing of the first target is delivered");
            assert_eq!(calls.take(), ["first: a/m", sent, "fallback: b/m"]);
            assert_eq!((a.open(), b.open()), (0, 0));
        }
    }

    #[tokio::test]
    async fn held_signals_precede_the_rest_of_the_answer_in_order() {
        let usage = || Signal::Usage(crate::domain::UsageReport::default());
        let reads = [
            Ok(smallvec![role()]),
            Ok(smallvec![usage()]),
            Ok(smallvec![role(), text("a")]),
            Ok(smallvec![text("b")]),
            Ok(smallvec![end()]),
        ];
        let (a, b) = (ScriptedProvider::new("a", [answer(reads)]), ScriptedProvider::new("b", [silent()]));
        let (held, passed_on) = carried_out(planned(&[&a, &b]), &RecordedCalls::default()).await;
        assert_eq!(held, [role(), usage(), role(), text("a")]);
        assert_eq!(passed_on, [Ok(smallvec![text("b")]), Ok(smallvec![end()])]);
        assert_eq!(b.remaining(), 1);
    }

    #[tokio::test]
    async fn failure_after_the_first_token_is_passed_on() {
        let reads = [Ok(smallvec![text("a")]), Err(refused(503))];
        let (a, b) = (ScriptedProvider::new("a", [answer(reads)]), ScriptedProvider::new("b", [whole("b")]));
        let calls = RecordedCalls::default();
        let carried = carried_out(planned(&[&a, &b]), &calls).await;
        assert_eq!(carried, (vec![text("a")], vec![Err(refused(503))]));
        assert_eq!((calls.take(), b.remaining()), (vec!["first: a/m".to_owned()], 1));
    }

    #[tokio::test]
    async fn end_of_an_answer_without_a_token_is_not_replaced() {
        let (a, b) =
            (ScriptedProvider::new("a", [answer([Ok(smallvec![end()])])]), ScriptedProvider::new("b", [whole("b")]));
        let carried = carried_out(planned(&[&a, &b]), &RecordedCalls::default()).await;
        assert_eq!((carried, b.remaining()), ((vec![end()], Vec::new()), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn failure_that_may_have_been_billed_is_not_repeated_on_the_same_target() {
        let a = ScriptedProvider::new("a", [failing(disconnected()), whole("a")]);
        let b = ScriptedProvider::new("b", [whole("b")]);
        let calls = RecordedCalls::default();
        let carried = carried_out(planned_with([retried(&[&a, &a]), retried(&[&b])]), &calls).await;
        assert_eq!((carried, a.remaining()), (whole_of("b"), 1));
        let carried = carried_out(planned_with([retried(&[&a])]), &calls).await;
        assert_eq!(carried, whole_of("a"));

        let only = ScriptedProvider::new("a", [failing(disconnected()), whole("a")]);
        let carried = carried_out(planned_with([retried(&[&only])]), &calls).await;
        assert_eq!(carried, (vec![role()], vec![Err(disconnected())]));
    }

    #[tokio::test(start_paused = true)]
    async fn failure_that_was_not_billed_is_repeated_twice_before_the_next_target() {
        let a = ScriptedProvider::new("a", [failing(unsent()), failing(refused(500)), failing(refused(503))]);
        let (b, calls) = (ScriptedProvider::new("b", [whole("b")]), RecordedCalls::default());
        let began = Instant::now();
        let carried = carried_out(planned_with([retried(&[&a]), retried(&[&b])]), &calls).await;
        assert_eq!(carried, whole_of("b"));
        let expected = "first: a/m, failed: No, retry: a/m, failed: Yes, retry: a/m, failed: Yes, fallback: b/m";
        assert_eq!(calls.take().join(", "), expected);
        assert!(began.elapsed() <= Duration::from_millis(500 + 1_000), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn refused_or_limited_key_is_replaced_at_once_by_the_next_key() {
        for status in [401, 402, 403, 429] {
            let one = ScriptedProvider::new("a", [failing(refused(status))]);
            let (other, calls) = (ScriptedProvider::new("a", [whole("a"), whole("a")]), RecordedCalls::default());
            let (target, began) = (retried(&[&one, &other]), Instant::now());
            assert_eq!(carried_out(planned_with([target.clone()]), &calls).await, whole_of("a"));
            assert_eq!(calls.take(), ["first: a/m", "failed: Yes", "other_key: a/m"]);
            assert_eq!(began.elapsed(), Duration::ZERO);
            // The key rests.
            assert_eq!(carried_out(planned_with([target.clone()]), &calls).await, whole_of("a"));
            assert_eq!(calls.take(), ["first: a/m"]);
            // A rate is of one model; credentials and quota are of the key.
            let rest = target.server().rest(&Arc::from("other"), 0, Instant::now());
            assert_eq!(rest.is_zero(), status == 429);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn limited_key_is_repeated_after_the_wait_if_nothing_else_is_left_and_the_wait_is_short() {
        let limited = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            failing(AttemptError::in_response(AttemptErrorKind::Refused { status: 429, retry_after, report: None }))
        };
        for (seconds, calls_made) in [(7, 2), (11, 1)] {
            let (a, calls) = (ScriptedProvider::new("a", [limited(seconds), whole("a")]), RecordedCalls::default());
            let began = Instant::now();
            carried_out(planned_with([retried(&[&a])]), &calls).await;
            assert_eq!(2 - a.remaining(), calls_made);
            assert_eq!(began.elapsed().as_secs(), if calls_made == 2 { seconds } else { 0 });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn request_begins_no_attempt_after_the_slowest_first_token_of_its_upstreams() {
        let terms = RetryTerms { first_token: Duration::from_secs(5), max_retries: 0, ..RetryTerms::default() };
        let target = |provider: &Arc<ScriptedProvider>| {
            Target::new(UpstreamServer::new(Arc::clone(provider) as _, Vec::new(), terms), "m")
        };
        let (a, b) = (ScriptedProvider::new("a", [silent()]), ScriptedProvider::new("b", [silent()]));
        let c = ScriptedProvider::new("c", [whole("c")]);
        let mut planned = planned_with([&a, &b, &c].map(target));
        planned.plan.first_token = Some(Duration::from_secs(3));
        let began = Instant::now();
        let carried = carried_out(planned, &RecordedCalls::default()).await;
        let timeout = AttemptError::new(AttemptErrorKind::Timeout(Phase::FirstToken), Sent::No);
        assert_eq!(carried, (Vec::new(), vec![Err(timeout)]));
        assert_eq!((began.elapsed(), a.open(), b.open(), c.remaining()), (Duration::from_secs(5), 0, 0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn silent_target_is_replaced_after_the_time_of_the_plan_and_the_last_one_is_not() {
        let late = stream::once(async {
            sleep(Duration::from_secs(30)).await;
            Ok(smallvec![text("b")])
        });
        let (a, b) = (ScriptedProvider::new("a", [silent()]), ScriptedProvider::new("b", [late.boxed()]));
        let mut planned = planned(&[&a, &b]);
        planned.plan.first_token = Some(Duration::from_secs(3));
        let began = Instant::now();
        let carried = carried_out(planned, &RecordedCalls::default()).await;
        assert_eq!((carried, began.elapsed()), ((vec![text("b")], Vec::new()), Duration::from_secs(33)));
    }

    /// A target whose breaker is open.
    async fn broken_target(provider: &Arc<ScriptedProvider>) -> Target {
        let breaker = BreakerTerms { failures: 1, open: Duration::from_mins(1) };
        let terms = RetryTerms { max_retries: 0, breaker, ..RetryTerms::default() };
        let target = Target::new(UpstreamServer::new(Arc::clone(provider) as _, Vec::new(), terms), "m");
        carried_out(planned_with([target.clone()]), &RecordedCalls::default()).await;
        target
    }

    #[tokio::test(start_paused = true)]
    async fn target_is_not_cut_off_for_another_one_that_would_not_be_asked() {
        let late = stream::once(async {
            sleep(Duration::from_secs(30)).await;
            Ok(smallvec![text("a")])
        });
        let a = ScriptedProvider::new("a", [late.boxed()]);
        let b = broken_target(&ScriptedProvider::new("b", [failing(refused(500))])).await;
        let mut planned = planned_with([Target::single(Arc::clone(&a) as _, "m"), b]);
        planned.plan.first_token = Some(Duration::from_secs(3));
        let carried = carried_out(planned, &RecordedCalls::default()).await;
        assert_eq!(carried, (vec![text("a")], Vec::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn targets_whose_breakers_are_all_open_are_each_asked_once() {
        let a = ScriptedProvider::new("a", [failing(refused(500)), failing(refused(500))]);
        let b = ScriptedProvider::new("b", [failing(refused(500)), whole("b")]);
        let targets = [broken_target(&a).await, broken_target(&b).await];
        let calls = RecordedCalls::default();
        assert_eq!(carried_out(planned_with(targets), &calls).await, whole_of("b"));
        assert_eq!(calls.take().join(", "), "first: a/m, failed: Yes, fallback: b/m");
    }

    #[tokio::test(start_paused = true)]
    async fn request_waits_for_a_target_whose_rest_ends_soon() {
        let overloaded = |seconds| {
            let retry_after = Some(Duration::from_secs(seconds));
            failing(AttemptError::in_response(AttemptErrorKind::Refused { status: 503, retry_after, report: None }))
        };
        let a = ScriptedProvider::new("a", [overloaded(4), whole("a")]);
        let target = Target::single(Arc::clone(&a) as _, "m");
        carried_out(planned_with([target.clone()]), &RecordedCalls::default()).await;
        let b = ScriptedProvider::new("b", [failing(disconnected())]);
        let (began, calls) = (Instant::now(), RecordedCalls::default());
        let targets = [target, Target::single(Arc::clone(&b) as _, "m")];
        assert_eq!(carried_out(planned_with(targets), &calls).await, whole_of("a"));
        assert_eq!(calls.take().join(", "), "first: b/m, failed: Maybe, fallback: a/m");
        assert_eq!(began.elapsed(), Duration::from_secs(4));
    }

    #[tokio::test(start_paused = true)]
    async fn only_target_is_asked_at_once_if_its_rest_ends_too_late() {
        let retry_after = Some(Duration::from_secs(9));
        let limited = AttemptErrorKind::Refused { status: 429, retry_after, report: None };
        let a = ScriptedProvider::new("a", [failing(AttemptError::in_response(limited)), whole("a")]);
        let terms = RetryTerms { max_retries: 0, first_token: Duration::from_secs(5), ..RetryTerms::default() };
        let target = Target::new(UpstreamServer::new(Arc::clone(&a) as _, Vec::new(), terms), "m");
        carried_out(planned_with([target.clone()]), &RecordedCalls::default()).await;
        let began = Instant::now();
        assert_eq!(carried_out(planned_with([target]), &RecordedCalls::default()).await, whole_of("a"));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn fault_of_the_request_goes_to_another_target_only_if_the_plan_says_so() {
        for (fallback_on, remaining) in [(Vec::new(), 1), (vec![FallbackClass::Rejected], 0)] {
            let (a, b) =
                (ScriptedProvider::new("a", [failing(refused(400))]), ScriptedProvider::new("b", [whole("b")]));
            let mut planned = planned(&[&a, &b]);
            planned.plan.fallback_on = fallback_on.into();
            let carried = carried_out(planned, &RecordedCalls::default()).await;
            let refused = (vec![role()], vec![Err(refused(400))]);
            assert_eq!((carried, b.remaining()), (if remaining == 1 { refused } else { whole_of("b") }, remaining));
        }
    }

    #[tokio::test]
    async fn attempt_that_delivers_too_much_before_its_first_token_is_committed() {
        let endless = stream::repeat_with(|| Ok(smallvec![role()])).boxed();
        let (a, b) = (ScriptedProvider::new("a", [endless]), ScriptedProvider::new("b", [whole("b")]));
        let Ok(CommittedAnswer { held, .. }) = carry_out(planned(&[&a, &b]), &RecordedCalls::default()).await else {
            panic!("it is committed")
        };
        let bytes: usize = held.iter().map(held_bytes).sum();
        assert!((MAX_HELD_BYTES..2 * MAX_HELD_BYTES).contains(&bytes), "{bytes}");
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_cancels_the_current_attempt_or_wait_and_starts_none() {
        let calls = RecordedCalls::default();
        let b = ScriptedProvider::new("b", [whole("b")]);

        let a = ScriptedProvider::new("a", [silent()]);
        drop(carry_out(planned(&[&a, &b]), &calls));
        assert_eq!(a.remaining(), 1, "before the first attempt");

        let mut carrying = Box::pin(carry_out(planned(&[&a, &b]), &calls));
        assert!(carrying.as_mut().now_or_never().is_none());
        assert_eq!(a.open(), 1);
        drop(carrying);
        assert_eq!(a.open(), 0, "before its first token");

        let a = ScriptedProvider::new("a", [failing(unsent())]);
        let mut carrying = Box::pin(carry_out(planned(&[&a, &b]), &calls));
        assert!(carrying.as_mut().now_or_never().is_none());
        assert_eq!((a.remaining(), a.open()), (0, 0));
        drop(carrying);
        assert_eq!(b.remaining(), 1, "between two attempts");

        let a = ScriptedProvider::new("a", [failing(unsent()), whole("a")]);
        let mut carrying = Box::pin(carry_out(planned_with([retried(&[&a])]), &calls));
        for _ in 0..3 {
            assert!(carrying.as_mut().now_or_never().is_none());
        }
        drop(carrying);
        assert_eq!((a.remaining(), a.open()), (1, 0), "during a backoff");
    }

    /// 500 requests at once against a dead target: the retries are at most a fifth, and ten, the floor of 10 s.
    #[tokio::test(start_paused = true)]
    async fn retries_against_a_dead_target_stay_within_the_budget() {
        fastrand::seed(7);
        // Without a breaker, which would prevent most of them.
        let breaker = BreakerTerms { failures: u32::MAX, open: Duration::from_secs(15) };
        let terms = RetryTerms { breaker, ..RetryTerms::default() };
        let dead = ScriptedProvider::new("a", (0..2_000).map(|_| failing(unsent())));
        let target = Target::new(UpstreamServer::new(Arc::clone(&dead) as _, Vec::new(), terms), "m");
        let requests: Vec<_> = (0..500).map(|_| planned_with([target.clone()])).collect();
        let carried =
            requests.into_iter().map(|planned| async { carried_out(planned, &RecordedCalls::default()).await });
        futures_util::future::join_all(carried).await;
        let calls = 2_000 - dead.remaining();
        assert!((500..=610).contains(&calls), "{calls}");
    }

    /// Of 500 requests one after another, in which 5 % of the calls fail, at least 99.5 % succeed.
    #[tokio::test(start_paused = true)]
    async fn requests_succeed_although_one_call_in_twenty_fails() {
        fastrand::seed(7);
        let answers = (0..1_000).map(|_| if fastrand::f64() < 0.05 { failing(refused(500)) } else { whole("a") });
        let a = ScriptedProvider::new("a", answers.collect::<Vec<_>>());
        let target = retried(&[&a]);
        let mut succeeded = 0;
        for _ in 0..500 {
            let carried = carried_out(planned_with([target.clone()]), &RecordedCalls::default()).await;
            succeeded += usize::from(carried == whole_of("a"));
            sleep(Duration::from_millis(250)).await;
        }
        assert!(succeeded >= 498, "{succeeded}");
    }

    /// 40 requests at once, when an open breaker's time is over: one asks the target, the others ask the next one.
    #[tokio::test(start_paused = true)]
    async fn one_of_many_simultaneous_requests_probes_a_target_that_failed() {
        let breaker = BreakerTerms { failures: 1, open: Duration::from_secs(15) };
        let terms = RetryTerms { max_retries: 0, breaker, ..RetryTerms::default() };
        let a = ScriptedProvider::new("a", [failing(refused(500)), silent()]);
        let target = Target::new(UpstreamServer::new(Arc::clone(&a) as _, Vec::new(), terms), "m");
        let b = ScriptedProvider::new("b", (0..80).map(|_| whole("b")));
        let request = || planned_with([target.clone(), Target::single(Arc::clone(&b) as _, "m")]);
        let calls = RecordedCalls::default();
        carried_out(request(), &calls).await;
        sleep(Duration::from_secs(15)).await;
        let mut asked: Vec<_> = (0..40).map(|_| Box::pin(carry_out(request(), &calls))).collect();
        let waiting = asked.iter_mut().filter_map(|asked| asked.now_or_never().is_none().then_some(())).count();
        assert_eq!((waiting, a.open(), b.remaining()), (1, 1, 40));
        // The probe is stopped: the next request probes.
        drop(asked);
        assert_eq!(a.open(), 0);
        assert_eq!(target.server().status(Instant::now()).models[0].breaker, BreakerState::HalfOpen);
    }

    #[tokio::test(start_paused = true)]
    async fn any_response_closes_the_breaker_of_connections() {
        for status in [401, 404, 429, 500, 400] {
            let a = ScriptedProvider::new("a", [failing(unsent()), failing(refused(status))]);
            let target = broken_target(&a).await;
            let connections = || target.server().status(Instant::now()).connections;
            assert_eq!(connections(), BreakerState::Open);
            sleep(Duration::from_mins(1)).await;
            carried_out(planned_with([target.clone()]), &RecordedCalls::default()).await;
            assert_eq!((connections(), a.remaining()), (BreakerState::Closed, 0), "{status}");
        }
    }

    /// An answer whose first token comes after this time.
    fn late(word: &str, time: Duration) -> Answer {
        let token = smallvec![text(word)];
        let first = stream::once(async move {
            sleep(time).await;
            Ok(token)
        });
        first.chain(stream::iter([Ok(smallvec![end()])])).boxed()
    }

    /// Lets the plan have hedges after two seconds, with a budget for one.
    fn hedged(mut planned: PlannedRequest) -> PlannedRequest {
        planned.plan.hedge =
            Some(HedgePolicy { delay: HedgeDelay::Fixed(TWO_SECONDS), budget: Arc::new(HedgeBudget::new(1.0)) });
        planned
    }

    const TWO_SECONDS: Duration = Duration::from_secs(2);

    /// What an answer of `word` without a role is after it was carried out.
    fn text_of(word: &str) -> CarriedOut {
        (vec![text(word)], vec![Ok(smallvec![end()])])
    }

    #[tokio::test(start_paused = true)]
    async fn first_token_of_an_attempt_and_its_hedge_wins_and_the_other_is_closed() {
        let seconds = Duration::from_secs;
        for (first, hedge, expected, expected_calls, expected_time) in [
            (seconds(1), seconds(0), "a", "first: a/m", seconds(1)),
            (seconds(9), seconds(1), "b", "first: a/m, hedge: b/m, replaced: 1", seconds(3)),
            (seconds(3), seconds(2), "a", "first: a/m, hedge: b/m, replaced: 2", seconds(3)),
        ] {
            let a = ScriptedProvider::new("a", [late("a", first)]);
            let b = ScriptedProvider::new("b", [late("b", hedge)]);
            let (calls, began) = (RecordedCalls::default(), Instant::now());
            let carried = carried_out(hedged(planned(&[&a, &b])), &calls).await;
            assert_eq!((carried, calls.take().join(", ")), (text_of(expected), expected_calls.to_owned()));
            assert_eq!((began.elapsed(), a.open(), b.open()), (expected_time, 0, 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_is_closed_as_soon_as_its_hedge_has_a_token() {
        let (a, b) = (ScriptedProvider::new("a", [silent()]), ScriptedProvider::new("b", [whole("b")]));
        let committed = carry_out(hedged(planned(&[&a, &b])), &RecordedCalls::default()).await;
        let committed = committed.unwrap_or_else(|failed| panic!("{failed:?}"));
        assert_eq!((a.open(), b.open()), (0, 1));
        drop(committed);
        assert_eq!(b.open(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn failure_of_an_attempt_or_its_hedge_leaves_the_other_one() {
        let seconds = Duration::from_secs;
        let fails_after = |time| {
            let failure = stream::once(async move {
                sleep(time).await;
                Err(refused(500))
            });
            failure.boxed()
        };
        for (first, hedge, expected, expected_calls) in [
            (fails_after(seconds(3)), late("b", seconds(9)), "b", "first: a/m, hedge: b/m, failed: Yes"),
            (late("a", seconds(9)), fails_after(seconds(1)), "a", "first: a/m, hedge: b/m, failed: Yes"),
            (
                fails_after(seconds(3)),
                fails_after(seconds(3)),
                "c",
                "first: a/m, hedge: b/m, failed: Yes, failed: Yes, fallback: c/m",
            ),
        ] {
            let (a, b) = (ScriptedProvider::new("a", [first]), ScriptedProvider::new("b", [hedge]));
            let (c, calls) = (ScriptedProvider::new("c", [late("c", seconds(1))]), RecordedCalls::default());
            let carried = carried_out(hedged(planned(&[&a, &b, &c])), &calls).await;
            assert_eq!((carried, calls.take().join(", ")), (text_of(expected), expected_calls.to_owned()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn stop_during_a_hedge_leaves_no_attempt_and_starts_none() {
        let (a, b) = (ScriptedProvider::new("a", [silent()]), ScriptedProvider::new("b", [silent()]));
        let (c, calls) = (ScriptedProvider::new("c", [whole("c")]), RecordedCalls::default());
        let mut carrying = Box::pin(carry_out(hedged(planned(&[&a, &b, &c])), &calls));
        tokio::select! {
            biased;
            _ = carrying.as_mut() => panic!("no target answers"),
            () = sleep(Duration::from_secs(3)) => {}
        }
        assert_eq!((a.open(), b.open()), (1, 1));
        drop(carrying);
        assert_eq!((a.open(), b.open(), c.remaining()), (0, 0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn hedge_needs_a_budget_a_stream_and_something_else_to_ask() {
        let late = || late("a", Duration::from_secs(9));
        let without_budget = |mut planned: PlannedRequest| {
            planned.plan.hedge.as_mut().expect("hedges").budget = Arc::new(HedgeBudget::new(0.05));
            planned
        };
        let whole_answer = |planned| PlannedRequest { delivery: Delivery::Whole, ..planned };
        let unknown_usual_time = |mut planned: PlannedRequest| {
            planned.plan.hedge.as_mut().expect("hedges").delay = HedgeDelay::Percentile95;
            planned
        };
        let changes: [&dyn Fn(PlannedRequest) -> PlannedRequest; 3] =
            [&without_budget, &whole_answer, &unknown_usual_time];
        for change in changes {
            let (a, b) = (ScriptedProvider::new("a", [late()]), ScriptedProvider::new("b", [whole("b")]));
            let carried = carried_out(change(hedged(planned(&[&a, &b]))), &RecordedCalls::default()).await;
            assert_eq!((carried, b.remaining()), (text_of("a"), 1));
        }
        let (a, calls) = (ScriptedProvider::new("a", [late()]), RecordedCalls::default());
        let broken = broken_target(&ScriptedProvider::new("b", [failing(refused(500))])).await;
        let targets = [Target::single(Arc::clone(&a) as _, "m"), broken];
        assert_eq!(carried_out(hedged(planned_with(targets)), &calls).await, text_of("a"));
        assert_eq!(calls.take(), ["first: a/m"]);
    }

    /// 4,000 requests to two targets, of whose calls 2 % take 20 times as long: the 99th percentile of the first token is at
    /// most three times the median, and the extra calls are within the budget.
    #[tokio::test(start_paused = true)]
    async fn slow_calls_are_hedged_within_the_budget() {
        const REQUESTS: usize = 4_000;
        fastrand::seed(7);
        let call = || {
            let usual = Duration::from_millis(fastrand::u64(400..600));
            late("a", if fastrand::f64() < 0.02 { usual * 20 } else { usual })
        };
        let target = |name| {
            let answers: Vec<_> = (0..2 * REQUESTS).map(|_| call()).collect();
            Target::single(ScriptedProvider::new(name, answers), "m")
        };
        let (targets, budget) = ([target("a"), target("b")], Arc::new(HedgeBudget::new(0.05)));
        let (mut times, calls) = (Vec::new(), RecordedCalls::default());
        for _ in 0..REQUESTS {
            let mut planned = planned_with(targets.clone());
            planned.plan.hedge = Some(HedgePolicy { delay: HedgeDelay::Percentile95, budget: Arc::clone(&budget) });
            let began = Instant::now();
            let answered = carry_out(planned, &calls).await.unwrap_or_else(|failed| panic!("{failed:?}"));
            times.push(began.elapsed());
            drop(answered);
        }
        times.sort_unstable();
        let percentile = |percent| times[REQUESTS * percent / 100];
        assert!(percentile(99) <= percentile(50) * 3, "{:?}, median {:?}", percentile(99), percentile(50));
        let hedges = calls.take().iter().filter(|call| call.starts_with("hedge")).count();
        assert!((REQUESTS / 50..=REQUESTS / 20).contains(&hedges), "{hedges} hedges");
    }
}
