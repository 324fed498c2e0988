//! Property test of the generation lifecycle against a simple model: operations in any order and at any distance. The
//! invariants are checked after each operation (`world::World::check`).
//!
//! 1,000 cases, 10,000 in `make soak`, and a tenth of that on a slow and lossy log; `PROPTEST_CASES=1000000 cargo test --test it life` for more. A failing case is
//! shrunk.

mod model;
mod world;

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::Config;
use tokenrill::generation::{OnDisconnect, Storage};

use crate::support::sized;
use world::{LogBackend, World};

/// The next operation. A number picks one of the generations or viewers that exist, modulo their count.
#[derive(Debug, Clone)]
pub enum Operation {
    Start {
        on_disconnect: OnDisconnect,
        grace: Duration,
        storage: Storage,
        /// An idempotency key, and which of two bodies the request has.
        claim: Option<(u8, u8)>,
    },
    /// The upstream sends this many tokens in one read.
    SendTokens(usize, u8),
    Finish(usize),
    Fail(usize),
    /// The upstream closes before the end.
    Close(usize),
    /// The generation task panics.
    Panic(usize),
    /// A new viewer connects and reads from the start.
    Follow(usize),
    /// A viewer reads the entries that are available.
    Read(usize),
    /// A viewer's connection is cut.
    Drop(usize),
    /// A viewer reconnects with the last id that it received.
    Resume(usize),
    /// A client asks for events after the tail.
    FollowBeyond(usize),
    Inspect(usize),
    Stop(usize),
    Erase(usize),
    Advance(Duration),
    /// All tasks are asked to end.
    EndAll,
    /// All tasks are dropped at their current await.
    AbortAll,
}

/// How long the tasks run after an operation.
#[derive(Debug, Clone, Copy)]
pub enum Pause {
    /// This many scheduler turns: in each, every woken task runs to its next await.
    Turns(u8),
    /// Until all tasks wait.
    Rest,
}

fn operation() -> impl Strategy<Value = Operation> {
    let at = || 0..8usize;
    let span = prop_oneof![
        Just(Duration::from_millis(1)),
        Just(world::GRACE / 2),
        Just(world::GRACE),
        Just(world::GRACE * 2),
        Just(world::MAX_DURATION / 2),
        Just(world::RETENTION),
    ];
    let grace = prop_oneof![Just(Duration::ZERO), Just(world::GRACE), Just(world::GRACE * 5)];
    let on_disconnect = prop_oneof![3 => Just(OnDisconnect::Cancel), 1 => Just(OnDisconnect::Continue)];
    let storage = prop_oneof![3 => Just(Storage::Kept), 1 => Just(Storage::UntilRead)];
    let claim = proptest::option::of((0..2u8, prop_oneof![5 => Just(0u8), 1 => Just(1u8)]));
    let start = (on_disconnect, grace, storage, claim)
        .prop_map(|(on_disconnect, grace, storage, claim)| Operation::Start { on_disconnect, grace, storage, claim });
    prop_oneof![
        6 => start,
        8 => (at(), 1..4u8).prop_map(|(at, count)| Operation::SendTokens(at, count)),
        3 => at().prop_map(Operation::Finish),
        1 => at().prop_map(Operation::Fail),
        1 => at().prop_map(Operation::Close),
        1 => at().prop_map(Operation::Panic),
        5 => at().prop_map(Operation::Follow),
        8 => at().prop_map(Operation::Read),
        6 => at().prop_map(Operation::Drop),
        6 => at().prop_map(Operation::Resume),
        1 => at().prop_map(Operation::FollowBeyond),
        1 => at().prop_map(Operation::Inspect),
        3 => at().prop_map(Operation::Stop),
        1 => at().prop_map(Operation::Erase),
        6 => span.prop_map(Operation::Advance),
        1 => Just(Operation::EndAll),
        1 => Just(Operation::AbortAll),
    ]
}

fn pause() -> impl Strategy<Value = Pause> {
    prop_oneof![2 => (0..4u8).prop_map(Pause::Turns), 1 => Just(Pause::Rest)]
}

type Steps = Vec<(Operation, Pause)>;

fn steps() -> impl Strategy<Value = Steps> {
    proptest::collection::vec((operation(), pause()), 1..40)
}

fn run(backend: LogBackend, steps: &Steps) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut world = World::new(backend);
        for (operation, pause) in steps {
            world.step(operation).await;
            world.pause(*pause).await;
            world.check().await;
        }
        world.end().await;
    });
}

fn cases(default: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default);
    Config { cases, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(cases(sized(1_000, 10_000)))]

    #[test]
    fn operations_in_any_order_keep_all_invariants(steps in steps()) {
        run(LogBackend::Memory, &steps);
    }
}

proptest! {
    #![proptest_config(cases(sized(100, 1_000)))]

    #[test]
    fn operations_in_any_order_keep_all_invariants_on_a_slow_log(steps in steps()) {
        run(LogBackend::Slow, &steps);
    }
}

/// Found by random lives: the claim stays, because a task that is dropped does not free it.
#[test]
fn unstored_generation_that_is_aborted_before_its_upstream_call_leaves_a_claim_without_usage() {
    let start = |storage| Operation::Start {
        on_disconnect: OnDisconnect::Cancel,
        grace: Duration::ZERO,
        storage,
        claim: Some((0, 0)),
    };
    let steps = vec![
        (start(Storage::UntilRead), Pause::Turns(0)),
        (Operation::AbortAll, Pause::Turns(0)),
        (Operation::Drop(0), Pause::Turns(1)),
        (start(Storage::Kept), Pause::Turns(0)),
    ];
    run(LogBackend::Memory, &steps);
    run(LogBackend::Slow, &steps);
}
