//! Budgets of money are exact: over 1,000 generations that end in every way, what a caller has spent is the sum of what
//! its attempts cost, and each decision is the one that this sum requires.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use smallvec::smallvec;
use tokenrill::domain::{
    Account, Affinity, AllowedModels, Budget, BudgetPeriod, ChatRequest, Chunk, Escaped, FinishReason, ModelPrice,
    NamePattern, OnUpstreamFailure, Part, Principal, Quota, RequestId, Shape, Strategy, Timestamp, Trailer,
    UsageReport, UsageRequest, Usd,
};
use tokenrill::event_log::{Memory, MemoryLimits};
use tokenrill::generation::{
    Delivery, Generations, NewGeneration, OnDisconnect, StartError, StartedGeneration, Storage, Terms, UpstreamMessages,
};
use tokenrill::json::JsonObject;
use tokenrill::limits::{Budgets, ExceededLimit, Limiter, Limits, ProcessLimits, RequestPermit, Spender, WaitPolicy};
use tokenrill::telemetry::Metrics;
use tokenrill::upstream::{
    AliasTarget, Answer, AttemptError, AttemptErrorKind, AttemptTerms, KnownConversations, ListedModel, ModelAlias,
    Provider, Router, Sent, Signal, Target, UpstreamIdentity, UpstreamServer,
};
use tokenrill::usage::{Ledger, Prices, UsageQuery};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{Instant, advance};
use tokio_util::task::TaskTracker;

use crate::support::test_identity;

/// What an upstream does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    /// Reports this usage and a token, and then ends, breaks off or waits for the stop.
    Answers { input: u64, output: u64, then: Then },
    /// Refuses with a status: not billed.
    Refuses,
    /// Closes the connection before the first token: the prompt may be billed.
    Disconnects,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Ends,
    BreaksOff,
    WaitsForTheStop,
}

/// An upstream that follows the script of the current generation once the gate is open.
struct ScriptedUpstream {
    identity: Arc<UpstreamIdentity>,
    script: Arc<Mutex<Script>>,
    gate: watch::Receiver<bool>,
}

impl Provider for ScriptedUpstream {
    fn identity(&self) -> &Arc<UpstreamIdentity> {
        &self.identity
    }

    fn attempt(&self, _: &Arc<ChatRequest>, terms: AttemptTerms) -> Answer {
        let (script, mut gate) = (*self.script.lock().expect("a lock"), self.gate.clone());
        let opened = async move {
            terms.sent.set();
            gate.wait_for(|is_open| *is_open).await.expect("the test keeps it");
        };
        let signals = match script {
            Script::Refuses => {
                let refused = AttemptErrorKind::Refused { status: 503, retry_after: None, report: None };
                vec![Err(AttemptError::in_response(refused))]
            }
            Script::Disconnects => {
                let cause = "connection reset".into();
                vec![Err(AttemptError::new(AttemptErrorKind::Disconnected { cause }, Sent::Maybe))]
            }
            Script::Answers { input, output, then } => {
                let usage =
                    UsageReport { input_tokens: Some(input), output_tokens: Some(output), ..UsageReport::default() };
                let shape = Arc::new(Shape::new(None, Part::Text { choice: 0, logprobs_json: None }));
                let token = Signal::Chunk(Chunk::new(shape, Escaped::from_text("word")));
                let mut signals = vec![Ok(smallvec![Signal::Usage(usage), token])];
                match then {
                    Then::Ends => {
                        let (reason, trailer) = (FinishReason::from("stop"), Trailer::default());
                        let end = smallvec![Signal::Finish { choice: 0, reason }, Signal::End { trailer }];
                        signals.push(Ok(end));
                    }
                    Then::BreaksOff => {
                        let kind = AttemptErrorKind::Disconnected { cause: "connection reset".into() };
                        signals.push(Err(AttemptError::new(kind, Sent::Maybe)));
                    }
                    Then::WaitsForTheStop => {
                        let stream = stream::iter(signals).chain(stream::pending());
                        return Box::pin(stream::once(opened).filter_map(|()| async { None }).chain(stream));
                    }
                }
                signals
            }
        };
        Box::pin(stream::once(opened).filter_map(|()| async { None }).chain(stream::iter(signals)))
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ListedModel>, AttemptErrorKind>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }
}

/// Numbers from a fixed seed (xorshift64).
struct Random(Cell<u64>);

impl Random {
    /// Returns a number from 0 to below `end`.
    fn below(&self, end: u64) -> u64 {
        let mut seed = self.0.get();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        self.0.set(seed);
        seed % end
    }

    fn answer(&self) -> Script {
        let then = match self.below(10) {
            0..7 => Then::Ends,
            7 => Then::BreaksOff,
            _ => Then::WaitsForTheStop,
        };
        Script::Answers { input: self.below(300), output: self.below(2_000), then }
    }
}

