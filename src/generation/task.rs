//! The task of one generation: reads the provider's answer and appends it to the log.

use std::future::pending;
use std::iter;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::audience::Audience;
use super::ending::Ending;
use super::relay::{AnswerEnd, AnswerExtent, Relay};
use super::running::Running;
use crate::domain::{CancelReason, FailureCode, OnUpstreamFailure};
use crate::event_log::Writer;
use crate::limits::{GenerationSlot, WaitOutcome};
use crate::upstream::{Answer, AttemptLease, AttemptSeries, CommittedAnswer, FailedAttempt, PlannedRequest, Signals};

/// How long an upstream may take to end its response after the answer is whole, so that its connection can be reused.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The parameters of a generation's task.
pub struct Work {
    pub planned: PlannedRequest,
    pub audience: Audience,
    pub slot: GenerationSlot,
    /// How long it may wait for its slot.
    pub wait: Duration,
    pub on_upstream_failure: OnUpstreamFailure,
    /// The answer of a lost replica, which this generation begins anew.
    pub lost_answer: Option<AnswerExtent>,
    /// Counts the request of a lost replica as held, until the generation ends.
    pub memory: Option<RequestMemory>,
}

/// Counts a request as held until it is dropped.
pub type RequestMemory = Box<dyn Send>;

/// How a task makes its answer.
struct AnswerTerms {
    wait: Duration,
    on_upstream_failure: OnUpstreamFailure,
    lost_answer: Option<AnswerExtent>,
}

/// What a task releases in this order when it ends, also after a panic.
struct HeldResources {
    /// The answer of the attempt that is not replaced, once there is one.
    answer: Option<Answer>,
    /// Counts the attempt as in progress.
    lease: Option<AttemptLease>,
    slot: GenerationSlot,
}

/// Runs the generation to its end and closes its log exactly once, also after a panic. Returns the answer to pass to
/// [`drain_answer`] once the generation no longer counts as running.
pub async fn run(running: &Running, writer: &mut dyn Writer, work: Work) -> Option<Answer> {
    let Work { planned, audience, slot, wait, on_upstream_failure, lost_answer, memory: _memory } = work;
    let mut resources = HeldResources { answer: None, lease: None, slot };
    let may_be_taken_over = on_upstream_failure == OnUpstreamFailure::Restart && audience.log.recovers();
    let terms = AnswerTerms { wait, on_upstream_failure, lost_answer };
    let appending = append_answer(running, writer, (planned, audience, terms), &mut resources);
    let ending = AssertUnwindSafe(appending).catch_unwind().await.unwrap_or_else(|_| {
        running.record_panic();
        Some(Ending::failed(FailureCode::Internal))
    });
    let whole = matches!(ending, Some(Ending::Done { .. }));
    // An incomplete answer is dropped first, so that the upstream stops costing money.
    let HeldResources { answer, lease, slot } = resources;
    let rest = answer.filter(|_| whole);
    drop(lease);
    // The new owner of a generation that was taken over has the same slot and reservations.
    let ending = if may_be_taken_over && !writer.is_owner().await { None } else { ending };
    // Frees the slot before the terminal event is readable: a client that reads it may start the next generation at
    // once.
    if ending.is_none() && may_be_taken_over {
        slot.forget();
        running.forget_reservations();
    } else {
        slot.release().await;
    }
    // Without an ending of its own, another process has ended the log: this process is lost to it.
    running.end(writer, ending.unwrap_or_else(|| Ending::failed(FailureCode::ReplicaLost))).await;
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
    writer: &mut dyn Writer,
    (planned, audience, terms): (PlannedRequest, Audience, AnswerTerms),
    resources: &mut HeldResources,
) -> Option<Ending> {
    let ended = iter::once(ended_from_elsewhere(running, audience, planned.deadline).boxed()).collect();
    let AnswerTerms { wait, on_upstream_failure, lost_answer } = terms;
    let is_lost = lost_answer.as_ref().is_some_and(AnswerExtent::has_begun);
    let mut relay = Relay::new(running, writer, ended, lost_answer.unwrap_or_default());
    if !resources.slot.is_granted() {
        let _waiting = running.waiting();
        tokio::select! {
            biased;
            interruption = relay.interrupted() => return interruption.ending(),
            waited = resources.slot.granted() => if waited == WaitOutcome::Displaced {
                return Some(Ending::failed(FailureCode::TooManyGenerations));
            },
            () = sleep(wait) => return Some(Ending::failed(FailureCode::TooManyGenerations)),
        }
    }
    running.record_slot();
    let mut series = AttemptSeries::new(planned);
    let committed = match relay.next_answer(&mut series).await {
        Ok(Ok(committed)) => committed,
        Ok(Err(_)) if is_lost => return Some(Ending::failed(FailureCode::ReplicaLost)),
        Ok(Err(FailedAttempt { held, error })) => {
            relay.push(held);
            return Some(Ending::of_attempt(running.attempts.failed(&error)));
        }
        Err(interruption) => return interruption.ending(),
    };
    // Without a restart the request is released here.
    let mut series = (on_upstream_failure == OnUpstreamFailure::Restart).then_some(series);
    running.begin_answer();
    let held = resources.hold(committed);
    let mut whole = if is_lost { relay.restart(FailureCode::ReplicaLost, held) } else { relay.push(held) };
    loop {
        if let Some(trailer) = whole {
            return Some(Ending::Done { trailer });
        }
        let error = match resources.pass_on(&mut relay).await {
            AnswerEnd::Whole(trailer) => return Some(Ending::Done { trailer }),
            AnswerEnd::Interrupted(interruption) => return interruption.ending(),
            AnswerEnd::Broken(error) => error,
        };
        let failure = running.attempts.failed(&error);
        resources.release_broken();
        let Some(series) = series.as_mut().filter(|_| relay.can_withdraw(failure.code)) else {
            return Some(Ending::of_attempt(failure));
        };
        series.record_break(&error);
        let committed = match relay.next_answer(series).await {
            Ok(Ok(committed)) => committed,
            // The text so far stands, and so does the reason why it is incomplete.
            Ok(Err(_)) => return Some(Ending::of_attempt(failure)),
            Err(interruption) => return interruption.ending(),
        };
        running.begin_answer();
        let held = resources.hold(committed);
        whole = relay.restart(failure.code, held);
    }
}

