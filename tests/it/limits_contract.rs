//! The contract of the limits (`tokenrill::limits`), rule by rule, against each adapter.
//!
//! The clock of a Redis server cannot be paused, so its tests run in real time, and [`StillRedis`] stops the refilling of
//! its rates. Two kinds of tests need what a server does not have: those with a gate before and after each call
//! (`tests/it/replica_limits.rs` pauses the server, and loses its replies), and those that move the time by a lease (there
//! a second process waits for a short one).

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokenrill::domain::{Account, Budget, BudgetPeriod, GenerationId, NamePattern, Principal, Quota, Usd};
use tokenrill::limits::{
    Allowance, ExceededLimit, GenerationDemand, LimitError, Limiter, Limits, Permit, Policy, ProcessLimits, QueueState,
    RequestPermit, Settled, Settlement, Spender, WaitOutcome, WaitPolicy,
};
use tokio::task::yield_now;
use tokio::time::{Instant, advance};
use tokio_util::task::TaskTracker;

use crate::support::{LEASE, SharedLimits, SlowLimits, StillRedis, soon};

/// What an adapter keeps.
enum Kept {
    Process(Arc<ProcessLimits>),
    Redis(Arc<StillRedis>),
}

impl Kept {
    /// Returns the numbers of running and of queued generations.
    fn count(&self) -> (usize, usize) {
        match self {
            Self::Process(limits) => limits.count(),
            Self::Redis(redis) => redis.count(),
        }
    }

    fn reservations(&self) -> usize {
        match self {
            Self::Process(limits) => limits.reservations(),
            Self::Redis(redis) => redis.reservations(),
        }
    }
}

/// One adapter, and what it keeps.
struct Adapter {
    limits: Arc<dyn Limits>,
    limiter: Limiter,
    kept: Kept,
    /// Calls whose callers are gone.
    tasks: TaskTracker,
}

impl Adapter {
    fn new(limits: Arc<dyn Limits>, kept: Arc<ProcessLimits>) -> Self {
        Self::keeping(limits, Kept::Process(kept))
    }

    fn keeping(limits: Arc<dyn Limits>, kept: Kept) -> Self {
        let tasks = TaskTracker::new();
        tasks.close();
        Self { limiter: Limiter::new(Arc::clone(&limits), tasks.clone()), limits, kept, tasks }
    }

    fn redis() -> Self {
        let limits = StillRedis::start(LEASE);
        Self::keeping(Arc::clone(&limits) as Arc<dyn Limits>, Kept::Redis(limits))
    }

    async fn pass(&self, time: Duration) {
        match &self.kept {
            Kept::Process(_) => advance(time).await,
            Kept::Redis(redis) => redis.pass(time),
        }
    }

    /// Asserts that nothing is reserved, once all calls are completed.
    async fn assert_empty(&self) {
        self.tasks.wait().await;
        if let Kept::Redis(_) = &self.kept {
            // A slot that was granted while its generation left the queue is freed by a task of the adapter.
            soon(async {
                while self.kept.count() != (0, 0) {
                    yield_now().await;
                }
            })
            .await;
        }
        assert_eq!((self.kept.count(), self.kept.reservations()), ((0, 0), 0));
    }

    async fn start(&self, spender: &Spender, model: &str, tokens: u64) -> Result<Permit, ExceededLimit> {
        let request = self.limiter.take_request(spender).await.map_err(limit)?;
        self.limiter.admit(demand(spender, model, tokens, WaitPolicy::Refuses), request).await.map_err(limit)
    }

    async fn left(&self, spender: &Spender, model: &str) -> (u32, u32) {
        left(self.limiter.left(spender, model).await)
    }
}

fn adapters() -> [Adapter; 2] {
    let [process, behind] = [(); 2].map(|()| Arc::<ProcessLimits>::default());
    [
        Adapter::new(Arc::clone(&process) as Arc<dyn Limits>, process),
        Adapter::new(SlowLimits::open(Arc::clone(&behind)), behind),
    ]
}