/// The prices of the two targets, in nano-dollars for one token.
const DEAR: (u64, u64) = (3_000, 15_000);
const CHEAP: (u64, u64) = (250, 2_000);

fn cost((input_price, output_price): (u64, u64), input: u64, output: u64) -> u64 {
    input * input_price + output * output_price
}

fn price((input, output): (u64, u64)) -> ModelPrice {
    // A thousand nano-dollars for one token are a dollar for a million.
    let price = |nanos: u64| Some(format!("{}.{:03}", nanos / 1_000, nanos % 1_000).parse().expect("a price"));
    ModelPrice { input: price(input), output: price(output), ..ModelPrice::default() }
}

/// Ten hours before the end of the year.
const BEGIN: &str = "2026-12-31T14:00:00Z";
const PROMPT: &str =
    "How many of all the tokens that this service reads does it have to pay for on a long winter's day?!";
const MOST: u64 = 1_300_000_000;

struct World {
    generations: Generations,
    limits: Arc<ProcessLimits>,
    ledger: Ledger,
    scripts: [Arc<Mutex<Script>>; 2],
    gate: watch::Sender<bool>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

fn caller() -> Principal {
    Principal::Key("web".into())
}

impl World {
    fn new() -> Self {
        let (begin, since) = (Timestamp::from(humantime::parse_rfc3339(BEGIN).expect("a time")), Instant::now());
        let clock: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(move || begin.after(since.elapsed()));
        let read = Arc::clone(&clock);
        let limits = Arc::new(ProcessLimits::with_budgets(Budgets::new(move || read())));
        let (gate, opened) = watch::channel(false);
        let scripts = [(); 2].map(|()| Arc::new(Mutex::new(Script::Refuses)));
        let [dear, cheap] = [("dear", 0), ("cheap", 1)].map(|(name, at)| {
            let identity = UpstreamIdentity::new(name, "test:");
            let upstream = ScriptedUpstream { identity, script: Arc::clone(&scripts[at]), gate: opened.clone() };
            UpstreamServer::single(Arc::new(upstream))
        });
        let target =
            |server: &Arc<UpstreamServer>| AliasTarget { target: Target::new(Arc::clone(server), "x"), weight: 1.0 };
        let alias = ModelAlias {
            conversations: KnownConversations::default(),
            name: "fast".into(),
            first: target(&dear),
            others: vec![target(&cheap)],
            strategy: Strategy::Fallback,
            affinity: Affinity::Off,
            fallback_on: [].into(),
            first_token: None,
            hedge: None,
        };
        let demo =
            ScriptedUpstream { identity: Arc::clone(test_identity()), script: Arc::clone(&scripts[0]), gate: opened };
        let any = || vec![NamePattern::new("*")];
        let routes = vec![(any(), dear), (any(), cheap)];
        let router = Router::new(Arc::new(demo), routes, vec![alias], None, TaskTracker::new());
        let prices = [("dear/x".to_owned(), price(DEAR)), ("cheap/x".to_owned(), price(CHEAP))].into();
        let metrics = Metrics::new();
        let prices = Prices::load(prices, None).expect("prices");
        let ledger = Ledger::in_memory(prices, Arc::clone(&metrics));
        let memory =
            MemoryLimits { total: 8 << 20, generation: 1 << 20, running: 0, retention: Duration::from_secs(1) };
        let terms = Terms {
            upstream_messages: UpstreamMessages::Log,
            max_duration: Duration::from_hours(10),
            on_disconnect: OnDisconnect::Continue,
            grace: Duration::ZERO,
        };
        let tasks = TaskTracker::new();
        let limiter = Limiter::new(Arc::clone(&limits) as Arc<dyn Limits>, tasks.clone());
        let log = Arc::new(Memory::new(memory));
        let generations = Generations::new(log, router, terms, limiter, metrics, tasks, ledger.clone());
        Self { generations, limits, ledger, scripts, gate, clock }
    }

    async fn start(&self, most_output: u64) -> Result<StartedGeneration, StartError> {
        let fields = serde_json::json!({
            "messages": [{"role": "user", "content": PROMPT}], "max_completion_tokens": most_output,
        });
        let account = Account::Principal(caller());
        let budget = Budget { most: Usd::from_nanos(MOST), per: BudgetPeriod::Day };
        let new = NewGeneration {
            messages_form: None,
            delivery: Delivery::Stream,
            owner: caller(),
            spender: Spender::new(account, Quota::NONE, Arc::default()).with_budget(Some(budget)),
            request: RequestPermit::default(),
            wait_policy: WaitPolicy::Refuses,
            claim: None,
            model: Some("fast".into()),
            fields: JsonObject::parse(fields.to_string().as_bytes()).expect("an object"),
            allowed: AllowedModels::All,
            prompt: None,
            metadata: [].into(),
            notes: None,
            chat: None,
            usage: UsageRequest::NotAsked,
            storage: Storage::Kept,
            on_disconnect: None,
            on_upstream_failure: OnUpstreamFailure::Fail,
            grace: None,
            request_id: RequestId::random(),
        };
        self.generations.start(new).await
    }

