//! Contracts 4, 5 and 13 to 15 for channels in Redis, and contract 5 of their rosters.
//!
//! Numbers follow the clock of Redis, so they are compared with those that appends returned. What `channels.rs` and
//! `channel_accounts.rs` test of all channels together (`max_bytes_total`, `max_channels`, accounts, tombstones) does not
//! apply: in Redis, a channel loses events only to its own limits. The clock of Redis cannot be paused: tests of ages use
//! short ones and wait in real time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use redis::cmd;
use tokenrill::domain::{
    Account, CancelReason, Cancelled, ChannelEvent, ConnectionId, Entry, Event, GenerationId, Principal, Sequence,
    Subscriber, Timestamp, Timings, Usage,
};
use tokenrill::event_log::{
    AppendError, ChannelLimits, ChannelLog, ChannelLogs, Limit, PresenceMode, ReadError, RedisChannelTerms,
    RedisChannels, RosterMember, Rosters, follow,
};
use tokenrill::redis_client::RedisClient;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channels::{LIMITS, account, data, ephemeral, kept, name, read_on};
use super::{start, token};
use crate::support::lossy_proxy::LossyProxy;
use crate::support::redis_server::{RedisServer, client_of, unique_prefix};
use crate::support::soon;

const TERMS: RedisChannelTerms =
    RedisChannelTerms { limits: LIMITS, live: ChannelLimits::LIVE, lease: Duration::from_secs(6) };
/// How long every event is kept, where a test waits for longer.
const LIVE: Duration = Duration::from_millis(1500);

fn process(client: RedisClient, terms: RedisChannelTerms) -> RedisChannels {
    let tasks = TaskTracker::new();
    let channels = RedisChannels::new(client, terms, tasks.clone(), CancellationToken::new());
    tasks.spawn({
        let channels = channels.clone();
        async move { channels.run().await }
    });
    channels
}

fn start_with(terms: RedisChannelTerms) -> RedisChannels {
    process(RedisServer::shared().client(&unique_prefix()), terms)
}

/// Returns another process's view of the same channels.
fn replica(channels: &RedisChannels) -> RedisChannels {
    process(RedisServer::shared().client(channels.client().prefix()), channels.terms())
}

async fn open(channels: &RedisChannels, channel: &str) -> Arc<dyn ChannelLog> {
    channels.open(&name(channel), &account("ada")).await.expect("it always opens")
}

async fn tail(log: &Arc<dyn ChannelLog>) -> Sequence {
    log.tail().await.expect("a tail").sequence
}

/// Reads what Redis keeps, after a position. A reader may receive events of its process's copy for a moment longer than
/// Redis keeps them.
async fn read_kept(log: &Arc<dyn ChannelLog>, after: Sequence) -> Vec<String> {
    log.history(0).await;
    read_on(&**log, after).await
}

async fn append(log: &Arc<dyn ChannelLog>, event: ChannelEvent) -> Sequence {
    log.append(vec![event]).await.expect("room")
}

fn keys(channels: &RedisChannels) -> Vec<String> {
    RedisServer::shared().command(cmd("KEYS").arg(format!("{}:*", channels.client().prefix())))
}

fn said(id: GenerationId, event: Event) -> ChannelEvent {
    ChannelEvent::Generation(id, event)
}

fn cancelled() -> Event {
    let (usage, timings) = (Usage::default(), Timings::default());
    Event::Cancelled(Arc::new(Cancelled { reason: CancelReason::ClientRequest, usage, timings }))
}