impl HeldResources {
    /// Holds an answer until it ends; returns its first signals.
    fn hold(&mut self, committed: CommittedAnswer) -> Signals {
        let CommittedAnswer { held, answer, lease } = committed;
        (self.answer, self.lease) = (Some(answer), Some(lease));
        held
    }

    async fn pass_on(&mut self, relay: &mut Relay<'_>) -> AnswerEnd {
        match &mut self.answer {
            Some(answer) => relay.pass_on(answer).await,
            None => pending().await,
        }
    }

    /// Releases an answer that broke after its first token.
    fn release_broken(&mut self) {
        self.answer = None;
        if let Some(mut lease) = self.lease.take() {
            lease.record_break();
        }
    }
}

/// Resolves when the generation must end for a reason other than the upstream's answer or the log.
async fn ended_from_elsewhere(running: &Running, audience: Audience, deadline: Instant) -> Ending {
    tokio::select! {
        biased;
        ending = running.end_requested() => ending,
        reason = audience.log.end_requested(audience.generation) => Ending::Cancelled(reason),
        () = audience.abandoned() => Ending::Cancelled(CancelReason::Abandoned),
        () = sleep_until(deadline) => Ending::failed(FailureCode::DeadlineExceeded),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use futures_util::stream;
    use smallvec::smallvec;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::domain::{
        Account, Cancelled, ChatRequest, Entry, Escaped, Event, Finish, GenerationId, Part, Principal, Quota,
        RequestId, Restart, Sequence, Shape, Start, Timestamp, Timings, Trailer, Usage, UsageReport, UsageRequest, Usd,
    };
    use crate::event_log::{Created, EventLog, LogTerms, Memory, MemoryLimits, follow};
    use crate::generation::attempt_failure::UpstreamMessages;
    use crate::generation::attempts::{AttemptContext, Attempts};
    use crate::generation::audience::{Audience, OnDisconnect};
    use crate::generation::running::AdmittedGeneration;
    use crate::generation::subject::{PromptSource, RepeatPolicy, Subject};
    use crate::generation::tokens::TokenCounter;
    use crate::json::JsonObject;
    use crate::limits::{GenerationDemand, Limiter, Permit, RequestPermit, Spender, WaitPolicy};
    use crate::telemetry::Metrics;
    use crate::upstream::{
        AttemptError, AttemptErrorKind, Delivery, MalformedResponseError, Phase, Plan, ScriptedProvider, Signal, Target,
    };
    use crate::usage::Ledger;

    const LIMITS: MemoryLimits =
        MemoryLimits { total: 1 << 20, generation: 4096, running: 0, retention: Duration::from_mins(1) };

    /// Runs a generation whose answer is `answer`, until `deadline`; returns all its entries.
    async fn entries(answer: Answer, deadline: Duration) -> Vec<Entry> {
        generated(&[("test", answer)].map(target), deadline).await.0
    }

    fn target((upstream, answer): (&str, Answer)) -> Target {
        Target::single(ScriptedProvider::new(upstream, [answer]), "m")
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
            notes: None,
            chat: None,
        };
        let memory = Memory::new(LIMITS);
        let spender = Spender::new(Account::Principal(Principal::Anonymous), Quota::NONE, Arc::default());
        let orphan =
            Cancelled { reason: CancelReason::Abandoned, usage: Usage::default(), timings: Timings::default() };
        let if_orphaned = Event::Cancelled(Arc::new(orphan));
        let terms = LogTerms { account: spender.account.clone(), claim: None, if_orphaned, recovery: None };
        let Ok(Created::New { mut writer, viewer: _viewer }) = memory.create(Arc::new(start), terms).await else {
            panic!("there is room")
        };
        let log = Arc::new(memory);
        let audience = Audience {
            log,
            generation: id,
            on_disconnect: OnDisconnect::Continue,
            grace: Duration::ZERO,
            moving: CancellationToken::new(),
        };
        let counter = TokenCounter::new(TaskTracker::new());
        let limits = Limiter::default();
        let demand = GenerationDemand {
            spender: spender.clone(),
            model: "m".into(),
            tokens: 0,
            cost: Usd::default(),
            wait_policy: WaitPolicy::Refuses,
        };
        let permit = limits.admit(demand, RequestPermit::default()).await;
        let Permit { slot, reservations, .. } = permit.expect("there is no limit");
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
        let plan = Plan::of("m", first.clone(), others.to_vec());
        let metrics = Metrics::new();
        let context = AttemptContext {
            request_id: subject.request_id,
            model: "m".into(),
            prompt: Arc::default(),
            messages: UpstreamMessages::Log,
            principal: Principal::Anonymous,
            reserved: Usage::default(),
            earlier: None,
            ledger: Ledger::default(),
        };
        let attempts = Attempts::new(context, plan.first.target.clone(), Arc::clone(&metrics));
        let running = Running::new(id, subject, attempts, admitted, Arc::clone(&metrics), counter);
        let planned = PlannedRequest {
            plan,
            request: Arc::new(ChatRequest::new("m".into(), JsonObject::default())),
            delivery: Delivery::Stream,
            deadline: Instant::now() + deadline,
        };
        let on_upstream_failure = OnUpstreamFailure::Restart;
        let work = Work {
            planned,
            audience,
            slot,
            wait: Duration::ZERO,
            on_upstream_failure,
            lost_answer: None,
            memory: None,
        };
        let rest = run(&running, &mut *writer, work).await;
        if let Some(rest) = rest {
            drain_answer(rest).await;
        }
        let pages: Vec<_> = follow(Arc::clone(writer.log()), Sequence::START).collect().await;
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

    /// Returns the entries after the start, a word or a few each.
    async fn words<const N: usize>(targets: [(&str, Answer); N]) -> Vec<String> {
        let (entries, _) = generated(&targets.map(target), Duration::from_mins(1)).await;
        let word = |entry: &Entry| match &entry.event {
            Event::Chunk(chunk) => chunk.text().as_str().to_owned(),
            Event::Restart(Restart { from, reason }) => format!("restart {from} {}", reason.name()),
            Event::Failed(failed) => format!("failed {}", failed.failure.code.name()),
            Event::Done(_) => "done".to_owned(),
            other => panic!("{other:?}"),
        };
        entries.iter().skip(1).map(word).collect()
    }

    fn reads(reads: impl IntoIterator<Item = Result<Signal, AttemptErrorKind>>) -> Answer {
        let reads =
            reads.into_iter().map(|read| read.map(|signal| smallvec![signal]).map_err(AttemptError::in_response));
        Box::pin(stream::iter(reads.collect::<Vec<_>>()))
    }

    fn stalled(text_before: &str) -> Answer {
        reads([Ok(text(text_before)), Err(AttemptErrorKind::Timeout(Phase::NextToken))])
    }

    fn whole(said: &str) -> Answer {
        reads([Ok(text(said)), Ok(Signal::End { trailer: Trailer::default() })])
    }

    fn refusal() -> Answer {
        reads([Err(AttemptErrorKind::Refused { status: 502, retry_after: None, report: None })])
    }

    #[tokio::test]
    async fn answer_that_breaks_is_withdrawn_when_the_next_target_has_its_first_token() {
        let said = words([("a", stalled("a")), ("b", whole("b"))]).await;
        assert_eq!(said, ["a", "restart 1 upstream_timeout", "b", "done"]);
        let said = words([("a", stalled("a")), ("b", refusal()), ("c", stalled("c")), ("d", whole("d"))]).await;
        assert_eq!(said, ["a", "restart 1 upstream_timeout", "c", "restart 3 upstream_timeout", "d", "done"]);
    }

    #[tokio::test(start_paused = true)]
    async fn answer_that_breaks_stands_if_no_other_target_answers() {
        assert_eq!(words([("a", stalled("a"))]).await, ["a", "failed upstream_timeout"]);
        let said = words([("a", stalled("a")), ("b", refusal())]).await;
        assert_eq!(said, ["a", "failed upstream_timeout"]);
        let silent: Answer = Box::pin(stream::once(pending()));
        let said = words([("a", stalled("a")), ("b", silent)]).await;
        assert_eq!(said, ["a", "failed deadline_exceeded"]);
    }

    #[tokio::test]
    async fn answer_is_not_withdrawn_after_a_tool_call_or_for_a_limit_of_this_service() {
        let part =
            |part| Signal::Chunk(crate::domain::Chunk::new(Arc::new(Shape::new(None, part)), Escaped::default()));
        let call = Part::ToolCall { choice: 0, index: 0, id: None, name: None };
        let former_call = Part::Other { choice: 0, delta_json: r#"{"function_call":{"name":"f"}}"#.into() };
        let custom_json = r#"{"tool_calls":[{"index":0,"type":"custom","custom":{"name":"f","input":""}}]}"#;
        let custom_call = Part::Other { choice: 0, delta_json: custom_json.into() };
        for tool in [call, former_call, custom_call] {
            let broken = reads([Ok(part(tool)), Ok(text("a")), Err(AttemptErrorKind::Timeout(Phase::NextToken))]);
            assert_eq!(words([("a", broken), ("b", whole("b"))]).await, ["", "a", "failed upstream_timeout"]);
        }
        let too_large = AttemptErrorKind::Malformed(MalformedResponseError::EventTooLarge);
        let said = words([("a", reads([Ok(text("a")), Err(too_large)])), ("b", whole("b"))]).await;
        assert_eq!(said, ["a", "failed too_large"]);
    }

    #[tokio::test]
    async fn usage_and_finish_reasons_are_those_of_the_answer_that_stands() {
        let usage = |output_tokens| {
            Signal::Usage(UsageReport {
                input_tokens: Some(1),
                output_tokens: Some(output_tokens),
                ..UsageReport::default()
            })
        };
        let finish = |reason: &str| Signal::Finish { choice: 0, reason: reason.into() };
        let timeout = AttemptErrorKind::Timeout(Phase::NextToken);
        let a = reads([Ok(text("a")), Ok(usage(7)), Ok(finish("length")), Err(timeout)]);
        let end = Signal::End { trailer: Trailer::default() };
        let b = reads([Ok(text("b")), Ok(finish("stop")), Ok(usage(2)), Ok(end)]);
        let (entries, _) = generated(&[("a", a), ("b", b)].map(target), Duration::from_mins(1)).await;
        let Some(Event::Done(done)) = entries.last().map(|entry| &entry.event) else { panic!("{entries:?}") };
        assert_eq!((done.usage.output_tokens, &*done.finish), (Some(2), &[Finish::stated(0, "stop")][..]));
    }

    #[tokio::test]
    async fn restart_that_does_not_fit_leaves_the_usage_of_the_answer_that_stands() {
        let usage = UsageReport { input_tokens: Some(1), output_tokens: Some(7), ..UsageReport::default() };
        let timeout = AttemptErrorKind::Timeout(Phase::NextToken);
        let said = "0123456789".repeat(250);
        let a = reads([Ok(text(&said)), Ok(Signal::Usage(usage)), Err(timeout)]);
        let (entries, _) = generated(&[("a", a), ("b", whole(&said))].map(target), Duration::from_mins(1)).await;
        assert!(entries.iter().all(|entry| !matches!(entry.event, Event::Restart(_))));
        let Some(Event::Failed(failed)) = entries.last().map(|entry| &entry.event) else { panic!("{entries:?}") };
        let output_tokens = failed.usage.and_then(|usage| usage.output_tokens);
        assert_eq!((failed.failure.code, output_tokens), (FailureCode::TooLarge, Some(7)));
    }

    const fn event_name(event: &Event) -> &'static str {
        match event {
            Event::Chunk(_) => "chunk",
            Event::Failed(_) => "failed",
            _ => "other",
        }
    }
}
