//! The contract of the rosters of channels (`tokenrill::event_log::Rosters`), rule by rule, against each adapter; and
//! channels whose logs and rosters are slow.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokenrill::channel::{
    Beginning, Channels, Heard, PresenceMode, PublishError, Reserve, SubscribeError, Subscribed, Subscription,
};
use tokenrill::domain::{
    Account, ChannelEvent, ChannelName, Chunk, ConnectionId, Entry, Escaped, Event, GenerationId, Keeping, Part,
    Principal, Published, Recipient, Sequence, Shape, Subscriber, Timestamp,
};
use tokenrill::event_log::{
    ChannelLimits, ChannelLogs, EntryBatch, JoinError, JoinedRoster, MemoryChannels, ReadError, RedisChannelTerms,
    RedisChannels, RosterMember, Rosters,
};
use tokenrill::telemetry::Metrics;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::redis_server::{RedisServer, unique_prefix};
use crate::support::{Gate, LEASE, SharedChannels, SlowChannels, soon};

const LIMITS: ChannelLimits =
    ChannelLimits { history: 1_000, retention: Duration::from_hours(1), bytes: 1 << 20, total: 1 << 20, channels: 2 };
const MOST: usize = 3;

fn memory() -> Arc<MemoryChannels> {
    Arc::new(MemoryChannels::new(LIMITS))
}

/// The adapters in memory, with the memory behind them.
fn adapters_in_memory() -> [(Arc<dyn Rosters>, Arc<MemoryChannels>); 2] {
    let [one, other] = [(); 2].map(|()| memory());
    [(Arc::clone(&one) as Arc<dyn Rosters>, one), (SlowChannels::new(Arc::clone(&other), Gate::open()), other)]
}

/// Each adapter, with its logs.
fn adapters() -> [(Arc<dyn Rosters>, Arc<dyn ChannelLogs>); 3] {
    let [one, other] = adapters_in_memory().map(|(rosters, logs)| (rosters, logs as Arc<dyn ChannelLogs>));
    let client = RedisServer::shared().client(&unique_prefix());
    let terms = RedisChannelTerms::new(LIMITS);
    let redis = Arc::new(RedisChannels::new(client, terms, TaskTracker::new(), CancellationToken::new()));
    [one, other, (Arc::clone(&redis) as Arc<dyn Rosters>, redis)]
}

fn room() -> ChannelName {
    "room".parse().expect("a name")
}

fn account() -> Account {
    Account::Principal(Principal::Anonymous)
}

fn subscriber() -> Subscriber {
    Subscriber { connection: ConnectionId::random(), principal: Principal::Anonymous, since: Timestamp::now() }
}

fn member(presence_mode: PresenceMode) -> RosterMember {
    RosterMember { who: subscriber(), presence_mode }
}

async fn join(rosters: &dyn Rosters, member: &RosterMember) -> Result<JoinedRoster, JoinError> {
    rosters.join(&room(), &account(), member, MOST).await
}

async fn leave(rosters: &dyn Rosters, member: &RosterMember) {
    rosters.leave(&room(), member.who.connection).await;
}

/// The presence events after a position: whether it joined, its connection, and the number of subscribers.
async fn presence(logs: &dyn ChannelLogs, after: Sequence) -> Vec<(bool, ConnectionId, usize)> {
    let log = logs.open(&room(), &account()).await.expect("room");
    let (mut events, mut after) = (Vec::new(), after);
    loop {
        let page = log.read(after).await.expect("nothing is lost").entries;
        let Some(last) = page.last() else { return events };
        after = last.sequence;
        events.extend(page.iter().map(|entry| match &entry.event {
            ChannelEvent::Joined(presence) => (true, presence.who.connection, presence.subscribers),
            ChannelEvent::Left(presence) => (false, presence.who.connection, presence.subscribers),
            other => panic!("{other:?}"),
        }));
    }
}

fn publication(data: &str) -> Published {
    Published { name: None, data_json: data.into(), to: Recipient::AllSubscribers, keeping: Keeping::Kept }
}

async fn publish_directly(logs: &MemoryChannels, data: &str) {
    let log = logs.open(&room(), &account()).await.expect("room");
    log.append(vec![ChannelEvent::Published(Arc::new(publication(data)))]).await.expect("it fits");
}

