//! The loop that makes the attempts of a request.
//!
//! ```text
//!   first target ──attempt──▶ first token ──▶ committed: the attempt's stream is passed on as it is
//!        ▲                │
//!        │                └─ failed before it ──▶ NextAttempt ──▶ none left: the failure is passed on
//!        └───────────────── next target ◀────────────┘
//! ```
//!
//! Nothing below this loop decides about another target. What an attempt delivers before its first token is held back
//! as long as another attempt could replace it. The last target of a plan is never replaced, so nothing of it is held.

use std::sync::Arc;

use futures_util::{StreamExt, future, stream};
use tokio::task::yield_now;
use tokio::time::Instant;

use super::next_attempt::NextAttempt;
use super::plan::{Plan, Target};
use super::{Answer, AttemptError, AttemptErrorKind, AttemptTerms, Delivery, SentMark, Signal, Signals};
use crate::domain::ChatRequest;

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
    /// The signals that were held back, up to the read with the first token. Empty if none were.
    pub held: Signals,
    /// The rest of the attempt's stream.
    pub answer: Answer,
}

/// Records the attempts of a request as they are made.
pub trait AttemptObserver: Sync {
    /// An attempt begins. Each earlier one has ended. The attempt sets `sent`, which stays readable when its stream is
    /// dropped.
    fn attempt_began(&self, target: &Target, sent: &SentMark);

    /// The current attempt failed before its first token, and its stream was dropped.
    fn attempt_failed(&self, error: &AttemptError);
}

/// Bytes that are held back. An attempt that delivers more before its first token is committed.
const MAX_HELD_BYTES: usize = 64 << 10;

/// Makes attempts at the targets of the plan until one delivers its first token, or none may follow.
///
/// A failure that no attempt may follow is passed on: as the error of the returned answer, behind what the attempt
/// delivered. Failures after the first token are not read here. Attempts on one target: see `next_attempt.rs`.
///
/// Cancel safe: dropping the future or the answer cancels the current attempt and starts none.
pub async fn carry_out(planned: PlannedRequest, observer: &impl AttemptObserver) -> CommittedAnswer {
    let PlannedRequest { plan, request, delivery, deadline } = planned;
    let Plan { first: mut target, others, .. } = plan;
    let mut others = others.into_iter();
    loop {
        let terms = AttemptTerms::new(Arc::clone(target.model()), delivery);
        observer.attempt_began(&target, &terms.sent);
        let answer = target.attempt(&request, terms);
        if others.as_slice().is_empty() {
            return CommittedAnswer { held: Signals::new(), answer };
        }
        let FailedAttempt { held, error } = match first_token(answer).await {
            Ok(committed) => return committed,
            Err(failed) => failed,
        };
        observer.attempt_failed(&error);
        let next = match NextAttempt::after(&error) {
            NextAttempt::AnyTarget => others.next(),
            NextAttempt::OtherTarget => others.find(|other| *other != target),
            NextAttempt::None => None,
        };
        // A stop or a deadline that is due must be seen by the caller of this future before the next attempt begins.
        yield_now().await;
        match next {
            Some(next) if Instant::now() < deadline => target = next,
            _ => return CommittedAnswer { held, answer: stream::once(future::ready(Err(error))).boxed() },
        }
    }
}

/// An attempt that failed before its first token.
struct FailedAttempt {
    held: Signals,
    error: AttemptError,
}