#[tokio::test]
async fn numbers_rise_over_all_replicas_and_those_of_a_log_that_is_made_again_are_greater() {
    let one = start_with(TERMS);
    let other = replica(&one);
    let (log, elsewhere) = (open(&one, "a").await, open(&other, "a").await);
    let before = tail(&log).await;
    let third = log.append(vec![kept("1"), ephemeral("2"), kept("3")]).await.expect("room");
    let page = log.read(before).await.expect("it is there");
    let numbers: Vec<_> = page.entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(numbers, [third.before().before(), third.before(), third], "one append, consecutive numbers");
    assert!(numbers[0] > before);
    let fourth = append(&elsewhere, kept("4")).await;
    assert!(fourth > third);
    assert_eq!(read_kept(&log, third).await, ["4"]);
    assert_eq!(log.read(fourth.plus(1)).await, Err(ReadError::BeyondTail));
    for key in keys(&one) {
        let _: i64 = RedisServer::shared().command(cmd("DEL").arg(key));
    }
    let fifth = append(&elsewhere, kept("5")).await;
    assert!(fifth > fourth);
    assert_eq!(read_kept(&elsewhere, fourth).await, ["gap", "5"]);
    let third_replica = replica(&one);
    let log = open(&third_replica, "a").await;
    let ReadError::Trimmed(to) = log.read(fourth).await.expect_err("a gap") else { panic!("not a gap") };
    assert!(to < fifth && to >= fourth);
}

#[tokio::test]
async fn position_of_another_replica_is_never_beyond_the_tail_and_an_own_append_is_read_at_once() {
    let one = start_with(TERMS);
    let other = replica(&one);
    let (log, elsewhere) = (open(&one, "a").await, open(&other, "a").await);
    let before = tail(&elsewhere).await;
    for at in 0..20 {
        let position = append(&log, kept(&at.to_string())).await;
        assert_eq!(tail(&log).await, position);
        assert!(elsewhere.read(position).await.expect("not beyond the tail").entries.is_empty());
    }
    let history = elsewhere.history(100).await;
    assert_eq!((history.events, log.history(100).await), (LIMITS.history, history));
    assert_eq!(read_kept(&log, before).await, read_kept(&elsewhere, before).await);
}

#[tokio::test]
async fn the_last_events_are_kept_and_missing_ones_are_a_gap() {
    let retention = LIVE * 3;
    let channels = start_with(RedisChannelTerms { live: LIVE, limits: ChannelLimits { retention, ..LIMITS }, ..TERMS });
    let other = replica(&channels);
    let (log, elsewhere) = (open(&channels, "a").await, open(&other, "a").await);
    let before = tail(&log).await;
    let mut at = vec![before];
    for number in 1..=8 {
        at.push(append(&log, kept(&number.to_string())).await);
    }
    assert_eq!(read_kept(&log, before).await.len(), 8, "a slow subscriber misses no event");
    let history = log.history(100).await;
    assert_eq!((history.after, history.events), (at[4].before(), 5), "a new subscriber gets the history");
    assert_eq!(log.history(2).await.after, at[7].before());
    assert_eq!(log.history(0).await.after, at[8]);

    sleep(LIVE + Duration::from_millis(50)).await;
    append(&log, ephemeral("9")).await;
    for log in [&log, &elsewhere] {
        assert_eq!(read_kept(log, before).await, ["gap", "4", "5", "6", "7", "8", "9"]);
        assert_eq!(read_kept(log, at[3]).await, ["4", "5", "6", "7", "8", "9"], "nothing is missing");
        assert_eq!(log.history(100).await.gap_from, None, "events beyond the history have expired");
    }
    sleep(LIVE + Duration::from_millis(50)).await;
    append(&log, kept("10")).await;
    assert_eq!(read_kept(&log, at[8]).await, ["10"], "ephemeral events are not counted as lost");

    sleep(LIVE).await;
    channels.sweep().await;
    for log in [&log, &elsewhere] {
        assert_eq!(log.history(100).await.events, 1, "the first events are older than the retention");
        assert_eq!(read_kept(log, at[7]).await, ["gap", "10"]);
    }
}

