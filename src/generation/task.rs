//! The task of one generation: reads the provider's answer and appends it to the log.

use std::iter;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ending::Ending;
use super::running::Running;
use crate::domain::{CancelReason, Event, FailureCode, Sequence, Trailer};
use crate::event_log::{AppendError, Events, Limit, Log};
use crate::limits::{GenerationSlot, WaitOutcome};
use crate::upstream::{Answer, CommittedAnswer, PlannedRequest, Signal, Signals, carry_out};

/// How long an upstream may take to end its response after the answer is whole, so that its connection can be reused.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The parameters of a generation's task.
pub struct Work {
    pub planned: PlannedRequest,
    pub slot: GenerationSlot,
    /// How long it may wait for its slot.
    pub wait: Duration,
}

/// What a task releases in this order when it ends, also after a panic.
struct HeldResources {
    /// The answer of the attempt that is not replaced, once there is one.
    answer: Option<Answer>,
    slot: GenerationSlot,
}

/// Runs the generation to its end and closes its log exactly once, also after a panic. Returns the answer to pass to
/// [`drain_answer`] once the generation no longer counts as running.
pub async fn run(running: &Running, log: Arc<dyn Log>, work: Work) -> Option<Answer> {
    let Work { planned, slot, wait } = work;
    let mut resources = HeldResources { answer: None, slot };
    let appending = append_answer(running, &log, (planned, wait), &mut resources);
    let ending = AssertUnwindSafe(appending).catch_unwind().await.unwrap_or_else(|_| {
        running.record_panic();
        Some(Ending::failed(FailureCode::Internal))
    });
    let whole = matches!(ending, Some(Ending::Done { .. }));
    // An incomplete answer is dropped first, so that the upstream stops costing money.
    let HeldResources { answer, slot } = resources;
    let rest = answer.filter(|_| whole);
    // Frees the slot before the terminal event is readable: a client that reads it may start the next generation at
    // once.
    drop(slot);
    if let Some(ending) = ending {
        running.end(&log, ending).await;
    }
    rest
}

/// Lets the upstream end its response, so that its connection can be reused.
pub async fn drain_answer(mut answer: Answer) {
    let tidied = async { while let Some(Ok(_)) = answer.next().await {} };
    _ = timeout(DRAIN_TIMEOUT, tidied).await;
}

/// Appends the upstream's signals until there is a reason to end. Returns `None` if the log was closed by another
/// writer.
async fn append_answer(
    running: &Running,
    log: &Arc<dyn Log>,
    (planned, wait): (PlannedRequest, Duration),
    resources: &mut HeldResources,
) -> Option<Ending> {
    let mut tail = log.tail().get().sequence;
    // One future with one timer for the whole generation. `FuturesUnordered` polls it only when it is woken, not with
    // each token.
    let mut ended: FuturesUnordered<_> = iter::once(ended_from_elsewhere(running, planned.deadline).boxed()).collect();
    if !resources.slot.is_granted() {
        let _waiting = running.waiting();
        tokio::select! {
            biased;
            Some(ending) = ended.next() => return Some(ending),
            waited = resources.slot.granted() => if waited == WaitOutcome::Displaced {
                return Some(Ending::failed(FailureCode::TooManyGenerations));
            },
            () = sleep(wait) => return Some(Ending::failed(FailureCode::TooManyGenerations)),
        }
    }
    running.record_slot();
    let CommittedAnswer { held, answer } = tokio::select! {
        biased;
        Some(ending) = ended.next() => return Some(ending),
        committed = carry_out(planned, &running.attempts) => committed,
    };
    let answer = resources.answer.insert(answer);
    let mut appended = append_signals(running, log, &mut tail, held).await;
    loop {
        match appended {
            Ok(AnswerProgress::Continues) => {}
            Ok(AnswerProgress::Ended { trailer }) => return Some(Ending::Done { trailer }),
            Err(AppendError::Full(Limit::Own)) => return Some(Ending::failed(FailureCode::TooLarge)),
            Err(AppendError::Full(Limit::Total)) => return Some(Ending::failed(FailureCode::Overloaded)),
            Err(AppendError::Closed) => return None,
            // Only this task appends to this log. A moved tail is a defect, and the text would be corrupt.
            Err(AppendError::Moved) => return Some(Ending::failed(FailureCode::Internal)),
        }
        let read = tokio::select! {
            // A requested ending is polled before the answer: later signals are no longer wanted.
            biased;
            Some(ending) = ended.next() => return Some(ending),
            read = answer.next() => read,
        };
        let signals = match read {
            Some(Ok(signals)) => signals,
            Some(Err(error)) => return Some(Ending::of_attempt(running.attempts.failed(&error))),
            None => return Some(Ending::failed(FailureCode::UpstreamDisconnected)),
        };
        appended = append_signals(running, log, &mut tail, signals).await;
    }
}