/// Contract 1, 4.
#[tokio::test]
async fn joins_and_departures_are_appended_after_the_tails_that_joins_return() {
    for (rosters, logs) in adapters() {
        let [silent, told, also] =
            [PresenceMode::Present, PresenceMode::PresentAndTold, PresenceMode::Present].map(member);
        let first = join(&*rosters, &silent).await.expect("room");
        assert_eq!((first.present.len(), first.subscribers), (0, 1));
        let second = join(&*rosters, &told).await.expect("room");
        assert_eq!((second.present, second.subscribers), (vec![silent.who.clone(), told.who.clone()], 2));
        assert_eq!(presence(&*logs, first.tail).await, [], "no subscriber received presence events");
        let third = join(&*rosters, &also).await.expect("room");
        leave(&*rosters, &silent).await;
        let events = [(true, also.who.connection, 3), (false, silent.who.connection, 2)];
        assert_eq!(presence(&*logs, second.tail).await, events);
        assert_eq!(presence(&*logs, third.tail).await.last(), events.last());
        let members = rosters.members(&room()).await;
        assert_eq!((members.subscribers, members.first), (2, vec![told.who.clone(), also.who.clone()]));
        leave(&*rosters, &told).await;
        leave(&*rosters, &also).await;
        assert_eq!(presence(&*logs, second.tail).await.len(), 2, "no subscriber receives presence events any more");
        assert_eq!(rosters.entries(&room()).await, 0);
    }
}

/// Contract 2.
#[tokio::test]
async fn repeated_join_and_leave_change_nothing_and_append_no_second_event() {
    for (rosters, logs) in adapters() {
        let [told, other] = [PresenceMode::PresentAndTold, PresenceMode::PresentAndTold].map(member);
        let begun = join(&*rosters, &told).await.expect("room").tail;
        for _ in 0..3 {
            let joined = join(&*rosters, &other).await.expect("it has its entry");
            assert_eq!((joined.present.len(), joined.subscribers), (2, 2));
            assert_eq!(rosters.entries(&room()).await, 2);
            assert!(rosters.has(&room(), other.who.connection).await);
        }
        for _ in 0..3 {
            leave(&*rosters, &other).await;
            assert_eq!(rosters.entries(&room()).await, 1);
            assert!(!rosters.has(&room(), other.who.connection).await);
        }
        let events = [(true, other.who.connection, 2), (false, other.who.connection, 1)];
        assert_eq!(presence(&*logs, begun).await, events);
        rosters.refresh().await;
        assert_eq!(rosters.entries(&room()).await, 1);
    }
}

/// Contract 3, 4.
#[tokio::test]
async fn join_above_the_maximum_is_refused_and_leaves_nothing_behind() {
    for (rosters, logs) in adapters() {
        let [told, passing, third, fourth] =
            [PresenceMode::PresentAndTold, PresenceMode::Passing, PresenceMode::Present, PresenceMode::Present]
                .map(member);
        let begun = join(&*rosters, &told).await.expect("room").tail;
        join(&*rosters, &passing).await.expect("room");
        assert!(!rosters.has(&room(), passing.who.connection).await, "the member has no stream");
        join(&*rosters, &third).await.expect("room");
        for _ in 0..2 {
            assert_eq!(join(&*rosters, &fourth).await, Err(JoinError::RosterFull));
        }
        assert_eq!((rosters.entries(&room()).await, rosters.members(&room()).await.subscribers), (3, 2));
        leave(&*rosters, &fourth).await;
        assert_eq!(rosters.entries(&room()).await, 3);
        leave(&*rosters, &passing).await;
        join(&*rosters, &fourth).await.expect("room again");
        let events = [(true, third.who.connection, 2), (true, fourth.who.connection, 3)];
        assert_eq!(presence(&*logs, begun).await, events, "none for the passing one");
    }
}

