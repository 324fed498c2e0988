//! The real service with scripted upstreams and viewers, and the model of each generation that it is compared with.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokenrill::domain::{
    Account, AllowedModels, ChatRequest, Chunk, Claim, Entry, Escaped, Event, EventPosition, FailureCode, Fingerprint,
    FinishReason, GenerationId, OnUpstreamFailure, Part, Principal, Quota, RequestId, Sequence, Shape, Trailer,
    UsageReport, UsageRequest,
};
use tokenrill::event_log::{Conflict, EventLog, GenerationLog, Memory, MemoryLimits, Tail, TailState};
use tokenrill::generation::{
    CreateError, Delivery, FollowError, Following, Generations, NewGeneration, OnDisconnect, Origin, StartError,
    Storage, Terms, UpstreamMessages,
};
use tokenrill::json::JsonObject;
use tokenrill::limits::{Limiter, Limits, Policy, ProcessLimits, RequestPermit, Spender, WaitPolicy};
use tokenrill::telemetry::Metrics;
use tokenrill::upstream::{
    Answer, AttemptError, AttemptErrorKind, AttemptTerms, Provider, Router, Signal, Signals, UpstreamIdentity,
};
use tokenrill::usage::Ledger;
use tokio::sync::mpsc;
use tokio::time::{Instant, advance};
use tokio_util::task::TaskTracker;

use super::model::{Model, Outcome};
use super::{Operation, Pause};
use crate::event_log::Backend as _;
use crate::event_log::slow::Slow;
use crate::support::test_identity;

pub const GRACE: Duration = Duration::from_secs(10);
pub const MAX_DURATION: Duration = Duration::from_mins(2);
pub const RETENTION: Duration = Duration::from_mins(5);

/// The next action of an upstream.
#[expect(clippy::large_enum_variant, reason = "a test has few")]
enum UpstreamStep {
    Signals(Signals),
    Error,
    Panic,
}

/// The upstream calls of all generations, by the number in the request.
#[derive(Default)]
struct Upstreams {
    calls: Mutex<HashMap<u64, mpsc::Receiver<UpstreamStep>>>,
    open: Mutex<BTreeMap<u64, Arc<AtomicUsize>>>,
    /// The calls that reached the upstream, which may bill them.
    sent: Arc<Mutex<HashSet<u64>>>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Provider for Upstreams {
    fn identity(&self) -> &Arc<UpstreamIdentity> {
        test_identity()
    }

    fn attempt(&self, request: &Arc<ChatRequest>, terms: AttemptTerms) -> Answer {
        let number = request.fields.read::<u64>("number").expect("a number");
        let said = self.calls.lock().expect("a lock").remove(&number).expect("asked once");
        let open = Arc::clone(&self.open.lock().expect("a lock")[&number]);
        open.fetch_add(1, Ordering::SeqCst);
        // The first signals report the usage. The service then need not count tokens.
        let usage = UsageReport { input_tokens: Some(1), output_tokens: Some(1), ..UsageReport::default() };
        let sent = Arc::clone(&self.sent);
        let first = stream::once(async move {
            terms.sent.set();
            sent.lock().expect("a lock").insert(number);
            Ok(smallvec::smallvec![Signal::Usage(usage)])
        });
        let rest = stream::unfold((said, Open(open)), |(mut said, open)| async {
            match said.recv().await? {
                UpstreamStep::Signals(signals) => Some((Ok(signals), (said, open))),
                UpstreamStep::Error => {
                    Some((Err(AttemptError::in_response(AttemptErrorKind::Reported(Box::default()))), (said, open)))
                }
                // Unwinds like a panic, but bypasses the panic hook, which would write to standard error.
                UpstreamStep::Panic => std::panic::resume_unwind(Box::new("a defect, on purpose")),
            }
        });
        Box::pin(first.chain(rest))
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<tokenrill::upstream::ListedModel>, AttemptErrorKind>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }
}

/// A generation and its model.
struct Subject {
    id: GenerationId,
    number: u64,
    log: Arc<dyn GenerationLog>,
    upstream: Option<mpsc::Sender<UpstreamStep>>,
    model: Model,
}

/// A viewer across all its connections.
struct Viewer {
    generation: usize,
    received: Vec<Entry>,
    following: Option<Following>,
}

pub struct World {
    generations: Generations,
    limits: Arc<ProcessLimits>,
    backend: LogBackend,
    /// The logs as they are stored.
    memory: Memory,
    metrics: Arc<Metrics>,
    upstreams: Arc<Upstreams>,
    tasks: TaskTracker,
    /// Stop and erase operations in progress.
    stops_and_erasures: TaskTracker,
    expiring: TaskTracker,
    subjects: Vec<Subject>,
    viewers: Vec<Viewer>,
    keys: HashMap<u8, (usize, u8)>,
    /// When all tasks were last idle, and whether they still are.
    rested: Instant,
    at_rest: bool,
}

const CALLER: Principal = Principal::Anonymous;

/// Limits that no case reaches. `end` checks that everything taken is released.
static POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let most = Some(NonZeroU32::MAX);
    let each =
        Quota { requests_per_minute: most, tokens_per_minute: most, concurrent_generations: most, ..Quota::NONE };
    Arc::new(Policy { each, ..Policy::default() })
});

