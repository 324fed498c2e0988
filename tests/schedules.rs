//! The event log's hand-over from replay to live in every order in which its threads can take turns.
//!
//! `cargo test --features shuttle --test schedules`: with the feature the log's locks are shuttle's, and
//! each taking of one is a point at which another thread may go on; so is the end of each call of a log
//! ([`Turns`]). Tokio's watch channel is taken as it is, one step without a turn: its own project tests it so.
#![expect(clippy::expect_used, reason = "what is not there when a test looks for it has failed the test")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use shuttle::future::block_on;
use shuttle::thread;
use tokenrill::domain::{
    Account, CancelReason, Cancelled, Chunk, Claim, Entry, Escaped, Event, Fingerprint, GenerationId, Part, Principal,
    Sequence, Shape, Start, Timestamp, Timings, Usage, UsageWish,
};
use tokenrill::event_log::{
    AppendError, Closing, Created, EventLog, Events, Log, Memory, MemoryLimits, Page, ReadError, Readable, Reply,
    TailReader, TailState, follow,
};

/// Schedules for each test: by chance, by chance with few turns (PCT), and one after the other. `make soak`, which sets
/// `TOKENRILL_SOAK=1`, runs ten times as many.
const RANDOM: usize = 10_000;
const FEW_TURNS: usize = 5_000;
const IN_ORDER: usize = 20_000;

fn check(test: fn()) {
    let times = if std::env::var_os("TOKENRILL_SOAK").is_some_and(|value| value == "1") { 10 } else { 1 };
    shuttle::check_random(test, times * RANDOM);
    shuttle::check_pct(test, times * FEW_TURNS, 3);
    shuttle::check_dfs(test, Some(times * IN_ORDER));
}

fn memory() -> Memory {
    Memory::new(MemoryLimits { total: 1 << 20, generation: 1 << 20, running: 0, retention: Duration::from_mins(1) })
}

fn start() -> Arc<Start> {
    Arc::new(Start {
        generation: GenerationId::random(),
        owner: Principal::Anonymous,
        model: "m".into(),
        created_at: Timestamp::from_millis(0),
        prompt: None,
        metadata: [].into(),
        usage: UsageWish::NotAsked,
    })
}

fn account() -> Account {
    Account::Principal(Principal::Anonymous)
}

fn create(memory: &Memory) -> Arc<dyn Log> {
    match block_on(memory.create(start(), &account(), None)).expect("room") {
        Created::New(log) => Arc::new(Turns(log)),
        Created::Known(_) => unreachable!("nothing is claimed"),
    }
}

fn token() -> Event {
    let part = Part::Text { choice: 0, logprobs_json: None };
    Event::Chunk(Chunk::new(Arc::new(Shape::new(None, part)), Escaped::from_text("x")))
}

fn ended(by: u64) -> Event {
    let usage = Usage { output_tokens: Some(by), ..Usage::default() };
    Event::Cancelled(Arc::new(Cancelled { reason: CancelReason::ClientRequest, usage, timings: Timings::default() }))
}

/// A log after whose every call another thread may go on, as it may wherever a lock is let go of.
struct Turns(Arc<dyn Log>);

fn turn<T>(value: T) -> T {
    thread::yield_now();
    value
}

impl Log for Turns {
    fn start(&self) -> &Arc<Start> {
        self.0.start()
    }

    fn append(&self, tail: Sequence, events: Events) -> Reply<'_, Result<Sequence, AppendError>> {
        turn(self.0.append(tail, events))
    }

    fn close(&self, terminal: Event) -> Reply<'_, Closing> {
        turn(self.0.close(terminal))
    }
}

impl Readable for Turns {
    type Event = Event;

    fn read(&self, after: Sequence) -> Reply<'_, Result<Page, ReadError>> {
        turn(self.0.read(after))
    }

    fn tail(&self) -> TailReader {
        turn(self.0.tail())
    }
}

/// Appends until the log is closed or all is said.
fn write(log: &Arc<dyn Log>, appends: usize) {
    let mut tail = Sequence::new(1);
    for _ in 0..appends {
        match block_on(log.append(tail, smallvec::smallvec![token()])) {
            Ok(moved) => tail = moved,
            Err(error) => return assert_eq!(error, AppendError::Closed),
        }
    }
}