/// Contract 5: one of two processes is gone, and its subscribers leave.
#[tokio::test(start_paused = true)]
async fn entries_of_a_process_that_no_longer_refreshes_are_removed_with_their_left_events() {
    let store = Arc::new(MemoryChannels::new(ChannelLimits { channels: 10, ..LIMITS }));
    let tasks = TaskTracker::new();
    let [here, gone] = SharedChannels::pair(&store).map(|process| {
        let (channels, metrics) = (Channels::new(process, MOST, Metrics::new()), Metrics::new());
        let running = channels.clone();
        (channels, tasks.spawn(async move { running.run(&metrics, || 0).await }))
    });
    let subscribe = async |channels: &Channels| {
        let (who, beginning) = (subscriber(), Beginning::History(0));
        let mode = PresenceMode::PresentAndTold;
        channels.subscribe(&room(), &account(), who, beginning, mode, Reserve::Kept).await.expect("room")
    };
    let mut watcher = subscribe(&here.0).await.subscription;
    let other = subscribe(&gone.0).await;
    let connection = other.present.last().expect("itself").connection;
    let presence = |entries: Vec<Entry<ChannelEvent>>| match &entries[0].event {
        ChannelEvent::Joined(presence) => (true, presence.who.connection, presence.subscribers),
        ChannelEvent::Left(presence) => (false, presence.who.connection, presence.subscribers),
        event => panic!("{event:?}"),
    };
    assert_eq!(presence(next_events(&mut watcher, 1).await), (true, connection, 2));

    // While both processes run, they keep their entries for much longer than a lease.
    assert!(timeout(LEASE * 10, watcher.heard()).await.is_err(), "no one has left");
    assert_eq!(store.entries(&room()).await, 2);

    gone.1.abort();
    let since = Instant::now();
    assert_eq!(presence(next_events(&mut watcher, 1).await), (false, connection, 1));
    assert!(since.elapsed() < LEASE + Duration::from_secs(3), "after {:?}", since.elapsed());
    assert_eq!(store.entries(&room()).await, 1);
    let private = Published { to: Recipient::Connection(connection), ..publication("1") };
    let refused = here.0.publish(&room(), &account(), private).await;
    assert_eq!(refused, Err(PublishError::ConnectionNotFound));

    // The process was only slow: a late departure changes nothing.
    drop(other);
    assert!(timeout(LEASE, watcher.heard()).await.is_err(), "it has left once");
    assert_eq!(store.entries(&room()).await, 1);
    here.1.abort();
}

/// Contract 6. In Redis, the number of channels has no limit, and a channel's keys are extended
/// (`event_log/redis_channels.rs`).
#[tokio::test]
async fn log_with_a_subscriber_is_kept_and_one_without_is_not() {
    for (rosters, logs) in adapters_in_memory() {
        let names: [ChannelName; 3] = ["a", "b", "c"].map(|name| name.parse().expect("a name"));
        let members = [(); 3].map(|()| member(PresenceMode::Present));
        for at in 0..2 {
            rosters.join(&names[at], &account(), &members[at], MOST).await.expect("room for a channel");
            logs.sweep().await;
        }
        let refused = rosters.join(&names[2], &account(), &members[2], MOST).await;
        assert!(matches!(refused, Err(JoinError::ChannelsFull(_))), "both channels have a subscriber");
        rosters.leave(&names[0], members[0].who.connection).await;
        rosters.join(&names[2], &account(), &members[2], MOST).await.expect("room for a channel");
        for at in 1..3 {
            rosters.leave(&names[at], members[at].who.connection).await;
        }
        logs.sweep().await;
        assert_eq!(logs.count(), 0);
    }
}

/// Contract 1: the number in each event follows from that in the event before it, so no event is lost, doubled or out of
/// order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn subscribers_that_join_and_leave_at_once_give_events_in_the_order_of_the_steps() {
    const EACH: usize = 50;
    for (rosters, logs) in adapters() {
        let told = member(PresenceMode::PresentAndTold);
        let begun = rosters.join(&room(), &account(), &told, 100).await.expect("room").tail;
        let tasks = TaskTracker::new();
        for _ in 0..8 {
            let rosters = Arc::clone(&rosters);
            tasks.spawn(async move {
                for _ in 0..EACH {
                    let member = member(PresenceMode::Present);
                    rosters.join(&room(), &account(), &member, 100).await.expect("room");
                    rosters.leave(&room(), member.who.connection).await;
                }
            });
        }
        tasks.close();
        soon(tasks.wait()).await;
        let (mut count, mut there, mut total) = (1, Vec::new(), 0);
        for (joined, connection, subscribers) in presence(&*logs, begun).await {
            if joined {
                assert!(!there.contains(&connection), "it joins once");
                there.push(connection);
                count += 1;
            } else {
                let at = there.iter().position(|other| *other == connection).expect("it leaves once, after it joined");
                there.swap_remove(at);
                count -= 1;
            }
            total += 1;
            assert_eq!(subscribers, count);
        }
        assert_eq!((there.len(), total), (0, 8 * EACH * 2));
    }
}

