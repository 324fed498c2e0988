//! Tests the event log's switch from replay to live reading under many thread schedules.
//!
//! `cargo test --features shuttle --test schedules`: with the feature, the log uses shuttle's locks. Shuttle can switch
//! threads at each acquisition of a lock, and after each call of a log ([`Turns`]). It cannot switch within Tokio's
//! watch channel, which tokio's own project tests in this way.
#![expect(clippy::expect_used, reason = "what is not there when a test looks for it has failed the test")]

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use shuttle::future::block_on;
use shuttle::thread;
use tokenrill::domain::{
    Account, CancelReason, Cancelled, Chunk, Claim, Entry, Escaped, Event, Fingerprint, GenerationId, Part, Principal,
    Sequence, Shape, Start, Timestamp, Timings, Usage, UsageRequest,
};
use tokenrill::event_log::{
    AppendError, CloseOutcome, Created, EventLog, GenerationLog, LogTerms, Memory, MemoryLimits, Page, ReadError,
    Readable, Tail, TailState, Wake, Writer, follow,
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
        notes: None,
        chat: None,
    })
}

fn account() -> Account {
    Account::Principal(Principal::Anonymous)
}

fn terms(claim: Option<Claim>) -> LogTerms {
    LogTerms { account: account(), claim, if_orphaned: ended(u64::MAX), recovery: None }
}

fn create(memory: &Memory) -> (Arc<dyn GenerationLog>, Box<dyn Writer>) {
    match block_on(memory.create(start(), terms(None))).expect("room") {
        Created::New { writer, .. } => (Arc::new(Turns(Arc::clone(writer.log()))), writer),
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
struct Turns(Arc<dyn GenerationLog>);

fn turn<T>(value: T) -> T {
    thread::yield_now();
    value
}

impl GenerationLog for Turns {
    fn start(&self) -> &Arc<Start> {
        self.0.start()
    }
}

impl Readable for Turns {
    type Event = Event;

    fn try_read(&self, after: Sequence) -> Option<Result<Page, ReadError>> {
        turn(self.0.try_read(after))
    }

    fn read(&self, after: Sequence) -> BoxFuture<'static, Result<Page, ReadError>> {
        turn(self.0.read(after))
    }

    fn tail(&self) -> BoxFuture<'static, Result<Tail, ReadError>> {
        turn(self.0.tail())
    }

    fn wake(&self) -> Box<dyn Wake> {
        turn(self.0.wake())
    }
}

/// Appends until the log is closed, at most `appends` times.
fn write(writer: &mut dyn Writer, appends: usize) {
    for _ in 0..appends {
        writer.push(smallvec::smallvec![token()]);
        if let Err(error) = turn(block_on(poll_fn(|context| writer.poll_append(context)))) {
            return assert_eq!(error, AppendError::Closed);
        }
    }
}

fn read(log: Arc<dyn GenerationLog>, after: Sequence) -> Vec<Entry> {
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
fn hand_over(reader: fn(Arc<dyn GenerationLog>)) {
    let (log, mut writer) = create(&memory());
    let writer = thread::spawn(move || {
        write(&mut *writer, 2);
        assert_eq!(block_on(writer.close(ended(0))), Ok(CloseOutcome::Won));
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
            let tail = block_on(log.tail()).expect("a tail");
            match tail.state {
                TailState::Open => assert_whole(&read(log, tail.sequence), tail.sequence.get()),
                TailState::Closed => assert!(read(log, tail.sequence).is_empty()),
            }
        });
    });
}

#[test]
fn a_dropped_writer_closes_its_log_for_every_reader() {
    check(|| {
        let (log, mut writer) = create(&memory());
        let reader = thread::spawn(move || read(log, Sequence::START));
        let writer = thread::spawn(move || {
            write(&mut *writer, 2);
            drop(writer);
        });
        writer.join().expect("no panic");
        let entries = reader.join().expect("no panic");
        assert_whole(&entries, 0);
        assert_eq!(entries.last().map(|entry| &entry.event), Some(&ended(u64::MAX)));
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
                    match block_on(memory.create(start(), terms(Some(claim)))).expect("room") {
                        Created::New { writer, .. } => writer.log().start().generation,
                        Created::Known(id) => {
                            assert!(
                                block_on(memory.open(id, Sequence::START)).is_ok_and(|log| log.is_some()),
                                "a known log can be opened"
                            );
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