static TOKEN: LazyLock<Arc<Shape>> =
    LazyLock::new(|| Arc::new(Shape::new(None, Part::Text { choice: 0, logprobs_json: None })));

fn token(number: u64, at: usize) -> Signal {
    Signal::Chunk(Chunk::new(Arc::clone(&TOKEN), Escaped::from_text(&format!("{number}.{at}"))))
}

/// The backend of the event log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogBackend {
    Memory,
    /// Behind a slow and lossy network.
    Slow,
}

impl LogBackend {
    /// The scheduler turns after which every task waits, however many calls it has to repeat.
    const fn turns_to_rest(self) -> usize {
        match self {
            Self::Memory => 40,
            Self::Slow => 2_000,
        }
    }

    /// The scheduler turns for which a viewer waits for its next page.
    const fn turns_to_read(self) -> usize {
        match self {
            Self::Memory => 0,
            Self::Slow => 30,
        }
    }
}

impl World {
    pub fn new(backend: LogBackend) -> Self {
        let limits = MemoryLimits { total: 64 << 20, generation: 1 << 20, running: 0, retention: RETENTION };
        let (log, memory) = match backend {
            LogBackend::Memory => {
                let memory = Memory::new(limits);
                (Arc::new(memory.clone()) as Arc<dyn EventLog>, memory)
            }
            LogBackend::Slow => {
                let slow = Slow::start(limits);
                let memory = slow.store().clone();
                (Arc::new(slow) as Arc<dyn EventLog>, memory)
            }
        };
        let (metrics, tasks, expiring) = (Metrics::new(), TaskTracker::new(), TaskTracker::new());
        let upstreams = Arc::new(Upstreams::default());
        let terms = Terms {
            upstream_messages: UpstreamMessages::Log,
            max_duration: MAX_DURATION,
            on_disconnect: OnDisconnect::Cancel,
            grace: GRACE * 5,
        };
        let limits = Arc::<ProcessLimits>::default();
        let limiter = Limiter::new(Arc::clone(&limits) as Arc<dyn Limits>, tasks.clone());
        let router = Router::new(Arc::clone(&upstreams) as _, Vec::new(), Vec::new(), None, TaskTracker::new());
        let generations =
            Generations::new(log, router, terms, limiter, Arc::clone(&metrics), tasks.clone(), Ledger::default());
        expiring.spawn({
            let memory = memory.clone();
            async move { memory.expire().await }
        });
        let stops_and_erasures = TaskTracker::new();
        let (subjects, viewers, keys) = (Vec::new(), Vec::new(), HashMap::new());
        let (rested, at_rest) = (Instant::now(), false);
        Self {
            generations,
            limits,
            backend,
            memory,
            metrics,
            upstreams,
            tasks,
            stops_and_erasures,
            expiring,
            subjects,
            viewers,
            keys,
            rested,
            at_rest,
        }
    }

