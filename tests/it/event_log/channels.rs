//! Tests contracts 4 and 10 to 12 for channel logs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use proptest::prelude::*;
use tokenrill::domain::{
    Account, ChannelEvent, ChannelName, Entry, Event, GenerationId, Keeping, Principal, Published, Recipient, Sequence,
    Timestamp,
};
use tokenrill::event_log::{
    AppendError, ChannelLimits, ChannelLog, ChannelLogs, ChannelsFull, Limit, MemoryChannels, ReadError, follow,
};
use tokio_util::task::TaskTracker;

use super::{start, token};
use crate::support::soon;

pub const LIMITS: ChannelLimits =
    ChannelLimits { history: 5, retention: Duration::from_hours(1), bytes: 1 << 20, total: 1 << 20, channels: 3 };
/// Just over the time for which every event is kept for slow subscribers.
const SLOW: Duration = Duration::from_secs(31);

/// Returns the account of the caller with this name.
pub fn account(name: &str) -> Account {
    Account::Principal(Principal::Key(name.into()))
}

pub fn name(text: &str) -> ChannelName {
    text.parse().expect("a name")
}

fn published(data: &str, keeping: Keeping) -> ChannelEvent {
    let (name, to) = (None, Recipient::AllSubscribers);
    ChannelEvent::Published(Arc::new(Published { name, data_json: data.into(), to, keeping }))
}

pub fn kept(data: &str) -> ChannelEvent {
    published(data, Keeping::Kept)
}

pub fn ephemeral(data: &str) -> ChannelEvent {
    published(data, Keeping::Ephemeral)
}

async fn open(logs: &MemoryChannels, channel: &str) -> Arc<dyn ChannelLog> {
    open_as(logs, channel, "ada").await
}

/// Opens the channel's log for the account of `caller`.
pub async fn open_as(logs: &MemoryChannels, channel: &str, caller: &str) -> Arc<dyn ChannelLog> {
    logs.open(&name(channel), &account(caller)).await.expect("room")
}

pub fn data(entries: &[Entry<ChannelEvent>]) -> Vec<String> {
    let text = |entry: &Entry<ChannelEvent>| match &entry.event {
        ChannelEvent::Published(published) => published.data_json.to_string(),
        other => format!("{other:?}"),
    };
    entries.iter().map(text).collect()
}