/// Reads an answer up to the read with its first token.
async fn first_token(mut answer: Answer) -> Result<CommittedAnswer, FailedAttempt> {
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
            return Ok(CommittedAnswer { held, answer });
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

fn held_bytes(signal: &Signal) -> usize {
    let chunk = match signal {
        Signal::Chunk(chunk) => chunk.shape().size() + chunk.text().as_str().len(),
        Signal::Finish { .. } | Signal::Usage(_) | Signal::End { .. } => 0,
    };
    size_of::<Signal>() + chunk
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Mutex;
    use std::time::Duration;

    use futures_util::FutureExt;
    use smallvec::smallvec;
    use tokio::time::sleep;

    use super::super::Sent;
    use super::super::scripted_provider::ScriptedProvider;
    use super::*;
    use crate::domain::{Chunk, Escaped, Part, Shape, Trailer};
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
        fn attempt_began(&self, target: &Target, _: &SentMark) {
            self.0.lock().expect("a lock").push(format!("{target:?}"));
        }

        fn attempt_failed(&self, error: &AttemptError) {
            self.0.lock().expect("a lock").push(format!("failed: {:?}", error.sent));
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

    fn planned(targets: &[&Arc<ScriptedProvider>]) -> PlannedRequest {
        let mut targets = targets.iter().map(|provider| Target::new(Arc::clone(provider) as _, "m"));
        let first = targets.next().expect("a target");
        PlannedRequest {
            plan: Plan { model: "m".into(), first, others: targets.collect() },
            request: Arc::new(ChatRequest::new("m".into(), JsonObject::default())),
            delivery: Delivery::Stream,
            deadline: Instant::now() + Duration::from_mins(1),
        }
    }

    /// Carries out a plan; returns the held signals, and the reads after them.
    async fn carried_out(targets: &[&Arc<ScriptedProvider>], calls: &RecordedCalls) -> (Signals, Vec<Read>) {
        let CommittedAnswer { held, answer } = carry_out(planned(targets), calls).await;
        (held, answer.collect().await)
    }

    #[tokio::test]
    async fn only_target_is_passed_on_read_by_read_from_the_beginning() {
        for last in [Ok(smallvec![end()]), Err(disconnected())] {
            let reads = [Ok(smallvec![role()]), Ok(smallvec![text("a"), text("b")]), last];
            let (a, calls) = (ScriptedProvider::new("a", [answer(reads.clone())]), RecordedCalls::default());
            let (held, passed_on) = carried_out(&[&a], &calls).await;
            assert_eq!((held, passed_on), (Signals::new(), reads.to_vec()));
            assert_eq!(calls.take(), ["a/m"]);
        }
    }

    #[tokio::test]
    async fn second_target_answers_if_the_first_fails_before_its_first_token() {
        for (error, sent) in [
            (unsent(), "failed: No"),
            (refused(503), "failed: Yes"),
            (refused(401), "failed: Yes"),
            (disconnected(), "failed: Maybe"),
        ] {
            let (a, b) = (ScriptedProvider::new("a", [failing(error)]), ScriptedProvider::new("b", [whole("b")]));
            let calls = RecordedCalls::default();
            let (held, passed_on) = carried_out(&[&a, &b], &calls).await;
            let b_answers = vec![Ok(smallvec![role()]), Ok(smallvec![text("b")]), Ok(smallvec![end()])];
            assert_eq!((held, passed_on), (Signals::new(), b_answers), "nothing of the first target is delivered");
            assert_eq!(calls.take(), ["a/m", sent, "b/m"]);
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
        let (held, passed_on) = carried_out(&[&a, &b], &RecordedCalls::default()).await;
        assert_eq!(held.into_vec(), [role(), usage(), role(), text("a")]);
        assert_eq!(passed_on, [Ok(smallvec![text("b")]), Ok(smallvec![end()])]);
        assert_eq!(b.remaining(), 1);
    }

    #[tokio::test]
    async fn failure_after_the_first_token_is_passed_on() {
        let reads = [Ok(smallvec![text("a")]), Err(refused(503))];
        let (a, b) = (ScriptedProvider::new("a", [answer(reads)]), ScriptedProvider::new("b", [whole("b")]));
        let calls = RecordedCalls::default();
        let (held, passed_on) = carried_out(&[&a, &b], &calls).await;
        assert_eq!((held.into_vec(), passed_on), (vec![text("a")], vec![Err(refused(503))]));
        assert_eq!((calls.take(), b.remaining()), (vec!["a/m".to_owned()], 1));
    }

    #[tokio::test]
    async fn end_of_an_answer_without_a_token_is_not_replaced() {
        let (a, b) =
            (ScriptedProvider::new("a", [answer([Ok(smallvec![end()])])]), ScriptedProvider::new("b", [whole("b")]));
        let (held, passed_on) = carried_out(&[&a, &b], &RecordedCalls::default()).await;
        assert_eq!((held.into_vec(), passed_on, b.remaining()), (vec![end()], Vec::new(), 1));
    }

    #[tokio::test]
    async fn failure_that_may_have_been_billed_is_not_retried_on_the_same_target() {
        let a = || ScriptedProvider::new("a", [failing(disconnected()), whole("a")]);
        let (first, b, calls) = (a(), ScriptedProvider::new("b", [whole("b")]), RecordedCalls::default());
        carried_out(&[&first, &first, &b], &calls).await;
        assert_eq!((calls.take().join(" "), first.remaining()), ("a/m failed: Maybe b/m".to_owned(), 1));

        let only = a();
        let (held, passed_on) = carried_out(&[&only, &only], &calls).await;
        assert_eq!((held.into_vec(), passed_on), (vec![role()], vec![Err(disconnected())]));
        assert_eq!(only.remaining(), 1);
    }

    #[tokio::test]
    async fn failure_that_was_not_billed_is_retried_on_the_same_target_if_the_plan_lists_it_again() {
        let (a, calls) = (ScriptedProvider::new("a", [failing(unsent()), whole("a")]), RecordedCalls::default());
        carried_out(&[&a, &a], &calls).await;
        assert_eq!(calls.take(), ["a/m", "failed: No", "a/m"]);
    }

    #[tokio::test]
    async fn fault_of_the_request_is_passed_on_behind_what_the_attempt_delivered() {
        let (a, b) = (ScriptedProvider::new("a", [failing(refused(400))]), ScriptedProvider::new("b", [whole("b")]));
        let (held, passed_on) = carried_out(&[&a, &b], &RecordedCalls::default()).await;
        assert_eq!((held.into_vec(), passed_on), (vec![role()], vec![Err(refused(400))]));
        assert_eq!(b.remaining(), 1);
    }

    #[tokio::test]
    async fn attempt_that_delivers_too_much_before_its_first_token_is_committed() {
        let endless = stream::repeat_with(|| Ok(smallvec![role()])).boxed();
        let (a, b) = (ScriptedProvider::new("a", [endless]), ScriptedProvider::new("b", [whole("b")]));
        let CommittedAnswer { held, .. } = carry_out(planned(&[&a, &b]), &RecordedCalls::default()).await;
        let bytes: usize = held.iter().map(held_bytes).sum();
        assert!((MAX_HELD_BYTES..2 * MAX_HELD_BYTES).contains(&bytes), "{bytes}");
    }

    #[tokio::test]
    async fn dropping_cancels_the_current_attempt_and_starts_none() {
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
        assert_eq!((a.remaining(), a.open()), (0, 0), "between two attempts");
        drop(carrying);

        let a = ScriptedProvider::new("a", [answer([Ok(smallvec![text("a")])]).chain(silent()).boxed()]);
        let CommittedAnswer { answer, .. } = carry_out(planned(&[&a, &b]), &calls).await;
        assert_eq!(a.open(), 1);
        drop(answer);
        assert_eq!(a.open(), 0, "after its first token");

        assert_eq!(b.remaining(), 1);
        assert_eq!(calls.take().join(" "), "a/m a/m failed: No a/m");
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_after_the_deadline() {
        let late = stream::once(async {
            sleep(Duration::from_mins(2)).await;
            Err(unsent())
        });
        let (a, b) = (ScriptedProvider::new("a", [late.boxed()]), ScriptedProvider::new("b", [whole("b")]));
        let (held, passed_on) = carried_out(&[&a, &b], &RecordedCalls::default()).await;
        assert_eq!((held, passed_on, b.remaining()), (Signals::new(), vec![Err(unsent())], 1));
    }
}
