//! Tests the event log's switch from replay to live reading under many thread schedules.
//!
//! `cargo test --features shuttle --test schedules`: with the feature, the log uses shuttle's locks. Shuttle can switch
//! threads at each acquisition of a lock, and after each call of a log ([`Turns`]). It cannot switch within Tokio's
//! watch channel, which tokio's own project tests in this way.
#![expect(clippy::expect_used, reason = "what is not there when a test looks for it has failed the test")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use shuttle::future::block_on;
use shuttle::thread;
use tokenrill::domain::{
    Account, CancelReason, Cancelled, Chunk, Claim, Entry, Escaped, Event, Fingerprint, GenerationId, Part, Principal,
    Sequence, Shape, Start, Timestamp, Timings, Usage, UsageRequest,
};
use tokenrill::event_log::{
    AppendError, CloseOutcome, Created, EventLog, Events, Log, Memory, MemoryLimits, Page, ReadError, Readable, Reply,
    TailReader, TailState, follow,
};

/// The numbers of schedules for each test: random, random with few switches (PCT), and enumerated in order. `make
/// soak`, which sets `TOKENRILL_SOAK=1`, runs ten times as many.
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
        usage: UsageRequest::NotAsked,
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

/// A log that lets shuttle switch threads after each call.
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

    fn close(&self, terminal: Event) -> Reply<'_, CloseOutcome> {
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

/// Appends until the log is closed, at most `appends` times.
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

/// Asserts that the entries are those from `after + 1` to the terminal event, each once and in order.
fn assert_whole(entries: &[Entry], after: u64) {
    assert!(entries.iter().zip(after + 1..).all(|(entry, sequence)| entry.sequence.get() == sequence), "{entries:?}");
    let terminals = entries.iter().filter(|entry| entry.event.is_terminal()).count();
    assert_eq!((terminals, entries.last().map(|entry| entry.event.is_terminal())), (1, Some(true)), "{entries:?}");
}

/// Runs one writer and one reader. There is only one reader, because async-stream keeps a thread-local pointer while a
/// stream is polled, and shuttle runs all its threads on one OS thread.
fn hand_over(reader: fn(Arc<dyn Log>)) {
    let log = create(&memory());
    let writer = thread::spawn({
        let log = Arc::clone(&log);
        move || {
            write(&log, 2);
            assert_eq!(block_on(log.close(ended(0))), CloseOutcome::Won);
        }
    });
    let reader = thread::spawn(move || reader(log));
    writer.join().expect("no panic");
    reader.join().expect("no panic");
}

#[test]
fn reader_from_the_start_reads_each_entry_once_and_then_ends() {
    check(|| hand_over(|log| assert_whole(&read(log, Sequence::START), 0)));
}

#[test]
fn reader_from_the_tail_reads_the_remaining_entries() {
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
fn concurrent_closes_have_one_winner_that_every_reader_reads() {
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
        let winners: Vec<_> = closings.iter().filter(|(_, closing)| *closing == CloseOutcome::Won).collect();
        assert_eq!(winners.len(), 1, "{closings:?}");
        let winner = ended(winners.first().expect("one").0);
        assert!(
            closings
                .iter()
                .all(|(_, closing)| matches!(closing, CloseOutcome::Won)
                    || *closing == CloseOutcome::Lost(winner.clone()))
        );
        let entries = reader.join().expect("no panic");
        assert_whole(&entries, 0);
        assert_eq!(entries.last().map(|entry| &entry.event), Some(&winner));
    });
}

#[test]
fn concurrent_creates_with_the_same_key_make_one_log() {
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
                            assert!(block_on(memory.open(id)).is_some(), "a known log can be opened");
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