    fn spent(&self, per: BudgetPeriod) -> u64 {
        self.limits.spent(&Account::Principal(caller()), per).nanos()
    }

    /// Lets the upstreams answer, and waits for the end of the generation.
    async fn end(&self, started: StartedGeneration, is_stopped: bool) {
        let (id, mut following) = (started.following.start().generation, started.following);
        self.gate.send_replace(true);
        if is_stopped {
            // The start, and the first token.
            let mut entries = 0;
            while entries < 2 {
                entries += following.next_page().await.expect("it goes on").expect("it is kept").len();
            }
            self.generations.stop(&caller(), id).await.expect("it is there");
        }
        while self.generations.count() > 0 {
            yield_now().await;
        }
        self.gate.send_replace(false);
    }
}

/// What the test expects: the nano-dollars of the day and of the month, and those of all time.
#[derive(Default)]
struct Expected {
    day: Option<(String, u64)>,
    all: u64,
}

impl Expected {
    /// Returns what is spent on this day.
    fn of(&mut self, day: &str) -> &mut u64 {
        if self.day.as_ref().is_none_or(|(known, _)| known != day) {
            self.day = Some((day.to_owned(), 0));
        }
        &mut self.day.as_mut().expect("just set").1
    }
}

#[tokio::test(start_paused = true)]
async fn reservations_and_settlements_of_a_thousand_generations_are_exact_over_midnight() {
    let (world, random, mut expected) = (World::new(), Random(Cell::new(0x5EED)), Expected::default());
    let day = || (world.clock)().to_string()[..10].to_owned();
    let prompt_tokens = (PROMPT.len() + "user".len()).div_ceil(4) as u64;
    let (mut admitted, mut refused, mut days) = (0, 0, Vec::new());
    for number in 0..1_000 {
        let first = match random.below(10) {
            0 => Script::Refuses,
            1 => Script::Disconnects,
            _ => random.answer(),
        };
        let second = if random.below(5) == 0 { Script::Refuses } else { random.answer() };
        for (script, next) in world.scripts.iter().zip([first, second]) {
            *script.lock().expect("a lock") = next;
        }
        let most_output = 1 + random.below(2_000);
        let today = day();
        if days.last() != Some(&today) {
            days.push(today.clone());
        }
        let before = *expected.of(&today);
        let reserved = cost(DEAR, prompt_tokens, most_output);
        let started = match world.start(most_output).await {
            Ok(started) => started,
            Err(StartError::Exceeded(refusal, _)) => {
                let ExceededLimit::Budget(budget) = refusal.limit else { panic!("{refusal:?}") };
                assert_eq!((budget.spent.nanos(), budget.wanted.nanos()), (before, reserved), "{number}");
                assert!(before + reserved > MOST, "{number}: refused although it fits");
                assert_eq!(world.spent(BudgetPeriod::Day), before, "{number}: a refusal reserves nothing");
                refused += 1;
                advance(Duration::from_mins(1)).await;
                continue;
            }
            Err(error) => panic!("{number}: {error}"),
        };
        admitted += 1;
        assert!(before + reserved <= MOST, "{number}: admitted above the budget");
        assert_eq!(world.spent(BudgetPeriod::Day), before + reserved, "{number}");
        // Some run over midnight: they count in the day in which they were admitted.
        if random.below(20) == 0 {
            advance(Duration::from_secs(90)).await;
        }
        let mut charged = 0;
        let mut is_stopped = false;
        for (script, prices) in [(first, DEAR), (second, CHEAP)] {
            match script {
                Script::Refuses => {}
                Script::Disconnects => charged += cost(prices, prompt_tokens, 0),
                Script::Answers { input, output, then } => {
                    charged += cost(prices, input, output);
                    is_stopped = then == Then::WaitsForTheStop;
                    break;
                }
            }
        }
        world.end(started, is_stopped).await;
        expected.all += charged;
        if day() == today {
            *expected.of(&today) += charged;
        }
        let now = day();
        assert_eq!(world.spent(BudgetPeriod::Day), *expected.of(&now), "{number}: {first:?} {second:?}");
        let rows = world.ledger.rows(&UsageQuery::default());
        assert_eq!(rows[0].totals.known_cost.nanos(), expected.all, "{number}: the ledger has the same");
        advance(Duration::from_mins(1)).await;
    }
    assert_eq!(days.len(), 2, "the clock has passed midnight: {days:?}");
    assert!(admitted > 100 && refused > 100, "both happen: {admitted} {refused}");
    assert_eq!(world.limits.reservations(), 0);
    let month = world.spent(BudgetPeriod::Month);
    assert_eq!(month, *expected.of(&day()), "the midnight is that of a new month too");
}