    pub async fn step(&mut self, operation: &Operation) {
        // Any task may have read the clock before this operation.
        self.clock();
        match *operation {
            Operation::Start { on_disconnect, grace, storage, claim } => {
                self.start(on_disconnect, grace, storage, claim).await;
            }
            Operation::SendTokens(at, count) => self.send_tokens(at, count),
            Operation::Finish(at) => {
                let (reason, trailer) = (FinishReason::from("stop"), Trailer::default());
                let end = smallvec::smallvec![Signal::Finish { choice: 0, reason }, Signal::End { trailer }];
                self.end_upstream(at, Some(UpstreamStep::Signals(end)), Outcome::Done);
            }
            Operation::Fail(at) => {
                self.end_upstream(at, Some(UpstreamStep::Error), Outcome::Failed(FailureCode::UpstreamError));
            }
            Operation::Close(at) => {
                self.end_upstream(at, None, Outcome::Failed(FailureCode::UpstreamDisconnected));
            }
            Operation::Panic(at) => {
                self.end_upstream(at, Some(UpstreamStep::Panic), Outcome::Failed(FailureCode::Internal));
            }
            Operation::Follow(at) => self.follow(at).await,
            Operation::Read(at) => self.read(at).await,
            Operation::Drop(at) => self.drop(at),
            Operation::Resume(at) => self.resume(at).await,
            Operation::FollowBeyond(at) => self.follow_beyond(at).await,
            Operation::Inspect(at) => self.inspect(at).await,
            Operation::Stop(at) => {
                self.stop_or_erase(at, |generations, id| {
                    async move { generations.stop(&CALLER, id).await.map(drop) }.boxed()
                });
            }
            Operation::Erase(at) => {
                self.stop_or_erase(at, |generations, id| async move { generations.erase(&CALLER, id).await }.boxed());
                if let Some(subject) = pick(&mut self.subjects, at) {
                    subject.model.erased = true;
                }
            }
            Operation::Advance(span) => {
                if self.backend == LogBackend::Slow {
                    // Every call that has begun is carried out before time passes, as the model expects.
                    self.settle().await;
                }
                advance(span).await;
                self.clock();
            }
            Operation::EndAll => {
                self.generations.end_all();
                self.all(|model| model.must_end(Outcome::Failed(FailureCode::ShuttingDown)));
            }
            Operation::AbortAll => {
                self.generations.abort_all();
                self.all(|model| model.must_end(Outcome::Failed(FailureCode::Internal)));
            }
        }
        self.clock();
        self.at_rest = false;
    }