/// Channels whose store takes steps.
struct World {
    channels: Channels,
    store: Arc<SlowChannels>,
}

impl World {
    fn new(gate: Gate) -> Self {
        let store = SlowChannels::new(memory(), gate);
        Self { channels: Channels::new(Arc::clone(&store), MOST, Metrics::new()), store }
    }

    async fn subscribe(&self, who: Subscriber, beginning: Beginning) -> Result<Subscribed, SubscribeError> {
        let mode = PresenceMode::PresentAndTold;
        self.channels.subscribe(&room(), &account(), who, beginning, mode, Reserve::Kept).await
    }

    /// Waits until no subscriber is left.
    async fn assert_empty(&self) {
        let empty = async {
            while self.store.inner.entries(&room()).await > 0 {
                yield_now().await;
            }
        };
        soon(empty).await;
    }
}

async fn next_events(subscription: &mut Subscription, count: usize) -> Vec<Entry<ChannelEvent>> {
    let mut events = Vec::new();
    while events.len() < count {
        match soon(subscription.heard()).await.expect("the log is there") {
            Heard::Events(page) => events.extend(page),
            Heard::Gap { from, to } => panic!("a gap from {from:?} to {to:?}"),
        }
    }
    events
}

fn data(entries: &[Entry<ChannelEvent>]) -> Vec<String> {
    let text = |entry: &Entry<ChannelEvent>| match &entry.event {
        ChannelEvent::Published(published) => published.data_json.to_string(),
        other => panic!("{other:?}"),
    };
    entries.iter().map(text).collect()
}