fn read(log: Arc<dyn Log>, after: Sequence) -> Vec<Entry> {
    let pages: Vec<_> = block_on(follow(log, after).collect());
    pages.into_iter().flat_map(|page| page.expect("the log is there")).collect()
}

/// `after + 1` to the terminal event, each once; it ends there and in no other case.
fn assert_whole(entries: &[Entry], after: u64) {
    assert!(entries.iter().zip(after + 1..).all(|(entry, sequence)| entry.sequence.get() == sequence), "{entries:?}");
    let terminals = entries.iter().filter(|entry| entry.event.is_terminal()).count();
    assert_eq!((terminals, entries.last().map(|entry| entry.event.is_terminal())), (1, Some(true)), "{entries:?}");
}

/// One reader in each: async-stream keeps a pointer for its thread while a stream is polled, and shuttle's
/// threads are one.
fn hand_over(reader: fn(Arc<dyn Log>)) {
    let log = create(&memory());
    let writer = thread::spawn({
        let log = Arc::clone(&log);
        move || {
            write(&log, 2);
            assert_eq!(block_on(log.close(ended(0))), Closing::Won);
        }
    });
    let reader = thread::spawn(move || reader(log));
    writer.join().expect("no panic");
    reader.join().expect("no panic");
}

#[test]
fn who_follows_from_the_start_sees_each_entry_once_and_then_the_end() {
    check(|| hand_over(|log| assert_whole(&read(log, Sequence::START), 0)));
}

#[test]
fn who_follows_from_where_the_log_ends_just_then_sees_the_rest() {
    check(|| {
        hand_over(|log| {
            let tail = log.tail().get();
            match tail.state {
                TailState::Open => assert_whole(&read(log, tail.sequence), tail.sequence.get()),
                TailState::Closed => assert!(read(log, tail.sequence).is_empty()),
            }
        });
    });
}

#[test]
fn one_of_several_endings_wins_and_every_reader_sees_that_one() {
    check(|| {
        let log = create(&memory());
        let reader = thread::spawn({
            let log = Arc::clone(&log);
            move || read(log, Sequence::START)
        });
        let writer = thread::spawn({
            let log = Arc::clone(&log);
            move || write(&log, 2)
        });
        let closers: Vec<_> = (1..3)
            .map(|by| {
                let log = Arc::clone(&log);
                thread::spawn(move || (by, block_on(log.close(ended(by)))))
            })
            .collect();
        writer.join().expect("no panic");
        let closings: Vec<_> = closers.into_iter().map(|closer| closer.join().expect("no panic")).collect();
        let winners: Vec<_> = closings.iter().filter(|(_, closing)| *closing == Closing::Won).collect();
        assert_eq!(winners.len(), 1, "{closings:?}");
        let winner = ended(winners.first().expect("one").0);
        assert!(
            closings
                .iter()
                .all(|(_, closing)| matches!(closing, Closing::Won) || *closing == Closing::Lost(winner.clone()))
        );
        let entries = reader.join().expect("no panic");
        assert_whole(&entries, 0);
        assert_eq!(entries.last().map(|entry| &entry.event), Some(&winner));
    });
}

#[test]
fn twins_make_one_log_whoever_is_first() {
    check(|| {
        let memory = memory();
        let twins: Vec<_> = (0..3)
            .map(|_| {
                let memory = memory.clone();
                thread::spawn(move || {
                    let key = "k".parse().expect("a key");
                    let claim = Claim { key, request: Fingerprint::new([1; 32]) };
                    match block_on(memory.create(start(), &account(), Some(claim))).expect("room") {
                        Created::New(log) => log.start().generation,
                        Created::Known(id) => {
                            assert!(block_on(memory.open(id)).is_some(), "who is told of a log can open it");
                            id
                        }
                    }
                })
            })
            .collect();
        let ids: Vec<_> = twins.into_iter().map(|twin| twin.join().expect("no panic")).collect();
        assert!(ids.windows(2).all(|two| two.first() == two.last()), "{ids:?}");
        assert_eq!(memory.count(), 1);
    });
}