#[tokio::test]
async fn answer_counts_as_one_event() {
    let channels = start_with(RedisChannelTerms { live: LIVE, ..TERMS });
    let log = open(&channels, "a").await;
    let id = GenerationId::random();
    let begins = append(&log, kept("before")).await;
    let started = append(&log, said(id, start(id))).await;
    for _ in 0..50 {
        append(&log, said(id, token("Hello"))).await;
    }
    let mut last = Vec::new();
    for at in 1..=4 {
        last.push(append(&log, kept(&at.to_string())).await);
    }
    let history = log.history(usize::MAX).await;
    assert_eq!((history.after, history.events), (started.before(), 5));
    assert!(history.after >= begins);
    // A subscriber that joins during an answer gets it from its start, however short a history it requests.
    assert_eq!(log.history(4).await.after, last[0].before());
    append(&log, said(id, token("Still here"))).await;
    assert_eq!(log.history(1).await.after, started.before());
    sleep(LIVE + Duration::from_millis(50)).await;
    append(&log, kept("5")).await;
    let mut rest = read_kept(&log, begins).await;
    assert!(rest.remove(5).starts_with("Generation("), "a late event of the answer stays, without its start");
    assert_eq!(rest, ["gap", "1", "2", "3", "4", "5"], "the answer is removed from its start on");
}

#[tokio::test]
async fn history_of_an_answer_without_its_start_states_where_the_gap_begins() {
    let channels = start_with(RedisChannelTerms { limits: ChannelLimits { bytes: 4096, ..LIMITS }, ..TERMS });
    let log = open(&channels, "a").await;
    let before = tail(&log).await;
    let (one, other) = (GenerationId::random(), GenerationId::random());
    let began = log.append(vec![kept("before"), said(one, start(one))]).await.expect("room");
    assert_eq!(log.history(1).await.gap_from, None, "the answer is complete");
    for _ in 0..100 {
        append(&log, said(one, token("Hello"))).await;
    }
    let history = log.history(usize::MAX).await;
    assert_eq!((history.events, history.gap_from), (1, Some(before.plus(1))), "the events before it were evicted too");
    assert!(history.bytes > 0 && history.bytes <= 4096 && history.after > began);
    assert_eq!(log.history(0).await.gap_from, None, "none of its events is requested");

    // A second, complete answer, while the first continues.
    append(&log, said(other, start(other))).await;
    assert_eq!(log.history(1).await.gap_from, None, "the first answer has no further events");
    append(&log, said(one, token("Hello"))).await;
    let both = log.history(1).await;
    assert_eq!((both.events, both.gap_from), (1, Some(began)), "the first answer continues");
}

#[tokio::test]
async fn append_above_the_byte_limit_evicts_the_oldest_events_on_all_replicas() {
    let limits = ChannelLimits { bytes: 3000, history: 100, ..LIMITS };
    let channels = start_with(RedisChannelTerms { limits, ..TERMS });
    let other = replica(&channels);
    let (log, elsewhere, text) = (open(&channels, "a").await, open(&other, "a").await, "x".repeat(800));
    let before = tail(&log).await;
    tail(&elsewhere).await;
    for at in 0..5 {
        append(&log, kept(&format!("{at}{text}"))).await;
        assert!(log.history(0).await.bytes <= 3000);
    }
    assert_eq!(channels.evicted(), 2);
    let read = read_kept(&elsewhere, before).await;
    assert_eq!((read[0].as_str(), read.len()), ("gap", 4), "three of a thousand bytes fit");
    assert_eq!(read_kept(&log, before).await, read);
    let end = tail(&log).await;
    let history = log.history(9).await;
    assert_eq!((history.events, history.gap_from), (3, Some(before.plus(1))));
    assert_eq!(log.append(vec![kept(&text.repeat(4))]).await, Err(AppendError::Full(Limit::Own)));
    assert_eq!(log.history(9).await, history, "an event without room changes nothing");
    log.skip().await;
    log.skip().await;
    assert_eq!(read_kept(&log, end).await, ["gap"], "an event without room is reported as a gap");
    assert_eq!(log.history(9).await.events, 3, "no other event is in a gap");
    append(&log, kept("after")).await;
    for log in [&log, &elsewhere] {
        assert_eq!(read_kept(log, end).await, ["gap", "after"]);
    }
    let tiny = start_with(RedisChannelTerms { limits: ChannelLimits { bytes: 1, ..LIMITS }, ..TERMS });
    let (log, id) = (open(&tiny, "a").await, GenerationId::random());
    let before = tail(&log).await;
    assert_eq!(log.append(vec![said(id, token("Hello"))]).await, Err(AppendError::Full(Limit::Own)));
    append(&log, said(id, cancelled())).await;
    assert_eq!(read_kept(&log, before).await.len(), 1, "a terminal event always fits");
}