    async fn start(&mut self, on_disconnect: OnDisconnect, grace: Duration, storage: Storage, claim: Option<(u8, u8)>) {
        let number = self.subjects.len() as u64;
        let (upstream, said) = mpsc::channel(64);
        self.upstreams.calls.lock().expect("a lock").insert(number, said);
        self.upstreams.open.lock().expect("a lock").insert(number, Arc::default());
        let known = claim.and_then(|(key, body)| self.keys.get(&key).map(|known| (*known, body)));
        // A key is known as long as its generation is. While the end of the generation is undecided, either is allowed.
        let kept = known.map(|((at, _), _)| self.is_claimed(at));
        let lost = known.map(|((at, _), _)| self.is_lost(at));
        let started = self.generations.start(NewGeneration {
            messages_form: None,
            delivery: Delivery::Stream,
            owner: CALLER,
            spender: Spender::new(Account::Principal(CALLER), Quota::NONE, Arc::clone(&POLICY)),
            request: RequestPermit::default(),
            wait_policy: WaitPolicy::Refuses,
            claim: claim.map(|(key, body)| Claim {
                key: format!("k{key}").parse().expect("a key"),
                request: Fingerprint::new([body; 32]),
            }),
            model: Some("demo".into()),
            fields: JsonObject::parse(format!("{{\"number\":{number}}}").as_bytes()).expect("an object"),
            allowed: AllowedModels::All,
            prompt: None,
            metadata: [].into(),
            notes: None,
            chat: None,
            usage: UsageRequest::NotAsked,
            storage,
            on_disconnect: Some(on_disconnect),
            on_upstream_failure: OnUpstreamFailure::Fail,
            grace: Some(grace),
            request_id: RequestId::random(),
        });
        match started.await {
            Ok(started) if started.origin == Origin::New => {
                assert_ne!(kept, Some(Kept::Yes), "a known key starts nothing");
                assert_ne!(lost, Some(Kept::Yes), "a key whose answer is lost starts nothing");
                let now = Instant::now();
                let id = started.following.start().generation;
                let log =
                    self.memory.open(id, Sequence::START).await.expect("the log answers").expect("its log is there");
                let model = Model {
                    on_disconnect,
                    grace,
                    storage,
                    deadline: now + MAX_DURATION,
                    said: 0,
                    silent: false,
                    viewers: 1,
                    empty_since: now,
                    possible: Vec::new(),
                    must_end: false,
                    ended: None,
                    ended_between: None,
                    may_be_removed: false,
                    erased: false,
                };
                let at = self.subjects.len();
                if let Some((key, body)) = claim {
                    self.keys.insert(key, (at, body));
                }
                self.subjects.push(Subject { id, number, log, upstream: Some(upstream), model });
                let following = Some(started.following);
                self.viewers.push(Viewer { generation: at, received: Vec::new(), following });
            }
            Ok(started) => {
                let ((at, first_body), body) = known.expect("only a known key joins");
                assert_eq!((started.following.start().generation, first_body), (self.subjects[at].id, body));
                assert_ne!(kept, Some(Kept::No));
                self.join(at);
                let following = Some(started.following);
                self.viewers.push(Viewer { generation: at, received: Vec::new(), following });
            }
            Err(StartError::Log(CreateError::Conflict(Conflict))) => {
                let ((_, first_body), body) = known.expect("only a known key conflicts");
                assert_ne!(first_body, body);
                assert_ne!((kept, lost), (Some(Kept::No), Some(Kept::No)));
            }
            Err(StartError::Log(CreateError::Lost(lost_answer))) => {
                let ((at, first_body), body) = known.expect("only a known key is of a lost answer");
                assert_eq!(first_body, body);
                assert_ne!(kept, Some(Kept::Yes));
                assert_ne!(lost, Some(Kept::No));
                // A task that is dropped before its upstream call does not free its key.
                assert_eq!(lost_answer.usage.is_none(), self.is_unbilled(at), "usage, unless nothing was billed");
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn send_tokens(&mut self, at: usize, count: u8) {
        let Some(subject) = pick(&mut self.subjects, at) else { return };
        if subject.model.silent {
            return;
        }
        let signals = (0..usize::from(count)).map(|more| token(subject.number, subject.model.said + more)).collect();
        // After the generation has ended, the receiver is dropped and the send fails.
        if let Some(upstream) = &subject.upstream
            && upstream.try_send(UpstreamStep::Signals(signals)).is_ok()
        {
            subject.model.said += usize::from(count);
        }
    }

    fn end_upstream(&mut self, at: usize, said: Option<UpstreamStep>, outcome: Outcome) {
        let Some(subject) = pick(&mut self.subjects, at) else { return };
        if subject.model.silent {
            return;
        }
        let Some(upstream) = subject.upstream.take() else { return };
        if said.is_none_or(|said| upstream.try_send(said).is_ok()) {
            subject.model.silent = true;
            subject.model.must_end(outcome);
        }
    }

    async fn follow(&mut self, at: usize) {
        if self.subjects.is_empty() {
            return;
        }
        let at = at % self.subjects.len();
        self.attach(at, Vec::new(), None).await;
    }

    async fn resume(&mut self, at: usize) {
        let away: Vec<_> = (0..self.viewers.len()).filter(|at| self.viewers[*at].following.is_none()).collect();
        if away.is_empty() {
            return;
        }
        let viewer = away[at % away.len()];
        let (generation, received) = (self.viewers[viewer].generation, self.viewers[viewer].received.clone());
        self.attach(generation, received, Some(viewer)).await;
    }

    async fn attach(&mut self, at: usize, received: Vec<Entry>, viewer: Option<usize>) {
        let kept = self.is_kept(at);
        let after = received.last().map_or(Sequence::START, |entry| entry.sequence);
        let id = self.subjects[at].id;
        let following = match self.generations.follow(&CALLER, id, EventPosition::first(after)).await {
            Ok(following) => {
                assert_ne!(kept, Kept::No, "a removed record is not found");
                self.join(at);
                Some(following)
            }
            Err(FollowError::NotFound) => {
                assert_ne!(kept, Kept::Yes, "a kept record is found");
                None
            }
            Err(FollowError::AtEnd) => {
                assert!(received.last().is_some_and(|entry| entry.event.is_terminal()), "only after the ending");
                None
            }
            Err(FollowError::HistoryLost) => panic!("whoever was sent an id finds it in the log"),
            Err(FollowError::LogUnavailable(_)) => panic!("the log answers"),
        };
        match viewer {
            Some(viewer) => self.viewers[viewer].following = following,
            None => self.viewers.push(Viewer { generation: at, received, following }),
        }
    }

    /// Counts a viewer.
    fn join(&mut self, at: usize) {
        let model = &mut self.subjects[at].model;
        // Behind a network the generation may end while its only viewer joins. A record that is not to be kept is then
        // removed, and the viewer reads the log for as long as it stays connected.
        if self.backend == LogBackend::Slow && model.viewers == 0 {
            model.may_be_removed |= model.ended.is_some() || !model.possible.is_empty();
        }
        model.viewers += 1;
    }

    /// A position after the tail is refused at once; the service does not wait for the log to reach it.
    async fn follow_beyond(&mut self, at: usize) {
        let Some(subject) = pick(&mut self.subjects, at) else { return };
        let beyond = subject.log.tail().await.expect("a tail").sequence.plus(1000);
        let refused = self.generations.follow(&CALLER, subject.id, EventPosition::first(beyond)).await.err();
        assert!(matches!(refused, Some(FollowError::HistoryLost | FollowError::NotFound)), "{refused:?}");
    }

    async fn read(&mut self, at: usize) {
        let turns = self.backend.turns_to_read();
        let Some(viewer) = pick(&mut self.viewers, at) else { return };
        let Some(following) = &mut viewer.following else { return };
        match ready_within(turns, following.next_page()).await {
            Some(Some(page)) => viewer.received.extend(page.expect("the log is there")),
            Some(None) => {
                assert!(
                    viewer.received.last().is_some_and(|last| last.event.is_terminal()),
                    "the stream ends only after the terminal event"
                );
            }
            None => {}
        }
    }

    fn drop(&mut self, at: usize) {
        let Some(viewer) = pick(&mut self.viewers, at) else { return };
        if viewer.following.take().is_some() {
            self.subjects[viewer.generation].model.leave(Instant::now());
        }
    }

    async fn inspect(&mut self, at: usize) {
        let Some(subject) = pick(&mut self.subjects, at) else { return };
        // `inspect` does not count as a viewer and does not restart the grace.
        let Ok(state) = self.generations.inspect(&CALLER, subject.id).await else { return };
        let outline = state.outline().await.expect("the log is there");
        let expected =
            (0..subject.model.said).map(|at| format!("{}.{at}", subject.number)).collect::<Vec<_>>().concat();
        let text = match outline.choices[&0].text {
            Some(span) => state.texts().pieces(span).try_collect::<String>().await.expect("the log is there"),
            None => String::new(),
        };
        assert!(expected.starts_with(&text), "{text} of {expected}");
        let tail = subject.log.tail().await.expect("a tail").sequence;
        match self.backend {
            LogBackend::Memory => assert_eq!(outline.position.sequence, tail),
            // Entries may be appended while the state is read.
            LogBackend::Slow => assert!(outline.position.sequence <= tail, "{:?} is after {tail:?}", outline.position),
        }
    }

    fn stop_or_erase(
        &mut self,
        at: usize,
        stop_or_erase: impl FnOnce(Generations, GenerationId) -> BoxFuture<'static, Result<(), FollowError>>,
    ) {
        let Some(subject) = pick(&mut self.subjects, at) else { return };
        let stop_or_erase = stop_or_erase(self.generations.clone(), subject.id);
        self.stops_and_erasures.spawn(async move { _ = stop_or_erase.await });
        // A running generation whose record was erased can no longer be stopped by its id.
        if subject.model.erased {
            subject.model.may_end(Outcome::Stopped);
        } else {
            subject.model.must_end(Outcome::Stopped);
        }
    }

    fn all(&mut self, change: impl Fn(&mut Model)) {
        self.subjects.iter_mut().for_each(|subject| change(&mut subject.model));
    }

    fn clock(&mut self) {
        let now = Instant::now();
        self.all(|model| model.clock(now));
    }

    pub async fn pause(&mut self, pause: Pause) {
        match pause {
            Pause::Turns(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
            Pause::Rest => self.rest().await,
        }
        self.clock();
    }

    /// Runs all tasks until each of them waits.
    async fn settle(&self) {
        for _ in 0..self.backend.turns_to_rest() {
            tokio::task::yield_now().await;
        }
    }

    /// Runs all tasks until each of them waits, and compares the result with the model.
    async fn rest(&mut self) {
        self.settle().await;
        self.clock();
        let now = Instant::now();
        assert!(self.stops_and_erasures.is_empty(), "each stop and erasure completes");
        let mut ended = 0;
        for subject in &mut self.subjects {
            let Subject { model, log, number, .. } = subject;
            let tail = log.tail().await.expect("a tail");
            let actual = match tail.state {
                TailState::Open => None,
                TailState::Closed => {
                    let last = log.read(tail.sequence.before()).await.expect("the log is there").entries.pop();
                    Some(Outcome::of(&last.expect("an entry").event).expect("a terminal event"))
                }
            };
            if model.ended.is_none() {
                match actual {
                    None => {
                        assert!(!model.must_end, "it must have ended: {model:?}");
                        assert!(!model.is_abandoned(now), "it is abandoned and still runs: {model:?}");
                        assert_eq!(
                            tail.sequence.get(),
                            1 + model.said as u64,
                            "all tokens that the upstream sent are in the log"
                        );
                        model.possible.clear();
                    }
                    Some(outcome) => assert!(model.possible.contains(&outcome), "{outcome:?}: {model:?}"),
                }
                model.ended = actual;
                model.ended_between = actual.map(|_| (self.rested, now));
            }
            assert_eq!(model.ended, actual, "a terminal event does not change");
            ended += usize::from(actual.is_some());
            // N6: an upstream call is open exactly as long as its generation runs.
            let open = self.upstreams.open.lock().expect("a lock")[number].load(Ordering::SeqCst);
            assert_eq!(open, usize::from(actual.is_none()), "{model:?}");
        }
        // N5: each generation that has ended is counted once.
        assert_eq!(self.metric_sum("tokenrill_generations_total"), ended);
        // N7: the gauges equal the number of running generations and connected viewers.
        assert_eq!(self.metric_sum("tokenrill_generations_live"), self.subjects.len() - ended);
        let following = self.viewers.iter().filter(|viewer| viewer.following.is_some()).count();
        assert_eq!(self.metric_sum("tokenrill_viewers_live"), following);
        assert_eq!(self.generations.count(), self.subjects.len() - ended);
        (self.rested, self.at_rest) = (now, true);
    }

    /// The sum of all series of a metric.
    fn metric_sum(&self, name: &str) -> usize {
        let (_, text) = self.metrics.render();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines
            .map(|line| line.rsplit(' ').next().and_then(|figure| figure.parse::<usize>().ok()).expect("a figure"))
            .sum()
    }

    /// Whether the record is kept, or `Maybe` while the order of events does not decide it.
    fn is_kept(&self, at: usize) -> Kept {
        let Subject { model, .. } = &self.subjects[at];
        let now = Instant::now();
        let watched = self.viewers.iter().any(|viewer| viewer.generation == at && viewer.following.is_some());
        let unwanted = model.erased || (model.storage == Storage::UntilRead && !watched);
        let (earliest, latest) = model.ended_between.unwrap_or((self.rested, now));
        match model.ended {
            // Since all tasks were idle, nothing but this step has happened.
            Some(_) if self.at_rest && (unwanted || now >= latest + RETENTION) => Kept::No,
            None if self.at_rest && !model.erased => Kept::Yes,
            _ if model.storage == Storage::UntilRead && model.may_be_removed => Kept::Maybe,
            _ if !unwanted && now < earliest + RETENTION => Kept::Yes,
            _ => Kept::Maybe,
        }
    }

    /// Whether an idempotency key still names this generation. A generation that failed or was abandoned before it
    /// reached the upstream frees its key.
    fn is_claimed(&self, at: usize) -> Kept {
        let is_unbilled = self.is_unbilled(at);
        match self.subjects[at].model.ended {
            // A task that is dropped does not free its key.
            Some(Outcome::Failed(FailureCode::Internal | FailureCode::ShuttingDown)) if is_unbilled => Kept::Maybe,
            Some(Outcome::Failed(_) | Outcome::Abandoned) if is_unbilled && self.at_rest => Kept::No,
            _ if is_unbilled => Kept::Maybe,
            _ => self.is_kept(at),
        }
    }

    /// Whether an idempotency key still names this generation although its record has been removed. It does until the
    /// retention ends, because a repeated request must not be billed again.
    fn is_lost(&self, at: usize) -> Kept {
        let Subject { model, .. } = &self.subjects[at];
        let now = Instant::now();
        let (earliest, latest) = model.ended_between.unwrap_or((self.rested, now));
        let is_dropped = self.at_rest && !model.erased && self.is_kept(at) == Kept::No;
        match self.is_claimed(at) {
            _ if model.storage == Storage::Kept => Kept::No,
            _ if self.at_rest && model.ended.is_some() && now >= latest + RETENTION => Kept::No,
            Kept::No if is_dropped && !self.is_unbilled(at) && now < earliest + RETENTION => Kept::Yes,
            _ => Kept::Maybe,
        }
    }

    /// Whether the generation ended before it reached the upstream.
    fn is_unbilled(&self, at: usize) -> bool {
        let Subject { log, number, .. } = &self.subjects[at];
        let is_closed = log.tail().now_or_never().expect("a log in memory").expect("a tail")
            == Tail { sequence: Sequence::new(2), state: TailState::Closed };
        is_closed && !self.upstreams.sent.lock().expect("a lock").contains(number)
    }

    /// Checks at any moment: the entries of each viewer are a prefix of the log without a gap (N1, N2), a terminal
    /// event occurs at most once and last (N4), and the text is the text that the upstream sent.
    pub async fn check(&mut self) {
        for subject in &self.subjects {
            let (mut entries, mut after) = (Vec::new(), Sequence::START);
            loop {
                let page = subject.log.read(after).await.expect("the log is there").entries;
                let Some(last) = page.last() else { break };
                after = last.sequence;
                entries.extend(page);
            }
            assert!(entries.iter().zip(1..).all(|(entry, sequence)| entry.sequence.get() == sequence), "dense");
            assert!(matches!(entries[0].event, Event::Start(_)));
            let terminals = entries.iter().filter(|entry| entry.event.is_terminal()).count();
            let last_is_terminal = entries.last().is_some_and(|entry| entry.event.is_terminal());
            assert_eq!(terminals, usize::from(last_is_terminal), "one terminal event, last");
            let chunks = entries.iter().filter_map(|entry| match &entry.event {
                Event::Chunk(chunk) => Some(chunk.text().as_str()),
                _ => None,
            });
            let mut count = 0;
            for (text, at) in chunks.zip(0..) {
                assert_eq!(text, format!("{}.{at}", subject.number));
                count += 1;
            }
            assert!(count <= subject.model.said);
            if matches!(entries.last().map(|entry| &entry.event), Some(Event::Done(_))) {
                assert_eq!(count, subject.model.said, "done follows the complete answer");
            }
            for viewer in self.viewers.iter().filter(|viewer| self.subjects[viewer.generation].id == subject.id) {
                assert!(entries.starts_with(&viewer.received), "a viewer's entries are a prefix of the log");
            }
        }
    }

    /// Disconnects all viewers and advances past every time limit: no log, byte, task or permit is left (N7).
    pub async fn end(mut self) {
        for at in 0..self.viewers.len() {
            self.drop(at);
        }
        self.clock();
        self.rest().await;
        self.clock();
        advance(MAX_DURATION).await;
        self.rest().await;
        assert!(
            self.subjects.iter().all(|subject| subject.model.ended.is_some()),
            "each generation has ended in bounded time"
        );
        advance(RETENTION).await;
        self.rest().await;
        assert_eq!((self.memory.count(), self.memory.bytes(), self.tasks.len()), (0, 0, 0));
        assert_eq!((self.limits.count(), self.limits.reservations()), ((0, 0), 0));
        assert_eq!(self.expiring.len(), 1);
        self.check().await;
    }
}

/// Whether a record or a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
    Maybe,
}

/// Polls a future for at most this many scheduler turns more. A timeout would let the paused clock advance.
async fn ready_within<T>(turns: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..turns {
        if let Some(output) = future.as_mut().now_or_never() {
            return Some(output);
        }
        tokio::task::yield_now().await;
    }
    future.now_or_never()
}

fn pick<T>(all: &mut [T], at: usize) -> Option<&mut T> {
    let count = all.len();
    (count > 0).then(|| &mut all[at % count])
}