/// Reads from a position to the tail; returns the data, with `gap` for each gap.
pub async fn read_on(log: &dyn ChannelLog, mut after: Sequence) -> Vec<String> {
    let mut read = Vec::new();
    loop {
        match log.read(after).await {
            Ok(page) => {
                let Some(last) = page.entries.last() else { return read };
                after = last.sequence;
                read.extend(data(&page.entries));
            }
            Err(ReadError::Trimmed(to)) => {
                assert!(to > after, "a gap ends after its beginning");
                after = to;
                read.push("gap".to_owned());
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sequences_rise_and_a_recreated_channel_has_greater_ones() {
    let logs = MemoryChannels::new(LIMITS);
    let log = open(&logs, "a").await;
    let before = log.tail().await.expect("a tail").sequence;
    assert_eq!(log.append(vec![kept("1"), ephemeral("2"), kept("3")]).await, Ok(before.plus(3)));
    let page = log.read(before).await.expect("it is there");
    assert_eq!(page.entries.iter().map(|entry| entry.sequence.get() - before.get()).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(log.read(before.plus(4)).await, Err(ReadError::BeyondTail));

    // The first number comes from the wall clock, which tokio's paused time does not stop: wait for its next tick.
    drop(log);
    tokio::time::advance(LIMITS.retention * 2).await;
    logs.sweep().await;
    assert_eq!(logs.count(), 0);
    let moment = Timestamp::now();
    while Timestamp::now() <= moment {}
    let later = open(&logs, "a").await;
    assert_eq!(later.read(before.plus(2)).await, Err(ReadError::Trimmed(later.tail().await.expect("a tail").sequence)));
}

#[tokio::test(start_paused = true)]
async fn the_last_events_are_kept_and_missing_ones_are_a_gap() {
    let logs = MemoryChannels::new(LIMITS);
    let log = open(&logs, "a").await;
    let before = log.tail().await.expect("a tail").sequence;
    for at in 1..=8 {
        log.append(vec![kept(&at.to_string())]).await.expect("room");
    }
    assert_eq!(read_on(&*log, before).await.len(), 8, "a slow subscriber misses no event");
    let history = log.history(100).await;
    assert_eq!((history.after, history.events), (before.plus(3), 5), "a new subscriber gets the history");
    assert_eq!(log.history(2).await.after, before.plus(6));
    assert_eq!(log.history(0).await.after, before.plus(8));

    tokio::time::advance(SLOW).await;
    log.append(vec![ephemeral("9")]).await.expect("room");
    assert_eq!(read_on(&*log, before).await, ["gap", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(read_on(&*log, before.plus(3)).await, ["4", "5", "6", "7", "8", "9"], "nothing is missing");
    tokio::time::advance(SLOW).await;
    log.append(vec![kept("10")]).await.expect("room");
    assert_eq!(read_on(&*log, before.plus(8)).await, ["10"], "ephemeral events are not counted as lost");

    tokio::time::advance(LIMITS.retention).await;
    log.append(vec![kept("11")]).await.expect("room");
    assert_eq!(read_on(&*log, before.plus(9)).await, ["10", "11"], "the retention includes its last moment");
    tokio::time::advance(Duration::from_secs(1)).await;
    log.append(vec![kept("12")]).await.expect("room");
    assert_eq!(read_on(&*log, before.plus(9)).await, ["gap", "11", "12"]);
}

#[tokio::test(start_paused = true)]
async fn bytes_do_not_depend_on_how_events_are_divided_into_appends() {
    let id = GenerationId::random();
    let mut events = vec![ChannelEvent::Generation(id, start(id))];
    for at in 0..200 {
        events.push(ChannelEvent::Generation(id, token("Hello")));
        match at {
            50 => events.push(ephemeral("typing")),
            100 => events.push(kept("between")),
            _ => {}
        }
    }
    let held = async |size: usize| {
        let logs = MemoryChannels::new(ChannelLimits { history: 500, ..LIMITS });
        let log = open(&logs, "a").await;
        for some in events.chunks(size) {
            log.append(some.to_vec()).await.expect("room");
        }
        assert_eq!(log.history(1).await.bytes, logs.bytes());
        logs.bytes()
    };
    let whole = held(events.len()).await;
    for size in [1, 2, 7, 100] {
        assert_eq!(held(size).await, whole, "{size} at once");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_of_a_shared_shape_are_counted_as_long_as_a_chunk_has_it() {
    let id = GenerationId::random();
    let said = |text: &str| ChannelEvent::Generation(id, token(text));
    let bytes = async |chunks: usize| {
        let logs = MemoryChannels::new(LIMITS);
        let log = open(&logs, "a").await;
        log.append((0..chunks).map(|_| said("Hello")).collect()).await.expect("room");
        logs.bytes()
    };
    let (two, three) = (bytes(2).await, bytes(3).await);
    let logs = MemoryChannels::new(ChannelLimits { bytes: three, ..LIMITS });
    let log = open(&logs, "a").await;
    for _ in 0..20 {
        log.append(vec![said("Hello")]).await.expect("room");
        assert!(logs.bytes() <= three);
    }
    assert_eq!(logs.bytes(), two, "room was made as if the shape were new");
}

#[tokio::test(start_paused = true)]
async fn history_of_an_answer_without_its_start_states_where_the_gap_begins() {
    let logs = MemoryChannels::new(ChannelLimits { bytes: 4096, ..LIMITS });
    let log = open(&logs, "a").await;
    let (one, other) = (GenerationId::random(), GenerationId::random());
    log.append(vec![kept("before"), ChannelEvent::Generation(one, start(one))]).await.expect("room");
    let began = log.tail().await.expect("a tail").sequence;
    assert_eq!(log.history(1).await.gap_from, None, "the answer is complete");
    for _ in 0..100 {
        log.append(vec![ChannelEvent::Generation(one, token("Hello"))]).await.expect("room");
    }
    let history = log.history(usize::MAX).await;
    assert_eq!((history.events, history.gap_from), (1, Some(began.before())), "the events before it were evicted too");
    assert!(history.bytes > 0 && history.after > began);
    assert_eq!(log.history(0).await.gap_from, None, "none of its events is requested");

    // A second, complete answer, while the first continues.
    log.append(vec![ChannelEvent::Generation(other, start(other))]).await.expect("room");
    assert_eq!(log.history(1).await.gap_from, None, "the first answer has no further events");
    log.append(vec![ChannelEvent::Generation(one, token("Hello"))]).await.expect("room");
    let both = log.history(1).await;
    assert_eq!((both.events, both.gap_from), (1, Some(began)), "the first answer continues");
    assert_eq!(both.after, history.after.max(both.after));
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_as_one_event() {
    let logs = MemoryChannels::new(LIMITS);
    let log = open(&logs, "a").await;
    let id = GenerationId::random();
    let said = |event: Event| ChannelEvent::Generation(id, event);
    log.append(vec![kept("before")]).await.expect("room");
    let begins = log.tail().await.expect("a tail").sequence;
    log.append(vec![said(start(id))]).await.expect("room");
    for _ in 0..50 {
        log.append(vec![said(token("Hello"))]).await.expect("room");
    }
    for at in 1..=4 {
        log.append(vec![kept(&at.to_string())]).await.expect("room");
    }
    let history = log.history(usize::MAX).await;
    assert_eq!((history.after, history.events), (begins, 5));
    // A subscriber that joins during an answer gets it from its start, however short a history it requests.
    assert_eq!(log.history(4).await.after, log.history(1).await.after.before().before().before());
    log.append(vec![said(token("Still here"))]).await.expect("room");
    assert_eq!(log.history(1).await.after, begins);
    tokio::time::advance(SLOW).await;
    log.append(vec![kept("5")]).await.expect("room");
    let mut rest = read_on(&*log, begins).await;
    assert!(rest.remove(5).starts_with("Generation("), "a late event of the answer stays, without its start");
    assert_eq!(rest, ["gap", "1", "2", "3", "4", "5"], "the answer is evicted from its start on");
}

#[tokio::test(start_paused = true)]
async fn an_append_above_the_byte_limit_evicts_the_oldest_events() {
    let logs = MemoryChannels::new(ChannelLimits { bytes: 3000, total: 4000, history: 100, ..LIMITS });
    let (log, text) = (open(&logs, "a").await, "x".repeat(800));
    let before = log.tail().await.expect("a tail").sequence;
    for at in 0..5 {
        log.append(vec![kept(&format!("{at}{text}"))]).await.expect("room");
        assert!(logs.bytes() <= 3000);
    }
    let read = read_on(&*log, before).await;
    assert_eq!((read[0].as_str(), read.len()), ("gap", 4), "three of a thousand bytes fit");
    assert_eq!(log.append(vec![kept(&text.repeat(4))]).await, Err(AppendError::Full(Limit::Own)));

    // All channels together: the oldest events of the account that holds most are evicted.
    let other = open(&logs, "b").await;
    other.append(vec![kept(&text)]).await.expect("room");
    other.append(vec![kept(&text)]).await.expect("the oldest went");
    assert_eq!((read_on(&*log, before).await.len(), logs.bytes() <= 4000), (3, true));
    assert_eq!(other.append(vec![kept(&text.repeat(5))]).await, Err(AppendError::Full(Limit::Own)));
    assert_eq!(other.history(9).await.events, 2, "an event without room changes nothing");
    let end = other.tail().await.expect("a tail").sequence;
    other.skip().await;
    assert_eq!(read_on(&*other, end).await, ["gap"], "an event without room is reported as a gap");
    assert_eq!(other.history(9).await.events, 2, "no other event is in a gap");
}

#[tokio::test(start_paused = true)]
async fn channel_count_is_bounded_and_unused_channels_are_removed() {
    let logs = MemoryChannels::new(LIMITS);
    let held = open(&logs, "held").await;
    open(&logs, "written").await.append(vec![kept("1")]).await.expect("room");
    open(&logs, "neither").await;
    // Unused channels are evicted, the one first that has been idle for longest.
    let more = open(&logs, "more").await;
    assert!(logs.find(&name("neither")).await.is_none() && logs.find(&name("written")).await.is_some());
    let again = open(&logs, "again").await;
    assert!(logs.find(&name("written")).await.is_none());
    assert_eq!(
        logs.open(&name("one-too-many"), &account("ada")).await.err(),
        Some(ChannelsFull),
        "all channels are kept"
    );
    drop((more, again));
    logs.sweep().await;
    assert_eq!(logs.count(), 1);
    open(&logs, "written").await.append(vec![kept("1")]).await.expect("room");
    open(&logs, "more").await.append(vec![ephemeral("1")]).await.expect("room");
    tokio::time::advance(LIMITS.retention + SLOW).await;
    logs.sweep().await;
    assert_eq!((logs.count(), logs.bytes()), (1, 0));
    drop(held);
    logs.sweep().await;
    assert_eq!(logs.count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_of_many_readers_gets_all_of_many_writers_in_order() {
    const WRITERS: usize = 4;
    const EACH: usize = 250;
    let logs = MemoryChannels::new(ChannelLimits { history: WRITERS * EACH, ..LIMITS });
    let log = open(&logs, "a").await;
    let before = log.tail().await.expect("a tail").sequence;
    let tasks = TaskTracker::new();
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let log = Arc::clone(&log);
            tasks.spawn(async move {
                let mut pages = Box::pin(follow(log, before));
                let (mut read, mut last) = (Vec::new(), before);
                while read.len() < WRITERS * EACH {
                    for entry in soon(pages.next()).await.expect("more").expect("not lost") {
                        assert_eq!(entry.sequence, last.plus(1));
                        last = entry.sequence;
                        read.extend(data(&[entry]));
                    }
                }
                read
            })
        })
        .collect();
    for writer in 0..WRITERS {
        let log = Arc::clone(&log);
        tasks.spawn(async move {
            for at in 0..EACH {
                log.append(vec![kept(&format!("{writer}.{at:03}"))]).await.expect("room");
                tokio::task::yield_now().await;
            }
        });
    }
    let mut seen = Vec::new();
    for reader in readers {
        seen.push(reader.await.expect("it read all"));
    }
    assert!(seen.iter().all(|read| *read == seen[0]), "all read the same");
    for writer in 0..WRITERS {
        let own: Vec<_> = seen[0].iter().filter(|data| data.starts_with(&format!("{writer}."))).collect();
        assert!(own.len() == EACH && own.is_sorted(), "{own:?}");
    }
}

#[derive(Debug, Clone)]
enum Operation {
    Kept,
    Ephemeral,
    Wait(u64),
    Read(u64),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        4 => Just(Operation::Kept),
        2 => Just(Operation::Ephemeral),
        1 => (0..40_u64).prop_map(Operation::Wait),
        3 => any::<u64>().prop_map(Operation::Read),
    ];
    proptest::collection::vec(operation, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// After any operations, a read returns every kept event of the history in order, or reports a gap.
    #[test]
    fn every_missing_kept_event_is_reported_as_a_gap(operations in operations()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let logs = MemoryChannels::new(LIMITS);
            let log = open(&logs, "a").await;
            let before = log.tail().await.expect("a tail").sequence;
            let mut told: VecDeque<(Sequence, Keeping)> = VecDeque::new();
            for operation in operations {
                match operation {
                    Operation::Kept | Operation::Ephemeral => {
                        let keeping =
                            if matches!(operation, Operation::Kept) { Keeping::Kept } else { Keeping::Ephemeral };
                        let tail = log.append(vec![published("1", keeping)]).await.expect("room");
                        told.push_back((tail, keeping));
                    }
                    Operation::Wait(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
                    Operation::Read(at) => {
                        let tail = log.tail().await.expect("a tail").sequence;
                        let after = before.plus(at % (tail.get() - before.get() + 1));
                        let kept = told.iter().filter(|(at, keeping)| *at > after && *keeping == Keeping::Kept);
                        let kept: Vec<_> = kept.map(|(at, _)| *at).collect();
                        let (mut from, mut gap) = (after, false);
                        if let Err(ReadError::Trimmed(to)) = log.read(after).await {
                            (from, gap) = (to, true);
                            assert!(kept.contains(&to), "a gap ends with an event that was to be kept");
                        }
                        let page = log.read(from).await.expect("a gap leads on");
                        let read: Vec<_> = page
                            .entries
                            .iter()
                            .filter(|entry| entry.event.keeping() == Keeping::Kept)
                            .map(|entry| entry.sequence)
                            .collect();
                        let expected: Vec<_> = kept.iter().copied().filter(|at| *at > from).collect();
                        assert_eq!(read, expected, "gap: {gap}");
                        assert!(read.len() >= kept.len().min(LIMITS.history), "only events that may be evicted are missing");
                    }
                }
            }
        });
    }
}
