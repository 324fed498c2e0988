//! Appends of one account to channels evict nothing of an account within its share (contracts 11 and 12).

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tokenrill::domain::{CancelReason, Cancelled, ChannelEvent, Event, GenerationId, Sequence, Timings, Usage};
use tokenrill::event_log::{AppendError, ChannelLimits, ChannelLogs, ChannelsFull, Limit, MemoryChannels, ReadError};

use super::channels::{LIMITS, account, ephemeral, kept, name, open_as, read_on};
use super::{start, token};

/// Just over the retention.
const RETENTION: Duration = Duration::from_secs(3601);

fn text() -> String {
    "x".repeat(800)
}

/// Allows many events, and bytes for about 16 of [`text`].
const SMALL: ChannelLimits = ChannelLimits { history: 1000, total: 16_000, channels: 100, ..LIMITS };

fn cancelled() -> Event {
    let (usage, timings) = (Usage::default(), Timings::default());
    Event::Cancelled(Arc::new(Cancelled { reason: CancelReason::ClientRequest, usage, timings }))
}

#[tokio::test(start_paused = true)]
async fn account_that_fills_all_bytes_loses_its_own_oldest_events_and_no_others() {
    let logs = MemoryChannels::new(SMALL);
    for at in 0..50 {
        let log = open_as(&logs, &format!("flood-{}", at % 5), "eve").await;
        log.append(vec![kept(&text())]).await.expect("its own make room");
    }
    assert!(logs.evicted() > 30 && logs.bytes() <= SMALL.total);
    let log = open_as(&logs, "bob", "bob").await;
    let before = log.tail().await.expect("a tail").sequence;
    for _ in 0..5 {
        log.append(vec![kept(&text())]).await.expect("room");
        open_as(&logs, "flood-0", "eve").await.append(vec![kept(&text())]).await.expect("its own make room");
    }
    assert_eq!(read_on(&*log, before).await, vec![text(); 5], "a caller below its share keeps everything");
    assert!(logs.bytes() <= SMALL.total);
}

#[tokio::test(start_paused = true)]
async fn eviction_in_a_shared_channel_takes_the_events_of_one_account_and_leaves_a_gap_in_their_place() {
    let logs = MemoryChannels::new(SMALL);
    let (bob, eve) = (open_as(&logs, "shared", "bob").await, open_as(&logs, "shared", "eve").await);
    let before = bob.tail().await.expect("a tail").sequence;
    for at in 0..5 {
        bob.append(vec![kept(&format!("bob {at}"))]).await.expect("room");
        eve.append(vec![kept(&text())]).await.expect("room");
    }
    eve.append(vec![ephemeral("eve is typing")]).await.expect("room");
    // Eve's appends elsewhere evict her events, the oldest first.
    let other = open_as(&logs, "other", "eve").await;
    for _ in 0..40 {
        other.append(vec![kept(&text())]).await.expect("room");
    }
    assert_eq!(
        read_on(&*bob, before).await,
        ["bob 0", "gap", "bob 1", "gap", "bob 2", "gap", "bob 3", "gap", "bob 4", "gap"]
    );
    let history = bob.history(3).await;
    assert_eq!(
        (history.after, history.gap_from),
        (before.plus(4), None),
        "the gaps are at the positions of the evicted events"
    );
    assert_eq!(read_on(&*bob, history.after).await, ["bob 2", "gap", "bob 3", "gap", "bob 4", "gap"]);
    assert_eq!(bob.read(before.plus(1)).await, Err(ReadError::Trimmed(before.plus(2))));
    bob.append(vec![kept("bob 5")]).await.expect("room");
    assert_eq!(read_on(&*bob, before.plus(8)).await, ["bob 4", "gap", "bob 5"]);
    assert_eq!(read_on(&*bob, before.plus(10)).await, ["bob 5"], "a reader after the gap misses no event");
}