/// Resolves when the generation must end for a reason other than the upstream's answer. The log is not watched: each
/// append would wake the task that made it, and the next append reports that another writer has closed the log.
async fn ended_from_elsewhere(running: &Running, deadline: Instant) -> Ending {
    tokio::select! {
        biased;
        ending = running.end_requested() => ending,
        () = running.audience.abandoned() => Ending::Cancelled(CancelReason::Abandoned),
        () = sleep_until(deadline) => Ending::failed(FailureCode::DeadlineExceeded),
    }
}

enum AnswerProgress {
    Continues,
    Ended { trailer: Trailer },
}

/// Appends all signals of one read in one append.
async fn append_signals(
    running: &Running,
    log: &Arc<dyn Log>,
    tail: &mut Sequence,
    signals: Signals,
) -> Result<AnswerProgress, AppendError> {
    let mut events = Events::with_capacity(signals.len());
    let mut progress = AnswerProgress::Continues;
    for signal in signals {
        match signal {
            Signal::Chunk(chunk) => {
                running.record_chunk(&chunk);
                events.push(Event::Chunk(chunk));
            }
            Signal::Finish { choice, reason } => running.record_finish(choice, reason),
            Signal::Usage(usage) => running.record_usage(usage),
            Signal::End { trailer } => progress = AnswerProgress::Ended { trailer },
        }
    }
    if !events.is_empty() {
        *tail = log.append(*tail, events).await?;
    }
    Ok(progress)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::stream;
    use smallvec::smallvec;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::domain::{
        Account, ChatRequest, Entry, Escaped, Event, GenerationId, Part, Principal, Quota, RequestId, Shape, Start,
        Timestamp, UsageRequest,
    };
    use crate::event_log::{Created, EventLog, Memory, MemoryLimits, follow};
    use crate::generation::attempt_failure::UpstreamMessages;
    use crate::generation::attempts::{AttemptContext, Attempts};
    use crate::generation::audience::{Audience, OnDisconnect};
    use crate::generation::running::{AdmittedGeneration, PromptSource, RepeatPolicy, Subject};
    use crate::generation::tokens::TokenCounter;
    use crate::json::JsonObject;
    use crate::limits::{Limiter, Permit, RequestPermit, Spender, WaitPolicy};
    use crate::telemetry::Metrics;
    use crate::upstream::{AttemptError, AttemptErrorKind, Delivery, Plan, ScriptedProvider, Target};

    const LIMITS: MemoryLimits =
        MemoryLimits { total: 1 << 20, generation: 4096, running: 0, retention: Duration::from_mins(1) };

    /// Runs a generation whose answer is `answer`, until `deadline`; returns all its entries.
    async fn entries(answer: Answer, deadline: Duration) -> Vec<Entry> {
        generated(&[("test", answer)].map(target), deadline).await.0
    }

    fn target((upstream, answer): (&str, Answer)) -> Target {
        Target::new(ScriptedProvider::new(upstream, [answer]), "m")
    }

    /// Runs a generation with these targets until `deadline`; returns all its entries, and the metrics.
    async fn generated(targets: &[Target], deadline: Duration) -> (Vec<Entry>, Arc<Metrics>) {
        let id = GenerationId::random();
        let start = Start {
            generation: id,
            owner: Principal::Anonymous,
            model: "m".into(),
            created_at: Timestamp::now(),
            prompt: None,
            metadata: [].into(),
            usage: UsageRequest::NotAsked,
        };
        let memory = Memory::new(LIMITS);
        let spender = Spender::new(Account::Principal(Principal::Anonymous), Quota::NONE, Arc::default());
        let Ok(Created::New(log)) = memory.create(Arc::new(start), &spender.account, None).await else {
            panic!("there is room")
        };
        let audience = Audience::new(OnDisconnect::Continue, Duration::ZERO);
        let counter = TokenCounter::new(TaskTracker::new());
        let limits = Limiter::default();
        let permit = limits.admit(&spender, "m", 0, WaitPolicy::Refuses, RequestPermit::default());
        let permit = permit.expect("there is no limit");
        let Permit { slot, reservations } = permit;
        let admitted = AdmittedGeneration {
            prompt: Arc::default(),
            reservations,
            queue_state: slot.queue_state(),
            estimate: limits.output_estimate(&spender.account, "m"),
        };
        let subject = Subject {
            request_id: RequestId::random(),
            principal: Principal::Anonymous,
            model: "m".into(),
            output_limit: None,
            choices: 1,
            repeats: RepeatPolicy::StartNew,
            source: PromptSource::Caller,
        };
        let (first, others) = targets.split_first().expect("a target");
        let plan = Plan { model: "m".into(), first: first.clone(), others: others.to_vec() };
        let metrics = Metrics::new();
        let context = AttemptContext {
            request_id: subject.request_id,
            model: "m".into(),
            prompt: Arc::default(),
            messages: UpstreamMessages::Log,
        };
        let attempts = Attempts::new(context, plan.first.clone(), Arc::clone(&metrics));
        let running = Running::new(id, subject, attempts, admitted, audience, Arc::clone(&metrics), counter);
        let planned = PlannedRequest {
            plan,
            request: Arc::new(ChatRequest::new("m".into(), JsonObject::default())),
            delivery: Delivery::Stream,
            deadline: Instant::now() + deadline,
        };
        let work = Work { planned, slot, wait: Duration::ZERO };
        let rest = run(&running, Arc::clone(&log), work).await;
        if let Some(rest) = rest {
            drain_answer(rest).await;
        }
        let pages: Vec<_> = follow(log, Sequence::START).collect().await;
        (pages.into_iter().flat_map(|page| page.expect("the log is there")).collect(), metrics)
    }

    /// Returns the code of the failure that is the last entry, and the number of entries before it.
    async fn failure(answer: Answer) -> (FailureCode, usize) {
        let entries = entries(answer, Duration::from_mins(1)).await;
        let terminals = entries.iter().filter(|entry| entry.event.is_terminal()).count();
        assert_eq!(terminals, 1, "exactly one ending");
        match entries.last().map(|entry| &entry.event) {
            Some(Event::Failed(failed)) => (failed.failure.code, entries.len() - 1),
            other => panic!("not a failure: {other:?}"),
        }
    }

    /// A chunk with a role and an empty delta.
    fn role() -> Signal {
        let shape = Shape::new(None, Part::Silent);
        Signal::Chunk(crate::domain::Chunk::new(Arc::new(shape), Escaped::from_text("")))
    }

    fn text(text: &str) -> Signal {
        let shape = Shape::new(None, Part::Text { choice: 0, logprobs_json: None });
        Signal::Chunk(crate::domain::Chunk::new(Arc::new(shape), Escaped::from_text(text)))
    }

    #[tokio::test]
    async fn a_panic_fails_the_generation_with_internal() {
        let said = stream::iter([Ok(smallvec![text("a")])]);
        let panics = stream::once(async { panic!("a defect") });
        assert_eq!(failure(Box::pin(said.chain(panics))).await, (FailureCode::Internal, 2));
    }

    #[tokio::test]
    async fn an_answer_without_an_end_signal_fails_as_disconnected() {
        assert_eq!(
            failure(Box::pin(stream::iter([Ok(smallvec![text("a")])]))).await,
            (FailureCode::UpstreamDisconnected, 2)
        );
        assert_eq!(failure(Box::pin(stream::empty())).await, (FailureCode::UpstreamDisconnected, 1));
    }

    #[tokio::test]
    async fn an_endless_answer_fails_at_the_size_limit() {
        let endless = stream::repeat_with(|| Ok(smallvec![text("0123456789")]));
        let (code, entries) = failure(Box::pin(endless)).await;
        assert_eq!(code, FailureCode::TooLarge);
        assert!(entries * 10 < LIMITS.generation);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_a_silent_and_an_active_upstream() {
        let silent: Answer = Box::pin(stream::once(pending()));
        let active: Answer = Box::pin(stream::unfold((), |()| async {
            sleep(Duration::from_secs(1)).await;
            Some((Ok(smallvec![text("a")]), ()))
        }));
        for answer in [silent, active] {
            let entries = entries(answer, Duration::from_secs(5)).await;
            let Some(Event::Failed(failed)) = entries.last().map(|entry| &entry.event) else { panic!("{entries:?}") };
            assert_eq!(failed.failure.code, FailureCode::DeadlineExceeded);
            assert_eq!(failed.timings.total, Duration::from_secs(5));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_end_an_upstream_has_one_second_to_end_its_response() {
        let end = Signal::End { trailer: Trailer::default() };
        let never_closes = stream::iter([Ok(smallvec![text("a"), end])]).chain(stream::once(pending()));
        let began = Instant::now();
        let entries = entries(Box::pin(never_closes), Duration::from_mins(1)).await;
        assert!(matches!(entries.last().map(|entry| &entry.event), Some(Event::Done(_))));
        assert_eq!(began.elapsed(), DRAIN_TIMEOUT);
    }

    #[tokio::test]
    async fn second_target_answers_after_a_failure_and_names_the_generation_in_the_metrics() {
        let refused = AttemptErrorKind::Refused { status: 503, retry_after: None, report: None };
        let failing = stream::iter([Ok(smallvec![role()]), Err(AttemptError::in_response(refused))]);
        let end = Signal::End { trailer: Trailer::default() };
        let answering = stream::iter([Ok(smallvec![text("b")]), Ok(smallvec![end])]);
        let targets: [(&str, Answer); 2] = [("a", Box::pin(failing)), ("b", Box::pin(answering))];
        let (entries, metrics) = generated(&targets.map(target), Duration::from_mins(1)).await;
        assert_eq!(entries.len(), 3, "nothing of the first target is in the log: {entries:?}");
        assert!(matches!(entries.last().map(|entry| &entry.event), Some(Event::Done(_))));
        let (_, metrics) = metrics.render();
        for line in [
            r#"tokenrill_generations_total{outcome="done",upstream="b",model="m",error_type=""} 1"#,
            r#"tokenrill_upstream_attempts_total{upstream="a",model="other",outcome="failed",error_type="upstream_overloaded"} 1"#,
            r#"tokenrill_upstream_attempts_total{upstream="b",model="m",outcome="done",error_type=""} 1"#,
        ] {
            assert!(metrics.contains(&format!("\n{line}\n")), "{line}: {metrics}");
        }
    }

    #[tokio::test]
    async fn failure_before_the_first_token_follows_what_the_last_attempt_delivered() {
        let refused = || AttemptErrorKind::Refused { status: 400, retry_after: None, report: None };
        let failing =
            || -> Answer { Box::pin(stream::iter([Ok(smallvec![role()]), Err(AttemptError::in_response(refused()))])) };
        let (alone, _) = generated(&[("a", failing())].map(target), Duration::from_mins(1)).await;
        let silent: Answer = Box::pin(stream::pending());
        let (first_of_two, metrics) =
            generated(&[("a", failing()), ("b", silent)].map(target), Duration::from_mins(1)).await;
        let events =
            |entries: &[Entry]| entries.iter().skip(1).map(|entry| event_name(&entry.event)).collect::<Vec<_>>();
        assert_eq!(events(&alone), ["chunk", "failed"]);
        assert_eq!(events(&first_of_two), events(&alone));
        let counted = r#"upstream="a",model="other",outcome="failed",error_type="upstream_rejected"} 1"#;
        assert_eq!(metrics.render().1.matches(counted).count(), 1, "counted once");
    }

    const fn event_name(event: &Event) -> &'static str {
        match event {
            Event::Chunk(_) => "chunk",
            Event::Failed(_) => "failed",
            _ => "other",
        }
    }
}