/// Contract 7: the client disconnects at each point at which a subscription can wait.
#[tokio::test(start_paused = true)]
async fn subscriber_that_disconnects_while_it_joins_leaves_the_roster() {
    for steps in 0..4 {
        let world = World::new(Gate::shut());
        let watcher = member(PresenceMode::PresentAndTold);
        let begun = join(&*world.store.inner, &watcher).await.expect("room").tail;
        world.store.gate.pass(steps);
        let mut call = Box::pin(world.subscribe(subscriber(), Beginning::History(1)));
        for _ in 0..10 {
            let is_ready = poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await;
            assert!(!is_ready, "the call waits for the gate");
            yield_now().await;
        }
        drop(call);
        world.store.gate.unlock();
        // A call that continues in a task has ended by then.
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(world.store.inner.entries(&room()).await, 1, "after {steps} steps");
        let events = presence(&*world.store.inner, begun).await;
        let expected = if steps == 0 { vec![] } else { vec![(true, 2), (false, 1)] };
        assert_eq!(events.iter().map(|(joined, _, count)| (*joined, *count)).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_subscription_leaves_a_slow_roster_and_receives_no_more_events() {
    let world = World::new(Gate::open());
    let who = subscriber();
    let subscribed = world.subscribe(who.clone(), Beginning::History(0)).await.expect("room");
    assert_eq!((subscribed.subscribers, subscribed.present), (1, vec![who.clone()]));
    let private = |connection| Published { to: Recipient::Connection(connection), ..publication("1") };
    assert!(world.channels.publish(&room(), &account(), private(who.connection)).await.is_ok());
    drop(subscribed.subscription);
    world.assert_empty().await;
    let refused = world.channels.publish(&room(), &account(), private(who.connection)).await;
    assert_eq!(refused, Err(PublishError::ConnectionNotFound));
    let inspection = world.channels.inspect(&room()).await.expect("it answers");
    assert_eq!(inspection.map(|inspection| inspection.subscribers), Some(0));
}

#[tokio::test(start_paused = true)]
async fn events_between_the_join_and_the_read_of_the_history_are_delivered_once() {
    let world = World::new(Gate::shut());
    publish_directly(&world.store.inner, "0").await;
    // To open the log, and to join twice. It then waits to read the history.
    world.store.gate.pass(3);
    let mut call = Box::pin(world.subscribe(subscriber(), Beginning::History(1)));
    while world.store.inner.entries(&room()).await == 0 {
        assert!((&mut call).now_or_never().is_none());
        yield_now().await;
    }
    for _ in 0..10 {
        assert!((&mut call).now_or_never().is_none());
        yield_now().await;
    }
    for number in ["1", "2", "3"] {
        publish_directly(&world.store.inner, number).await;
    }
    world.store.gate.unlock();
    let mut subscription = call.await.expect("room").subscription;
    publish_directly(&world.store.inner, "4").await;
    assert_eq!(data(&next_events(&mut subscription, 4).await), ["1", "2", "3", "4"]);
}

fn answer_events(count: usize) -> Vec<Event> {
    let shape = Arc::new(Shape::new(None, Part::Text { choice: 0, logprobs_json: None }));
    let token = |number: usize| Chunk::new(Arc::clone(&shape), Escaped::from_text(&number.to_string()));
    (0..count).map(|number| Event::Chunk(token(number))).collect()
}

/// The pages of an answer, one event each; `held` is dropped with them.
fn pages(events: Vec<Event>, held: Arc<()>) -> impl Stream<Item = Result<EntryBatch, ReadError>> + Send + 'static {
    stream::iter(events.into_iter().zip(1..)).map(move |(event, number)| {
        assert!(Arc::strong_count(&held) > 0, "owned by the stream");
        Ok(EntryBatch::from_iter([Entry::new(Sequence::new(number), event)]))
    })
}

#[tokio::test(start_paused = true)]
async fn answer_is_copied_whole_and_in_order_into_a_slow_channel() {
    let world = World::new(Gate::open());
    let mut subscription = world.subscribe(subscriber(), Beginning::History(0)).await.expect("room").subscription;
    let (generation, events) = (GenerationId::random(), answer_events(100));
    world.channels.carry(&room(), &account(), generation, pages(events.clone(), Arc::default()));
    let copied: Vec<_> = next_events(&mut subscription, 100).await.into_iter().map(|entry| entry.event).collect();
    assert_eq!(copied, events.into_iter().map(|event| ChannelEvent::Generation(generation, event)).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn closing_ends_a_copy_whose_append_is_in_flight_within_a_second() {
    for steps in 0..4 {
        let world = World::new(Gate::shut());
        world.store.gate.pass(steps);
        let held = Arc::new(());
        world.channels.carry(&room(), &account(), GenerationId::random(), pages(answer_events(100), Arc::clone(&held)));
        for _ in 0..20 {
            yield_now().await;
        }
        let began = Instant::now();
        world.channels.close().await;
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        let ended = async {
            while Arc::strong_count(&held) > 1 {
                yield_now().await;
            }
        };
        timeout(Duration::from_secs(1), ended).await.expect("the copy has ended");
    }
}

#[tokio::test(start_paused = true)]
async fn closing_ends_a_publish_and_a_subscribe_that_wait() {
    let world = World::new(Gate::shut());
    let account = account();
    let (name, began) = (room(), Instant::now());
    let publishing = world.channels.publish(&name, &account, publication("1"));
    let subscribing = world.subscribe(subscriber(), Beginning::History(0));
    let (published, subscribed, ()) = tokio::join!(publishing, subscribing, async {
        yield_now().await;
        world.channels.close().await;
    });
    assert_eq!(published, Err(PublishError::Closing));
    assert_eq!(subscribed.err(), Some(SubscribeError::Closing));
    assert!(began.elapsed() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn publish_and_subscribe_that_get_no_reply_fail_after_two_seconds() {
    let world = World::new(Gate::shut());
    let began = Instant::now();
    let published = world.channels.publish(&room(), &account(), publication("1")).await;
    assert_eq!(published, Err(PublishError::Unavailable));
    let subscribed = world.subscribe(subscriber(), Beginning::History(0)).await;
    assert_eq!(subscribed.err(), Some(SubscribeError::Unavailable));
    assert_eq!(began.elapsed(), Duration::from_secs(4));
    world.store.gate.unlock();
    world.assert_empty().await;
}