#[tokio::test(start_paused = true)]
async fn a_carried_answer_keeps_every_token_while_another_account_floods() {
    let logs = MemoryChannels::new(SMALL);
    let (answer, flood) = (open_as(&logs, "answer", "bob").await, open_as(&logs, "flood", "eve").await);
    let (id, before) = (GenerationId::random(), answer.tail().await.expect("a tail").sequence);
    let said = |event| vec![ChannelEvent::Generation(id, event)];
    answer.append(said(start(id))).await.expect("room");
    for _ in 0..20 {
        flood.append(vec![kept(&text())]).await.expect("its own make room");
        answer.append(said(token("Hello"))).await.expect("room");
    }
    answer.append(said(cancelled())).await.expect("room");
    assert_eq!(read_on(&*answer, before).await.len(), 22);
}

#[tokio::test(start_paused = true)]
async fn a_terminal_event_fits_when_nothing_else_does() {
    for limits in [ChannelLimits { total: 1, ..LIMITS }, ChannelLimits { bytes: 1, ..LIMITS }] {
        let logs = MemoryChannels::new(limits);
        let log = open_as(&logs, "a", "bob").await;
        let (id, before) = (GenerationId::random(), log.tail().await.expect("a tail").sequence);
        let said = |event| vec![ChannelEvent::Generation(id, event)];
        assert!(matches!(log.append(said(token("Hello"))).await, Err(AppendError::Full(_))));
        log.append(said(cancelled())).await.expect("it always fits");
        assert_eq!(read_on(&*log, before).await.len(), 1);
        drop(log);
        tokio::time::advance(RETENTION).await;
        logs.sweep().await;
        assert_eq!((logs.count(), logs.bytes()), (0, 0));
    }
    let logs = MemoryChannels::new(ChannelLimits { bytes: 1, ..LIMITS });
    let log = open_as(&logs, "a", "bob").await;
    assert_eq!(log.append(vec![kept("1")]).await, Err(AppendError::Full(Limit::Own)));
}