macro_rules! shared_contract {
    ($($name:ident)*) => {
        mod in_memory {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                for adapter in super::adapters() {
                    super::$name(adapter).await;
                }
            })*
        }

        mod in_redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Adapter::redis()).await;
            })*
        }
    };
}

shared_contract! {
    request_refused_by_one_limit_reserves_nothing_of_another
    retry_after_the_reported_wait_is_admitted_by_all_limits
    repeated_call_finds_its_own_reservation
    second_settlement_and_second_release_change_nothing
    settlement_leaves_the_rate_as_if_the_usage_had_been_reserved
    slot_that_expires_is_granted_to_the_queue_and_its_release_changes_nothing
    released_slot_wakes_the_queue_and_a_released_position_is_given_up
    displaced_generation_is_told_and_releases_nothing
    published_events_are_limited_and_the_rest_is_returned
    generation_above_the_budget_is_refused_and_reserves_nothing
    settlement_leaves_the_budget_as_if_the_cost_had_been_reserved
    budget_that_is_not_settled_stays_spent_and_a_changed_one_applies_at_once
}

fn limit(error: LimitError) -> ExceededLimit {
    match error {
        LimitError::Exceeded(exceeded) => exceeded.limit,
        LimitError::Unavailable => panic!("the limits answer"),
    }
}

fn left(allowance: Allowance) -> (u32, u32) {
    (allowance.requests.expect("a limit").left, allowance.tokens.expect("a limit").left)
}