#[tokio::test]
async fn full_redis_refuses_events_but_no_end_of_an_answer_and_no_departure() {
    let server = RedisServer::with_options("--maxmemory 3mb");
    let channels = process(server.client("full"), TERMS);
    let (log, id) = (open(&channels, "a").await, GenerationId::random());
    let member = member(PresenceMode::Present);
    channels.join(&name("a"), &account("ada"), &member, 9).await.expect("room");
    append(&log, said(id, start(id))).await;
    let client = redis::Client::open(server.url()).expect("an address");
    let mut connection = client.get_connection().expect("it runs");
    for size in [64 << 10, 4 << 10, 64] {
        let filler = "x".repeat(size);
        while cmd("RPUSH").arg("filler").arg(&filler).query::<()>(&mut connection).is_ok() {}
    }
    assert_eq!(log.append(vec![kept("1")]).await, Err(AppendError::Full(Limit::Total)));
    let before = tail(&log).await;
    append(&log, said(id, cancelled())).await;
    assert_eq!(read_kept(&log, before).await.len(), 1);
    channels.refresh().await;
    channels.leave(&name("a"), member.who.connection).await;
    assert_eq!(channels.entries(&name("a")).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_of_many_readers_on_all_replicas_gets_all_of_many_writers_in_order() {
    const WRITERS: usize = 4;
    const EACH: usize = 50;
    let one = start_with(RedisChannelTerms { limits: ChannelLimits { history: WRITERS * EACH, ..LIMITS }, ..TERMS });
    let replicas = [one.clone(), replica(&one)];
    let logs = [open(&replicas[0], "a").await, open(&replicas[1], "a").await];
    let before = tail(&logs[0]).await;
    let tasks = TaskTracker::new();
    let readers: Vec<_> = (0..8)
        .map(|at| {
            let log = Arc::clone(&logs[at % 2]);
            tasks.spawn(async move {
                let mut pages = Box::pin(follow(log, before));
                let mut read: Vec<Entry<ChannelEvent>> = Vec::new();
                while read.len() < WRITERS * EACH {
                    for entry in soon(pages.next()).await.expect("more").expect("not lost") {
                        assert!(read.last().is_none_or(|last| last.sequence < entry.sequence));
                        read.push(entry);
                    }
                }
                read
            })
        })
        .collect();
    for writer in 0..WRITERS {
        let log = Arc::clone(&logs[writer % 2]);
        tasks.spawn(async move {
            for at in 0..EACH {
                append(&log, kept(&format!("{writer}.{at:03}"))).await;
            }
        });
    }
    let mut seen = Vec::new();
    for reader in readers {
        seen.push(reader.await.expect("it read all"));
    }
    assert!(seen.iter().all(|read| *read == seen[0]), "all read the same");
    for writer in 0..WRITERS {
        let own: Vec<_> = data(&seen[0]).into_iter().filter(|data| data.starts_with(&format!("{writer}."))).collect();
        assert!(own.len() == EACH && own.is_sorted(), "{own:?}");
    }
}

#[tokio::test]
async fn follower_reads_what_was_appended_while_messages_were_lost() {
    let one = start_with(TERMS);
    let other = replica(&one);
    let (log, elsewhere) = (open(&one, "a").await, open(&other, "a").await);
    let mut pages = Box::pin(follow(Arc::clone(&elsewhere), tail(&elsewhere).await));
    append(&log, kept("1")).await;
    assert_eq!(data(&soon(pages.next()).await.expect("more").expect("not lost")), ["1"]);
    let _: i64 = RedisServer::shared().command(cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub"));
    append(&log, kept("2")).await;
    assert_eq!(data(&soon(pages.next()).await.expect("more").expect("not lost")), ["2"]);
}

#[tokio::test]
async fn append_whose_reply_is_lost_is_applied_once() {
    let proxy = LossyProxy::start(RedisServer::shared().port()).await;
    let channels = process(client_of(proxy.port, &unique_prefix()), TERMS);
    let log = open(&channels, "a").await;
    let told = member(PresenceMode::PresentAndTold);
    let other = member(PresenceMode::Present);
    for member in [&told, &other] {
        soon(channels.join(&name("a"), &account("ada"), member, 9)).await.expect("room");
    }
    let id = GenerationId::random();
    let before = soon(tail(&log)).await;
    for event in [kept("1"), ephemeral("2"), said(id, cancelled()), kept("3"), said(id, cancelled())] {
        soon(append(&log, event)).await;
    }
    soon(log.skip()).await;
    soon(channels.refresh()).await;
    soon(channels.leave(&name("a"), other.who.connection)).await;
    assert_eq!(soon(channels.entries(&name("a"))).await, 1);
    let read = soon(read_kept(&log, before)).await;
    assert_eq!((read.len(), &read[..2], &read[3]), (7, &["1".to_owned(), "2".to_owned()][..], &"3".to_owned()));
    assert!(read[5] == "gap" && read[6].starts_with("Left("), "{read:?}");
    assert!(proxy.lost() >= 7, "{} scripts", proxy.lost());
}

#[tokio::test]
async fn copies_of_a_process_stay_within_their_limit_and_the_largest_one_loses_its_oldest_events() {
    let limits = ChannelLimits { total: 40_000, history: 1000, ..LIMITS };
    let channels = start_with(RedisChannelTerms { limits, ..TERMS });
    let (small, large) = (open(&channels, "small").await, open(&channels, "large").await);
    let (before, before_large) = (tail(&small).await, tail(&large).await);
    append(&small, kept("1")).await;
    small.history(9).await;
    for _ in 0..80 {
        append(&large, kept(&"x".repeat(800))).await;
        large.history(0).await;
    }
    soon(async {
        while channels.bytes() > limits.total {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(read_kept(&small, before).await, ["1"]);
    let read = read_kept(&large, before_large).await;
    assert!(read[0] == "gap" && read.len() > 10 && read.len() < 50, "{}", read.len());
    drop((small, large));
    soon(async {
        while channels.bytes() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn every_key_expires_and_none_names_the_channel() {
    let channels = start_with(TERMS);
    let log = open(&channels, "secret-room").await;
    append(&log, kept("1")).await;
    append(&log, ephemeral("2")).await;
    channels.join(&name("secret-room"), &account("ada"), &member(PresenceMode::PresentAndTold), 9).await.expect("room");
    channels.join(&name("secret-room"), &account("ada"), &member(PresenceMode::Present), 9).await.expect("room");
    let found = keys(&channels);
    assert_eq!(found.len(), 7, "{found:?}");
    for key in &found {
        let expiry: i64 = RedisServer::shared().command(cmd("PTTL").arg(key));
        assert!(expiry > 0 && !key.contains("secret"), "{key} expires in {expiry}");
        let _: i64 = RedisServer::shared().command(cmd("PEXPIRE").arg(key).arg(30_000));
    }
    // Contract 6: a log with subscribers is kept.
    channels.refresh().await;
    for key in found.iter().filter(|key| !key.ends_with(":n")) {
        let expiry: i64 = RedisServer::shared().command(cmd("PTTL").arg(key));
        assert!(expiry > 60_000, "{key} expires in {expiry}");
    }
}

fn member(presence_mode: PresenceMode) -> RosterMember {
    let principal = Principal::Key("ada".into());
    RosterMember {
        who: Subscriber { connection: ConnectionId::random(), principal, since: Timestamp::now() },
        presence_mode,
    }
}

/// The presence events after a position: whether it joined, its connection, and the number of subscribers.
async fn presence(log: &Arc<dyn ChannelLog>, after: Sequence) -> Vec<(bool, ConnectionId, usize)> {
    let page = log.read(after).await.expect("nothing is lost");
    let told = page.entries.iter().map(|entry| match &entry.event {
        ChannelEvent::Joined(presence) => (true, presence.who.connection, presence.subscribers),
        ChannelEvent::Left(presence) => (false, presence.who.connection, presence.subscribers),
        other => panic!("{other:?}"),
    });
    told.collect()
}

/// Contract 5 of the rosters: one of three processes is gone, and its subscribers leave once.
#[tokio::test]
async fn entries_of_a_process_that_no_longer_refreshes_are_removed_with_their_left_events() {
    let lease = Duration::from_secs(1);
    let here = start_with(RedisChannelTerms { lease, ..TERMS });
    let [other, gone] = [replica(&here), replica(&here)];
    let (room, anyone) = (name("a"), Account::Principal(Principal::Anonymous));
    let [watcher, second, lost] =
        [PresenceMode::PresentAndTold, PresenceMode::Present, PresenceMode::Present].map(member);
    let begun = here.join(&room, &anyone, &watcher, 9).await.expect("room").tail;
    other.join(&room, &anyone, &second, 9).await.expect("room");
    gone.join(&room, &anyone, &lost, 9).await.expect("room");
    // Real time: the leases are by the clock of Redis.
    let mut ended = false;
    for _ in 0..40 {
        sleep(lease / 10).await;
        tokio::join!(here.refresh(), other.refresh());
        ended = here.entries(&room).await == 2;
        if ended {
            break;
        }
    }
    assert!(ended, "its lease has ended");
    let log = open(&here, "a").await;
    let expected = [(true, second.who.connection, 2), (true, lost.who.connection, 3), (false, lost.who.connection, 2)];
    log.history(0).await;
    assert_eq!(presence(&log, begun).await, expected);
    assert!(!here.has(&room, lost.who.connection).await);

    // The process was only slow: its subscriber joins again, and leaves once.
    gone.refresh().await;
    assert_eq!(here.entries(&room).await, 3);
    gone.leave(&room, lost.who.connection).await;
    gone.leave(&room, lost.who.connection).await;
    gone.refresh().await;
    assert_eq!(here.members(&room).await.subscribers, 2);
    log.history(0).await;
    let again = [(true, lost.who.connection, 3), (false, lost.who.connection, 2)];
    assert_eq!(presence(&log, begun).await, [&expected[..], &again].concat());
}

#[tokio::test]
async fn subscribers_and_events_of_a_flushed_redis_are_a_gap_and_join_again() {
    let server = RedisServer::start();
    let channels = process(server.client("flushed"), TERMS);
    let (log, room) = (open(&channels, "a").await, name("a"));
    let told = member(PresenceMode::PresentAndTold);
    let tail = channels.join(&room, &account("ada"), &told, 9).await.expect("room").tail;
    append(&log, kept("1")).await;
    let _: () = server.command(&cmd("FLUSHALL"));
    assert_eq!(channels.entries(&room).await, 0);
    channels.refresh().await;
    assert_eq!(channels.members(&room).await.first, [told.who]);
    append(&log, kept("2")).await;
    assert_eq!(read_kept(&log, tail).await, ["gap", "2"]);
}