#[tokio::test(start_paused = true)]
async fn an_account_with_many_channels_loses_its_own_idle_ones() {
    let logs = MemoryChannels::new(ChannelLimits { channels: 10, ..LIMITS });
    for at in 0..3 {
        open_as(&logs, &format!("bob-{at}"), "bob").await.append(vec![kept("1")]).await.expect("room");
    }
    for at in 0..100 {
        open_as(&logs, &format!("eve-{at}"), "eve").await.append(vec![kept("1")]).await.expect("room");
    }
    assert_eq!(logs.count(), 10);
    for at in 0..3 {
        let history = logs.find(&name(&format!("bob-{at}"))).await.expect("it was kept").history(9).await;
        assert_eq!((history.events, history.gap_from), (1, None));
    }
    assert!(logs.find(&name("eve-99")).await.is_some() && logs.find(&name("eve-92")).await.is_none());
    // A third account's channel also evicts one of the account with most channels.
    open_as(&logs, "carl", "carl").await;
    assert!(logs.find(&name("eve-93")).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_account_whose_channels_are_all_in_use_is_refused_and_others_are_not() {
    let logs = MemoryChannels::new(ChannelLimits { channels: 4, ..LIMITS });
    let mut held = Vec::new();
    for at in 0..3 {
        held.push(open_as(&logs, &format!("eve-{at}"), "eve").await);
    }
    open_as(&logs, "bob", "bob").await.append(vec![kept("1")]).await.expect("room");
    let refused = logs.open(&name("eve-3"), &account("eve")).await.err();
    assert_eq!(refused, Some(ChannelsFull), "the account holds most, so no channel of another account is evicted");
    assert!(logs.find(&name("bob")).await.is_some());
    held.pop();
    open_as(&logs, "carl", "carl").await;
    assert!(logs.find(&name("bob")).await.is_some() && logs.find(&name("eve-2")).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_held_by_the_account_that_published_into_it_and_not_by_a_subscriber() {
    let logs = MemoryChannels::new(ChannelLimits { channels: 4, ..LIMITS });
    // Eve opens the channel first, as a subscriber does, and publishes nothing into it.
    let subscribed = open_as(&logs, "news", "eve").await;
    open_as(&logs, "news", "bob").await.append(vec![kept("1")]).await.expect("room");
    drop(subscribed);
    for at in 0..20 {
        open_as(&logs, &format!("eve-{at}"), "eve").await.append(vec![kept("1")]).await.expect("room");
    }
    assert_eq!(logs.find(&name("news")).await.expect("it was kept").history(9).await.events, 1);
}

#[tokio::test(start_paused = true)]
async fn history_of_a_channel_that_was_evicted_begins_with_a_gap_until_its_retention_ends() {
    let logs = MemoryChannels::new(ChannelLimits { channels: 3, ..LIMITS });
    let first = open_as(&logs, "a", "eve").await;
    let before = first.tail().await.expect("a tail").sequence;
    first.append(vec![kept("1")]).await.expect("room");
    drop(first);
    for channel in ["b", "c", "d"] {
        open_as(&logs, channel, "eve").await.append(vec![kept("1")]).await.expect("room");
    }
    assert!(logs.find(&name("a")).await.is_none(), "it was evicted");
    let again = open_as(&logs, "a", "bob").await;
    let history = again.history(9).await;
    assert_eq!((history.events, history.gap_from), (0, Some(before.plus(1))));
    assert_eq!(again.history(0).await.gap_from, None, "no history, no gap");
    again.append(vec![kept("2")]).await.expect("room");
    let history = again.history(9).await;
    assert_eq!((history.events, history.gap_from), (1, Some(before.plus(1))));
    assert!(history.after >= before.plus(1));
    assert_eq!(again.history(1).await.gap_from, None, "all requested events are kept");

    // After a second eviction, the gap still begins at the first evicted event.
    drop(again);
    for channel in ["e", "f"] {
        open_as(&logs, channel, "bob").await.append(vec![kept("1")]).await.expect("room");
    }
    assert!(logs.find(&name("a")).await.is_none(), "it was evicted again");
    assert_eq!(open_as(&logs, "a", "bob").await.history(9).await.gap_from, Some(before.plus(1)));
    logs.sweep().await;
    assert_eq!(
        open_as(&logs, "a", "bob").await.history(9).await.gap_from,
        Some(before.plus(1)),
        "the sweep keeps the gap"
    );
    tokio::time::advance(RETENTION).await;
    assert_eq!(
        open_as(&logs, "a", "bob").await.history(9).await.gap_from,
        None,
        "the evicted events would have expired"
    );
    logs.sweep().await;
    assert_eq!((logs.count(), logs.bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn history_after_events_expired_by_age_or_count_has_no_gap() {
    let logs = MemoryChannels::new(LIMITS);
    let log = open_as(&logs, "a", "bob").await;
    for at in 0..20 {
        log.append(vec![kept(&at.to_string())]).await.expect("room");
        tokio::time::advance(Duration::from_secs(31)).await;
    }
    let history = log.history(9).await;
    assert_eq!((history.events, history.gap_from), (LIMITS.history, None));
    tokio::time::advance(RETENTION).await;
    let history = log.history(9).await;
    assert_eq!((history.events, history.gap_from), (0, None));
}

#[tokio::test(start_paused = true)]
async fn tombstones_are_counted_against_the_account_and_bounded() {
    let logs = MemoryChannels::new(ChannelLimits { channels: 10, total: 10_000, ..LIMITS });
    open_as(&logs, "bob", "bob").await.append(vec![kept("1")]).await.expect("room");
    for at in 0..1000 {
        open_as(&logs, &format!("eve-{at}"), "eve").await.append(vec![kept("1")]).await.expect("room");
        assert!(logs.bytes() <= 10_500, "{}", logs.bytes());
    }
    let history = logs.find(&name("bob")).await.expect("it was kept").history(9).await;
    assert_eq!((history.events, history.gap_from), (1, None));
    tokio::time::advance(RETENTION).await;
    logs.sweep().await;
    assert_eq!((logs.count(), logs.bytes()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appends_over_the_limit_lose_no_byte_and_refuse_nothing() {
    let logs = Arc::new(MemoryChannels::new(SMALL));
    let tasks: Vec<_> = (0..8)
        .map(|writer| {
            let logs = Arc::clone(&logs);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
                runtime.block_on(async {
                    for at in 0..500 {
                        let channel = format!("{}", (writer + at) % 5);
                        let log = open_as(&logs, &channel, &format!("caller-{}", writer % 3)).await;
                        log.append(vec![kept(&text())]).await.expect("room");
                        if at % 50 == 0 {
                            logs.sweep().await;
                        }
                    }
                });
            })
        })
        .collect();
    for task in tasks {
        tokio::task::spawn_blocking(|| task.join().expect("no panic")).await.expect("no panic");
    }
    assert!(logs.bytes() <= SMALL.total);
    let mut held = 0;
    for channel in 0..5 {
        held += logs.find(&name(&channel.to_string())).await.expect("there").history(0).await.bytes;
    }
    assert_eq!(logs.bytes(), held);
}

#[derive(Debug, Clone)]
enum Operation {
    Append { channel: usize, caller: usize, bytes: usize, ephemeral: bool },
    Wait(u64),
    Sweep,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        12 => (0..4_usize, 0..3_usize, 0..1500_usize, proptest::bool::weighted(0.2))
            .prop_map(|(channel, caller, bytes, ephemeral)| Operation::Append { channel, caller, bytes, ephemeral }),
        1 => (0..40_u64).prop_map(Operation::Wait),
        1 => Just(Operation::Sweep),
    ];
    proptest::collection::vec(operation, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// After any appends, the limits hold, no append is refused, every kept event is read or lies within a gap, and all
    /// bytes are freed.
    #[test]
    fn every_kept_event_is_read_or_in_a_gap_and_all_bytes_are_freed(operations in operations()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let limits = ChannelLimits { history: 50, bytes: 5_000, total: 9_000, channels: 4, ..LIMITS };
            let logs = MemoryChannels::new(limits);
            let mut readers = Vec::new();
            for channel in 0..4 {
                let log = open_as(&logs, &channel.to_string(), "reader").await;
                readers.push((log.tail().await.expect("a tail").sequence, log, Vec::<Sequence>::new()));
            }
            for operation in operations {
                match operation {
                    Operation::Append { channel, caller, bytes, ephemeral: passes } => {
                        let log = open_as(&logs, &channel.to_string(), &caller.to_string()).await;
                        let data = "x".repeat(bytes);
                        let event = if passes { ephemeral(&data) } else { kept(&data) };
                        let position = log.append(vec![event]).await.expect("room");
                        if !passes {
                            readers[channel].2.push(position);
                        }
                    }
                    Operation::Wait(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
                    Operation::Sweep => logs.sweep().await,
                }
                assert!(logs.bytes() <= limits.total);
            }
            let mut held = 0;
            for (before, log, appended) in &readers {
                held += log.history(0).await.bytes;
                let (mut after, mut read, mut gaps) = (*before, Vec::new(), Vec::new());
                loop {
                    match log.read(after).await {
                        Ok(page) => {
                            let Some(last) = page.entries.last() else { break };
                            after = last.sequence;
                            read.extend(page.entries.iter().map(|entry| entry.sequence));
                        }
                        Err(ReadError::Trimmed(to)) => {
                            assert!(to > after, "a gap ends after its beginning");
                            gaps.push(after.plus(1)..=to);
                            after = to;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                for position in appended {
                    let (is_read, is_gap) = (read.contains(position), gaps.iter().any(|gap| gap.contains(position)));
                    assert!(is_read != is_gap, "{position:?} is read: {is_read}, in a gap: {is_gap}");
                }
                assert!(gaps.iter().all(|gap| appended.contains(gap.end())), "a gap ends with an event that was kept");
            }
            assert_eq!(logs.bytes(), held);
            drop(readers);
            tokio::time::advance(RETENTION * 2).await;
            logs.sweep().await;
            assert_eq!((logs.count(), logs.bytes()), (0, 0));
        });
    }
}