fn some(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

fn per_minute(requests: u32, tokens: u32) -> Quota {
    Quota { requests_per_minute: Some(some(requests)), tokens_per_minute: Some(some(tokens)), ..Quota::NONE }
}

/// Limits that no test reaches, with this many slots and a queue.
fn policy(slots: u32) -> Arc<Policy> {
    let each = per_minute(1_000, 100_000);
    Arc::new(Policy { each, generations: Some(some(slots)), waiting: 10, ..Policy::default() })
}

fn spender(name: &str, policy: &Arc<Policy>) -> Spender {
    Spender::new(Account::Principal(Principal::Key(name.into())), Quota::NONE, Arc::clone(policy))
}

fn demand(spender: &Spender, model: &str, tokens: u64, wait_policy: WaitPolicy) -> GenerationDemand {
    GenerationDemand { spender: spender.clone(), model: model.into(), tokens, cost: Usd::default(), wait_policy }
}

fn waits(spender: &Spender) -> GenerationDemand {
    demand(spender, "m", 100, WaitPolicy::Waits { at_most: None })
}

/// Contract 1.
async fn request_refused_by_one_limit_reserves_nothing_of_another(adapter: Adapter) {
    let policy = Arc::new(Policy {
        each: Quota { concurrent_generations: Some(some(1)), ..per_minute(10, 1_000) },
        models: vec![(NamePattern::new("big*"), per_minute(1, 500))],
        ..Policy::default()
    });
    let spender = spender("a", &policy);
    let first = adapter.start(&spender, "big-1", 100).await.expect("a slot");
    assert_eq!((adapter.left(&spender, "small").await, adapter.left(&spender, "big-1").await), ((9, 900), (0, 400)));
    let refused = adapter.start(&spender, "big-2", 1).await.err();
    assert_eq!(refused, Some(ExceededLimit::RequestsPerMinute(some(1))), "of the model");
    let refused = adapter.start(&spender, "small", 950).await.err();
    assert_eq!(refused, Some(ExceededLimit::TokensPerMinute(some(1_000))));
    assert_eq!(adapter.start(&spender, "small", 100).await.err(), Some(ExceededLimit::Generations));
    assert_eq!(adapter.left(&spender, "small").await, (9, 900));
    first.reservations.settle(Settlement::Used(40)).await;
    assert_eq!((adapter.left(&spender, "small").await, adapter.left(&spender, "big-1").await), ((9, 960), (0, 460)));
    first.slot.release().await;
    assert!(adapter.start(&spender, "small", 100).await.is_ok());
    adapter.assert_empty().await;
    assert_eq!(adapter.left(&spender, "small").await, (9, 960), "dropped: all is refunded");
}

async fn retry_after_the_reported_wait_is_admitted_by_all_limits(adapter: Adapter) {
    let policy = Arc::new(Policy { each: per_minute(60, 1_000), ..Policy::default() });
    let spender = spender("a", &policy);
    for _ in 0..59 {
        let permit = adapter.start(&spender, "m", 0).await.expect("enough");
        permit.reservations.settle(Settlement::Used(16)).await;
    }
    let request = adapter.limiter.take_request(&spender).await.expect("one is left");
    let refused = adapter.limiter.admit(demand(&spender, "m", 640, WaitPolicy::Refuses), request).await;
    let Err(LimitError::Exceeded(refused)) = refused else { panic!("no tokens are left") };
    assert_eq!(refused.limit, ExceededLimit::TokensPerMinute(some(1_000)));
    let wait = refused.wait.expect("a wait");
    adapter.pass(wait * 9 / 10).await;
    assert!(adapter.start(&spender, "m", 640).await.is_err());
    adapter.pass(wait / 10).await;
    assert!(adapter.start(&spender, "m", 640).await.is_ok());
    adapter.assert_empty().await;
}

/// Contract 2.
async fn repeated_call_finds_its_own_reservation(adapter: Adapter) {
    let Adapter { limits, limiter, kept, .. } = adapter;
    let spender = spender("a", &policy(1));
    let [runs, queues] = [(); 2].map(|()| GenerationId::random());
    for _ in 0..3 {
        limits.take_request(runs, &spender).await.expect("enough");
        let admitted = limits.admit(runs, &waits(&spender)).await.expect("a slot");
        assert!(admitted.queue_state.is_none());
        let admitted = limits.admit(queues, &waits(&spender)).await.expect("room to wait");
        let queue_state = admitted.queue_state.expect("it queues");
        assert!(matches!(*queue_state.borrow(), QueueState::Waiting(ahead) if ahead.position == 1));
        assert_eq!(kept.count(), (1, 1));
        assert_eq!(left(limiter.left(&spender, "m").await), (999, 99_800));
    }
    limits.release(runs).await;
    let admitted = limits.admit(queues, &waits(&spender)).await.expect("it has the slot now");
    assert_eq!(admitted.queue_state.map(|queue_state| *queue_state.borrow()), Some(QueueState::Granted));
    assert_eq!(kept.count(), (1, 0));
}

/// Contract 3.
async fn second_settlement_and_second_release_change_nothing(adapter: Adapter) {
    let Adapter { limits, limiter, kept, .. } = adapter;
    let spender = spender("a", &policy(2));
    let [one, other, unknown] = [(); 3].map(|()| GenerationId::random());
    for id in [one, other] {
        limits.take_request(id, &spender).await.expect("enough");
        limits.admit(id, &waits(&spender)).await.expect("a slot");
    }
    for _ in 0..2 {
        limits.release(one).await;
        limits.release(unknown).await;
        assert_eq!(kept.count(), (1, 0), "the other generation keeps its slot");
        assert_eq!(left(limiter.left(&spender, "m").await), (998, 99_800), "a release settles nothing");
    }
    for settlement in [Settlement::Used(30), Settlement::Refunded, Settlement::Used(99_000)] {
        limits.settle(one, settlement.into()).await;
        limits.settle(unknown, settlement.into()).await;
        assert_eq!(left(limiter.left(&spender, "m").await), (998, 99_870));
    }
    assert_eq!((kept.count(), kept.reservations()), ((1, 0), 1));
}

/// Contract 4.
async fn settlement_leaves_the_rate_as_if_the_usage_had_been_reserved(adapter: Adapter) {
    let spender = spender("a", &policy(10));
    let (mut used, mut requests) = (0, 0);
    for (settlement, tokens, counted) in [
        (Settlement::Used(0), 0, 1),
        (Settlement::Used(30), 30, 1),
        (Settlement::Used(100), 100, 1),
        (Settlement::Used(5_000), 5_000, 1),
        (Settlement::AsReserved, 100, 1),
        (Settlement::Refunded, 0, 0),
    ] {
        let permit = adapter.start(&spender, "m", 100).await.expect("enough");
        permit.reservations.settle(settlement).await;
        (used, requests) = (used + tokens, requests + counted);
        assert_eq!(adapter.left(&spender, "m").await, (1_000 - requests, 100_000 - used), "{settlement:?}");
    }
    adapter.limiter.take_request(&spender).await.expect("enough").spend().await;
    assert_eq!(adapter.left(&spender, "m").await, (1_000 - requests - 1, 100_000 - used));
    adapter.limiter.charge_request(&spender);
    adapter.assert_empty().await;
    assert_eq!(adapter.left(&spender, "m").await, (1_000 - requests - 2, 100_000 - used));
}

/// Contract 5: the lease of a slot ends while its holder still has it.
async fn slot_that_expires_is_granted_to_the_queue_and_its_release_changes_nothing(adapter: Adapter) {
    let spender = spender("a", &policy(1));
    let holder = adapter.limiter.admit(waits(&spender), RequestPermit::default()).await.expect("a slot");
    let mut queued = adapter.limiter.admit(waits(&spender), RequestPermit::default()).await.expect("room to wait");
    assert_eq!(queued.slot.granted().now_or_never(), None);
    adapter.limits.release(holder.id).await;
    assert_eq!(queued.slot.granted().await, WaitOutcome::Granted);
    holder.slot.release().await;
    assert_eq!(adapter.kept.count(), (1, 0), "the queued generation keeps the slot");
    drop((holder.reservations, queued));
    adapter.assert_empty().await;
}

/// Contract 5: the process that holds a slot is gone, and another one frees it.
#[tokio::test(start_paused = true)]
async fn slot_of_a_process_that_no_longer_renews_is_granted_to_the_queue_of_another_process() {
    let kept = Arc::<ProcessLimits>::default();
    let [here, gone] = SharedLimits::pair(&kept);
    let [waiting, holding] =
        [&here, &gone].map(|process| Adapter::new(Arc::clone(process) as Arc<dyn Limits>, Arc::clone(&kept)));
    let spender = spender("a", &policy(1));
    let holder = holding.limiter.admit(waits(&spender), RequestPermit::default()).await.expect("a slot");
    let mut queued = waiting.limiter.admit(waits(&spender), RequestPermit::default()).await.expect("room to wait");

    // While both processes renew, the slot stays with its holder for longer than a lease.
    for _ in 0..3 {
        advance(LEASE / 2).await;
        here.renew().await;
        gone.renew().await;
        assert_eq!((queued.slot.granted().now_or_never(), kept.count()), (None, (1, 1)));
    }
    advance(LEASE).await;
    here.renew().await;
    assert_eq!(queued.slot.granted().now_or_never(), None, "the lease has not expired yet");
    advance(Duration::from_millis(1)).await;
    here.renew().await;
    assert_eq!(queued.slot.granted().await, WaitOutcome::Granted);
    assert_eq!(kept.count(), (1, 0));

    // The process was only slow: the slot is no longer its own, and its rates are still settled.
    holder.slot.release().await;
    assert_eq!(kept.count(), (1, 0), "the queued generation keeps the slot");
    holder.reservations.settle(Settlement::Used(40)).await;
    drop(queued);
    waiting.assert_empty().await;
}

/// Contract 6.
async fn released_slot_wakes_the_queue_and_a_released_position_is_given_up(adapter: Adapter) {
    let spender = spender("a", &policy(1));
    let admit =
        || async { adapter.limiter.admit(waits(&spender), RequestPermit::default()).await.expect("room to wait") };
    let (runs, mut first, second, mut third) = (admit().await, admit().await, admit().await, admit().await);
    let position = |permit: &Permit| match *permit.slot.queue_state().expect("it queues").borrow() {
        QueueState::Waiting(ahead) => ahead.position,
        QueueState::Granted => 0,
        QueueState::Displaced => u32::MAX,
    };
    assert_eq!([&first, &second, &third].map(position), [1, 2, 3]);
    second.slot.release().await;
    assert_eq!([&first, &third].map(position), [1, 2]);
    runs.slot.release().await;
    assert_eq!(first.slot.granted().await, WaitOutcome::Granted);
    assert_eq!((position(&third), adapter.kept.count()), (1, (1, 1)));
    drop(first);
    assert_eq!(third.slot.granted().await, WaitOutcome::Granted);
    drop((third, runs.reservations, second.reservations));
    adapter.assert_empty().await;
}

/// Contract 6: the last of the caller with most is displaced.
async fn displaced_generation_is_told_and_releases_nothing(adapter: Adapter) {
    let policy = Arc::new(Policy { generations: Some(some(1)), waiting: 2, ..Policy::default() });
    let (one, other) = (spender("a", &policy), spender("b", &policy));
    let admit = |spender: &Spender| {
        let demand = waits(spender);
        async { adapter.limiter.admit(demand, RequestPermit::default()).await.expect("room to wait") }
    };
    let (runs, waits, mut displaced) = (admit(&one).await, admit(&one).await, admit(&one).await);
    let displaces = admit(&other).await;
    assert_eq!(displaced.slot.granted().await, WaitOutcome::Displaced);
    displaced.slot.release().await;
    assert_eq!(adapter.kept.count(), (1, 2));
    drop((runs, waits, displaces, displaced.reservations));
    adapter.assert_empty().await;
}

async fn published_events_are_limited_and_the_rest_is_returned(adapter: Adapter) {
    let policy =
        Arc::new(Policy { each: Quota { publishes_per_minute: Some(some(2)), ..Quota::NONE }, ..Policy::default() });
    let spender = spender("a", &policy);
    for rest in [1, 0] {
        let allowance = adapter.limiter.publish(&spender).await.expect("enough");
        assert_eq!(allowance.publishes.map(|left| left.left), Some(rest));
    }
    let (error, allowance) = adapter.limiter.publish(&spender).await.expect_err("none is left");
    assert_eq!(
        (limit(error), allowance.publishes.map(|left| left.left)),
        (ExceededLimit::PublishesPerMinute(some(2)), Some(0))
    );
}

/// A caller that may spend this many nano-dollars.
fn with_budget(spender: &Spender, nanos: u64) -> Spender {
    spender.clone().with_budget(Some(Budget { most: Usd::from_nanos(nanos), per: BudgetPeriod::Month }))
}

impl Adapter {
    async fn start_costing(&self, spender: &Spender, nanos: u64) -> Result<Permit, LimitError> {
        let cost = Usd::from_nanos(nanos);
        let demand = GenerationDemand { cost, ..demand(spender, "m", 100, WaitPolicy::Refuses) };
        self.limiter.admit(demand, RequestPermit::default()).await
    }

    /// Returns the nano-dollars that are spent or reserved, from a refusal.
    async fn spent(&self, spender: &Spender) -> u64 {
        match self.start_costing(spender, u64::MAX - 1).await.err() {
            Some(LimitError::Exceeded(refused)) => match refused.limit {
                ExceededLimit::Budget(budget) => budget.spent.nanos(),
                other => panic!("refused by {other:?}"),
            },
            other => panic!("admitted or {other:?}"),
        }
    }
}

/// Contract 1.
async fn generation_above_the_budget_is_refused_and_reserves_nothing(adapter: Adapter) {
    let policy = Arc::new(Policy { each: per_minute(1_000, 1_000), generations: Some(some(2)), ..Policy::default() });
    let spender = with_budget(&spender("a", &policy), 1_000);
    let first = adapter.start_costing(&spender, 600).await.expect("within the budget");
    let Err(LimitError::Exceeded(refused)) = adapter.start_costing(&spender, 401).await else { panic!("above it") };
    let ExceededLimit::Budget(budget) = refused.limit else { panic!("{refused:?}") };
    assert_eq!((budget.left(), budget.wanted, refused.wait), (Usd::from_nanos(400), Usd::from_nanos(401), None));
    assert!(budget.resets_at() > budget.at);
    assert_eq!((adapter.left(&spender, "m").await.1, adapter.kept.count().0), (900, 1), "neither tokens nor a slot");
    // All of it may be used, by a request that another limit refuses as well as by one that is admitted.
    let second = adapter.start_costing(&spender, 400).await.expect("exactly the budget");
    let slots = adapter.start_costing(&spender, 0).await.err();
    assert!(matches!(slots, Some(LimitError::Exceeded(refused)) if refused.limit == ExceededLimit::Generations));
    assert_eq!(adapter.spent(&spender).await, 1_000);
    drop((first, second));
    adapter.assert_empty().await;
    assert_eq!(adapter.spent(&spender).await, 0, "dropped: all is refunded");
}

/// Contract 3 and 4.
async fn settlement_leaves_the_budget_as_if_the_cost_had_been_reserved(adapter: Adapter) {
    let spender = with_budget(&spender("a", &policy(10)), 1_000_000);
    let cost = |nanos| Some(Usd::from_nanos(nanos));
    let mut spent = 0;
    for (usage, cost, counted) in [
        (Settlement::Used(0), cost(0), 0),
        (Settlement::Used(7), cost(30), 30),
        (Settlement::Used(7), cost(5_000), 5_000),
        (Settlement::AsReserved, cost(20), 20),
        (Settlement::AsReserved, None, 100),
        (Settlement::Used(7), None, 100),
        (Settlement::Refunded, None, 0),
        (Settlement::Refunded, cost(9), 0),
    ] {
        let permit = adapter.start_costing(&spender, 100).await.expect("enough");
        assert_eq!(adapter.spent(&spender).await, spent + 100);
        let id = permit.id;
        permit.reservations.settle(Settled { usage, cost }).await;
        spent += counted;
        assert_eq!(adapter.spent(&spender).await, spent, "{usage:?} {cost:?}");
        adapter.limits.settle(id, Settled { usage: Settlement::Used(0), cost: Some(Usd::from_nanos(77)) }).await;
        assert_eq!(adapter.spent(&spender).await, spent, "settled once");
    }
}

/// Contract 9.
async fn budget_that_is_not_settled_stays_spent_and_a_changed_one_applies_at_once(adapter: Adapter) {
    let caller = spender("a", &policy(10));
    let permit = adapter.start_costing(&with_budget(&caller, 1_000), 600).await.expect("within the budget");
    // The process is gone: nothing settles it.
    std::mem::forget(permit.reservations);
    assert_eq!(adapter.spent(&with_budget(&caller, 500)).await, 600);
    assert!(adapter.start_costing(&with_budget(&caller, 500), 0).await.is_err(), "a lower budget");
    assert!(adapter.start_costing(&with_budget(&caller, 2_000), 1_400).await.is_ok(), "a higher one");
    let other = with_budget(&spender("b", &policy(10)), 1_000);
    assert_eq!(adapter.spent(&other).await, 0, "another caller is unchanged");
}

/// Polls a future until it waits for the gate, then drops it.
async fn drop_at_gate<T>(call: impl Future<Output = T>) {
    let mut call = Box::pin(call);
    for _ in 0..10 {
        let polled = poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await;
        assert!(!polled, "the call waits for the gate");
        yield_now().await;
    }
}

/// Contract 7: the caller of an admission disconnects at each point at which it can wait.
#[tokio::test(start_paused = true)]
async fn admission_whose_caller_disconnects_leaves_nothing_behind() {
    for queued in [false, true] {
        for steps in 0..4 {
            let kept = Arc::<ProcessLimits>::default();
            let slow = SlowLimits::shut(Arc::clone(&kept));
            let adapter = Adapter::new(Arc::clone(&slow) as Arc<dyn Limits>, Arc::clone(&kept));
            let spender = spender("a", &policy(1));
            let other = GenerationId::random();
            if queued {
                kept.admit(other, &waits(&spender)).await.expect("a slot");
            }
            slow.gate.pass(steps);
            drop_at_gate(async {
                let request = adapter.limiter.take_request(&spender).await.expect("enough");
                adapter.limiter.admit(waits(&spender), request).await
            })
            .await;
            assert!(!adapter.tasks.is_empty(), "the call continues in a task");
            slow.gate.unlock();
            adapter.tasks.wait().await;
            kept.release(other).await;
            kept.settle(other, Settlement::Refunded.into()).await;
            adapter.assert_empty().await;
            assert_eq!(adapter.left(&spender, "m").await, (1_000, 100_000), "after {steps} steps");
        }
    }
}

/// Contract 7: the task of a generation is dropped while it gives back what it has.
#[tokio::test(start_paused = true)]
async fn release_and_settlement_whose_caller_is_dropped_are_completed() {
    for steps in 0..4 {
        let kept = Arc::<ProcessLimits>::default();
        let slow = SlowLimits::shut(Arc::clone(&kept));
        let adapter = Adapter::new(Arc::clone(&slow) as Arc<dyn Limits>, Arc::clone(&kept));
        let spender = spender("a", &policy(1));
        slow.gate.pass(4);
        let permit = adapter.start(&spender, "m", 100).await.expect("a slot");
        slow.gate.pass(steps);
        drop_at_gate(async {
            permit.slot.release().await;
            permit.reservations.settle(Settlement::Used(40)).await;
        })
        .await;
        slow.gate.unlock();
        adapter.assert_empty().await;
        // A settlement that had not begun refunds: its generation was dropped before its usage was known.
        let expected = if steps < 2 { (1_000, 100_000) } else { (999, 99_960) };
        assert_eq!(adapter.left(&spender, "m").await, expected, "after {steps} steps");
    }
}

/// Contract 8.
#[tokio::test(start_paused = true)]
async fn call_that_takes_longer_than_two_seconds_is_unavailable_and_leaves_nothing_behind() {
    let kept = Arc::<ProcessLimits>::default();
    let slow = SlowLimits::shut(Arc::clone(&kept));
    let adapter = Adapter::new(Arc::clone(&slow) as Arc<dyn Limits>, Arc::clone(&kept));
    let spender = spender("a", &policy(1));
    let began = Instant::now();
    assert_eq!(adapter.limiter.take_request(&spender).await.err(), Some(LimitError::Unavailable));
    let admitted = adapter.limiter.admit(waits(&spender), RequestPermit::default()).await;
    assert_eq!(admitted.err(), Some(LimitError::Unavailable));
    assert_eq!(adapter.limiter.publish(&spender).await.err().map(|(error, _)| error), Some(LimitError::Unavailable));
    assert_eq!(adapter.limiter.left(&spender, "m").await, Allowance::default());
    assert_eq!(began.elapsed(), Duration::from_secs(8));
    slow.gate.unlock();
    adapter.assert_empty().await;
    assert_eq!(adapter.left(&spender, "m").await, (1_000, 100_000));
}

#[derive(Debug, Clone)]
enum Step {
    Start { account: u8, tokens: u16, waits: bool },
    Disconnect { account: u8, yields: u8 },
    Release(proptest::sample::Index),
    Settle(proptest::sample::Index, u16),
    Drop(proptest::sample::Index),
    Yield,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<proptest::sample::Index>;
    let step = prop_oneof![
        4 => (0..3_u8, 0..500_u16, any::<bool>()).prop_map(|(account, tokens, waits)| Step::Start { account, tokens, waits }),
        2 => (0..3_u8, 0..12_u8).prop_map(|(account, yields)| Step::Disconnect { account, yields }),
        2 => index().prop_map(Step::Release),
        // In Redis the state of a rate expires when it is full again: after 0.6 ms for each token, in real time.
        2 => (index(), prop_oneof![Just(0), 100..500_u16]).prop_map(|(at, tokens)| Step::Settle(at, tokens)),
        2 => index().prop_map(Step::Drop),
        1 => Just(Step::Yield),
    ];
    proptest::collection::vec(step, 1..60)
}

/// The account of one generation, and what it has not yet given back.
type Started = (u8, Option<tokenrill::limits::GenerationSlot>, Option<tokenrill::limits::Reservations>);

/// Runs the steps; the limits are never exceeded, and what is left at the end is exact.
async fn run(adapter: &Adapter, steps: &[Step]) {
    let policy = policy(3);
    let spenders = ["a", "b", "c"].map(|name| spender(name, &policy));
    let (mut started, mut used, mut requests) = (Vec::<Started>::new(), [0_u32; 3], [0_u32; 3]);
    for step in steps {
        match step {
            Step::Start { account, tokens, waits } => {
                let spender = &spenders[usize::from(*account)];
                let wait_policy = if *waits { WaitPolicy::Waits { at_most: None } } else { WaitPolicy::Refuses };
                let request = adapter.limiter.take_request(spender).await.expect("enough");
                let tokens = u64::from(*tokens);
                if let Ok(permit) = adapter.limiter.admit(demand(spender, "m", tokens, wait_policy), request).await {
                    started.push((*account, Some(permit.slot), Some(permit.reservations)));
                }
            }
            Step::Disconnect { account, yields } => {
                let spender = &spenders[usize::from(*account)];
                let mut call = Box::pin(async {
                    let request = adapter.limiter.take_request(spender).await.expect("enough");
                    drop(adapter.limiter.admit(waits(spender), request).await);
                });
                for _ in 0..*yields {
                    if poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await {
                        break;
                    }
                    yield_now().await;
                }
            }
            Step::Release(at) if !started.is_empty() => {
                let at = at.index(started.len());
                if let Some(slot) = started[at].1.take() {
                    slot.release().await;
                }
            }
            Step::Settle(at, tokens) if !started.is_empty() => {
                let at = at.index(started.len());
                let account = usize::from(started[at].0);
                if let Some(reservations) = started[at].2.take() {
                    reservations.settle(Settlement::Used((*tokens).into())).await;
                    used[account] += u32::from(*tokens);
                    requests[account] += 1;
                }
            }
            Step::Drop(at) if !started.is_empty() => drop(started.swap_remove(at.index(started.len()))),
            Step::Release(_) | Step::Settle(..) | Step::Drop(_) | Step::Yield => yield_now().await,
        }
        assert!(adapter.kept.count().0 <= 3, "no more than the slots");
        assert!(adapter.kept.count().1 <= 10, "no more than the queue");
    }
    drop(started);
    adapter.assert_empty().await;
    for (account, spender) in spenders.iter().enumerate() {
        let expected = (1_000 - requests[account], 100_000 - used[account]);
        assert_eq!(adapter.left(spender, "m").await, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Contract 1 to 8, for generations that start, end, wait, are dropped and whose callers disconnect in any order.
    #[test]
    fn nothing_is_exceeded_counted_twice_or_left_behind(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            for adapter in adapters() {
                run(&adapter, &steps).await;
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    /// The same on a real server, in real time.
    #[test]
    fn nothing_is_exceeded_counted_twice_or_left_behind_in_redis(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { run(&Adapter::redis(), &steps).await });
    }
}
