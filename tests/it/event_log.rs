//! Tests each number of the event log's contract (`src/event_log/mod.rs`) against each backend.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::future::Either;
use futures_util::{FutureExt, StreamExt};
use smallvec::smallvec;
use tokenrill::domain::{
    Account, CancelReason, Cancelled, Chunk, Done, Entry, Escaped, Event, Finish, Frame, GenerationId, Metadata, Part,
    Principal, ProviderDialect, Sequence, Shape, Start, Timestamp, Timings, Trailer, Usage, UsageRequest,
};
use tokenrill::event_log::{
    AppendError, CloseOutcome, CreateError, Created, EventLog, Events, Limit, Log, MemoryLimits, Page, ReadError,
    Readable, Reply, Tail, TailReader, TailState, follow,
};
use tokio::sync::Barrier;
use tokio_util::task::TaskTracker;

use crate::support::soon;

/// A backend under test. Its module implements this trait and invokes `contract!(Backend)`.
trait Backend: EventLog + Clone {
    fn start(limits: MemoryLimits) -> Self;

    /// Asserts the invariants that can be observed between any two calls.
    fn check(&self, limits: MemoryLimits);
}

macro_rules! contract {
    ($backend:ty) => {
        contract! { $backend, #[tokio::test]
            entries_are_numbered_from_one_without_a_gap
            an_append_after_another_tail_changes_nothing
            an_append_adds_all_its_events_or_none
            a_log_is_closed_once_and_nothing_follows
            a_move_between_a_read_and_the_wait_after_it_is_not_missed
            a_read_gives_the_suffix_after_every_position
            a_page_is_about_16_kib_and_never_empty
            a_position_beyond_the_tail_is_an_error_at_once
            chunks_read_back_as_they_were_appended
            a_log_is_bounded_and_still_ends
            all_logs_are_bounded_and_the_log_that_ended_first_is_evicted_first
            no_more_logs_are_evicted_than_needed
            a_removed_log_is_unknown_and_its_holders_can_still_read_it
            a_removed_log_frees_its_bytes
            a_claim_names_one_log_as_long_as_it_is_kept
            a_claim_that_is_released_is_free_and_its_log_stays
            a_claim_belongs_to_its_owner
            a_claim_that_conflicts_or_finds_no_room_changes_nothing
            each_owner_lists_its_own_newest_first_each_once
            large_answers_evict_their_own_accounts_and_none_of_another
            an_account_within_its_share_evicts_from_the_one_that_holds_most
            open_logs_above_their_share_evict_nothing_of_an_account_within_its_own
            open_logs_above_their_share_evict_of_an_account_above_its_own
            a_terminal_event_evicts_nothing_of_an_account_within_its_share
            a_release_frees_a_lost_claim_and_a_removal_leaves_none
            lost_claims_of_many_accounts_leave_room_for_answers_and_for_keys_of_others
            a_dropped_follower_leaves_nothing_behind
            random_operations_match_a_list
            with_little_room_open_logs_stay_and_closed_ones_are_evicted_in_order
        }
        contract! { $backend, #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            racing_writers_lose_no_append_and_split_none
            one_of_many_closers_wins_and_the_others_get_its_event
            followers_that_start_at_any_moment_see_each_entry_once
            a_woken_reader_can_read_the_new_tail
            racing_claims_make_one_log
        }
        contract! { $backend, #[tokio::test(start_paused = true)]
            a_closed_log_is_kept_for_the_retention
            an_evicted_claim_is_lost_with_its_usage_until_its_retention_ends
            a_discarded_claim_is_lost_with_its_usage_until_its_retention_ends
            an_account_with_too_many_lost_claims_gets_no_new_one_until_the_oldest_expires
        }
    };
    ($backend:ty, #[$attribute:meta] $($test:ident)*) => {
        $(#[$attribute]
        async fn $test() {
            super::$test::<$backend>().await;
        })*
    };
}

mod accounts;
mod channel_accounts;
mod channels;
mod claims;
mod memory;
mod random;

use accounts::{
    a_discarded_claim_is_lost_with_its_usage_until_its_retention_ends,
    a_release_frees_a_lost_claim_and_a_removal_leaves_none,
    a_terminal_event_evicts_nothing_of_an_account_within_its_share,
    an_account_with_too_many_lost_claims_gets_no_new_one_until_the_oldest_expires,
    an_account_within_its_share_evicts_from_the_one_that_holds_most,
    an_evicted_claim_is_lost_with_its_usage_until_its_retention_ends,
    large_answers_evict_their_own_accounts_and_none_of_another,
    lost_claims_of_many_accounts_leave_room_for_answers_and_for_keys_of_others,
    open_logs_above_their_share_evict_nothing_of_an_account_within_its_own,
    open_logs_above_their_share_evict_of_an_account_above_its_own,
};
use claims::{
    a_claim_belongs_to_its_owner, a_claim_names_one_log_as_long_as_it_is_kept,
    a_claim_that_conflicts_or_finds_no_room_changes_nothing, a_claim_that_is_released_is_free_and_its_log_stays,
    each_owner_lists_its_own_newest_first_each_once, racing_claims_make_one_log,
};

use random::{
    Random, random_operations_match_a_list, shapes,
    with_little_room_open_logs_stay_and_closed_ones_are_evicted_in_order,
};

const RETENTION: Duration = Duration::from_mins(10);
const ROOMY: MemoryLimits = MemoryLimits { total: 64 << 20, generation: 16 << 20, running: 0, retention: RETENTION };
/// An upper bound of the bytes that any backend counts for a start or terminal event of these tests.
const TERMINAL_BYTES: usize = 1024;

static PLAIN: LazyLock<Arc<Shape>> = LazyLock::new(|| {
    let frame = Some(Frame::new(ProviderDialect::OpenAiChat, r#"{"choices":[{"delta":{"content":""#, r#""}}]}"#));
    Arc::new(Shape::new(frame, Part::Text { choice: 0, logprobs_json: None }))
});

/// The start of a generation of `owner`, created at `at` milliseconds.
fn begun_by(owner: Principal, id: GenerationId, at: u64) -> Arc<Start> {
    Arc::new(Start {
        generation: id,
        owner,
        model: "m".to_owned(),
        created_at: Timestamp::from_millis(at),
        prompt: None,
        metadata: Metadata::new(),
        usage: UsageRequest::NotAsked,
    })
}

fn begun(id: GenerationId) -> Arc<Start> {
    begun_by(Principal::Anonymous, id, 0)
}

fn start(id: GenerationId) -> Event {
    Event::Start(begun(id))
}

/// Returns the account with this number. Most tests use only account 0.
fn account(number: u8) -> Account {
    Account::of_address([192, 0, 2, number].into())
}

/// Returns the new log, or the error.
fn made(created: Result<Created, CreateError>) -> Result<Arc<dyn Log>, CreateError> {
    created.map(|created| match created {
        Created::New(log) => log,
        Created::Known(_) => panic!("nothing was claimed"),
    })
}

fn token(text: &str) -> Event {
    Event::Chunk(Chunk::new(Arc::clone(&PLAIN), Escaped::from_text(text)))
}

/// A terminal event with `by` as its number of output tokens, to distinguish closers.
fn ended(by: u64) -> Event {
    let usage = Usage { output_tokens: Some(by), ..Usage::default() };
    let (reason, timings) = (CancelReason::ClientRequest, Timings::default());
    Event::Cancelled(Arc::new(Cancelled { reason, usage, timings }))
}

async fn create(logs: &impl EventLog) -> (GenerationId, Arc<dyn Log>) {
    create_for(logs, 0).await
}

async fn create_for(logs: &impl EventLog, number: u8) -> (GenerationId, Arc<dyn Log>) {
    let id = GenerationId::random();
    (id, made(logs.create(begun(id), &account(number), None).await).expect("there is room"))
}

async fn is_known(logs: &impl EventLog, id: GenerationId) -> bool {
    logs.open(id).await.is_some()
}

fn tail(log: &Arc<dyn Log>) -> Sequence {
    log.tail().get().sequence
}

async fn append(log: &Arc<dyn Log>, events: Vec<Event>) -> Result<Sequence, AppendError> {
    log.append(tail(log), events.into()).await
}

/// Reads page by page up to the tail.
async fn read(log: &Arc<dyn Log>, after: Sequence) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = after;
    loop {
        let page = log.read(at).await.expect("a position in the log");
        let Some(last) = page.last() else { return entries };
        at = last.sequence;
        entries.extend(page);
    }
}

async fn read_events(log: &Arc<dyn Log>) -> Vec<Event> {
    read(log, Sequence::START).await.into_iter().map(|entry| entry.event).collect()
}

/// Follows the log to its end.
async fn follow_all(log: Arc<dyn Log>, after: Sequence) -> Vec<Entry> {
    let pages = follow(log, after).map(|page| page.expect("it is not lost"));
    soon(pages.fold(Vec::new(), async |mut entries, page| {
        assert!(!page.is_empty(), "no page without an entry");
        entries.extend(page);
        entries
    }))
    .await
}

/// Asserts that the entries are `k + 1` to `n`, each once, with the terminal event last and nowhere else.
fn assert_complete(entries: &[Entry], k: u64, n: u64) {
    let sequences: Vec<_> = entries.iter().map(|entry| entry.sequence.get()).collect();
    assert_eq!(sequences, (k + 1..=n).collect::<Vec<_>>());
    let terminal: Vec<_> = entries.iter().filter(|entry| entry.event.is_terminal()).map(|e| e.sequence.get()).collect();
    assert_eq!(terminal, if k < n { vec![n] } else { vec![] });
}

// 1. Dense.

async fn entries_are_numbered_from_one_without_a_gap<B: Backend>() {
    let logs = B::start(ROOMY);
    let (id, log) = create(&logs).await;
    assert_eq!(log.tail().get(), Tail { sequence: Sequence::new(1), state: TailState::Open });
    for (batch, expected) in [(1, 2), (3, 5), (0, 5), (1, 6)] {
        assert_eq!(append(&log, vec![token("x"); batch]).await, Ok(Sequence::new(expected)));
        assert_eq!(log.tail().get(), Tail { sequence: Sequence::new(expected), state: TailState::Open });
    }
    assert_eq!(log.close(ended(0)).await, CloseOutcome::Won);
    assert_eq!(log.tail().get(), Tail { sequence: Sequence::new(7), state: TailState::Closed });
    let entries = read(&log, Sequence::START).await;
    assert_complete(&entries, 0, 7);
    assert_eq!(entries[0].event, start(id));
}

// 2. Compare and append.

async fn an_append_after_another_tail_changes_nothing<B: Backend>() {
    let logs = B::start(ROOMY);
    let (_, log) = create(&logs).await;
    append(&log, vec![token("a"), token("b")]).await.expect("room");
    let before = read_events(&log).await;
    for elsewhere in [0, 1, 2, 4, u64::MAX] {
        let moved = log.append(Sequence::new(elsewhere), smallvec![token("c")]).await;
        assert_eq!(moved, Err(AppendError::Moved), "after {elsewhere}");
    }
    assert_eq!(read_events(&log).await, before);
    assert_eq!(tail(&log), Sequence::new(3));
    assert_eq!(log.append(Sequence::new(3), smallvec![token("c")]).await, Ok(Sequence::new(4)));
}

async fn an_append_adds_all_its_events_or_none<B: Backend>() {
    let logs = B::start(MemoryLimits { generation: 4096, ..ROOMY });
    let (_, log) = create(&logs).await;
    let before = read_events(&log).await;
    let mut woken = log.tail();
    let too_much = vec![token("fits"), token(&"x".repeat(4096)), token("fits")];
    assert_eq!(append(&log, too_much).await, Err(AppendError::Full(Limit::Own)));
    assert_eq!(read_events(&log).await, before);
    assert_eq!(woken.changed().now_or_never(), None, "nothing has moved");
    assert_eq!(append(&log, vec![token("fits"); 2]).await, Ok(Sequence::new(3)), "what fits does");
}

async fn racing_writers_lose_no_append_and_split_none<B: Backend>() {
    const WRITERS: u64 = 4;
    const BATCHES: u64 = 100;
    let logs = B::start(ROOMY);
    let (_, log) = create(&logs).await;
    let tracker = TaskTracker::new();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let log = Arc::clone(&log);
            tracker.spawn(async move {
                for batch in 0..BATCHES {
                    let events: Vec<_> = (0..3).map(|at| token(&format!("{writer}.{batch}.{at}"))).collect();
                    while let Err(error) = append(&log, events.clone()).await {
                        assert_eq!(error, AppendError::Moved);
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        soon(writer).await.expect("no panic");
    }
    let events = read_events(&log).await;
    let batches: HashSet<_> = events[1..]
        .chunks(3)
        .map(|batch| {
            let Event::Chunk(first) = &batch[0] else { panic!("{batch:?}") };
            let first = first.text().as_str().strip_suffix(".0").expect("the first of its batch").to_owned();
            assert_eq!(
                batch,
                [token(&format!("{first}.0")), token(&format!("{first}.1")), token(&format!("{first}.2"))]
            );
            first
        })
        .collect();
    assert_eq!((events.len() as u64 - 1, batches.len() as u64), (WRITERS * BATCHES * 3, WRITERS * BATCHES));
}

// 3. Closed once.

async fn a_log_is_closed_once_and_nothing_follows<B: Backend>() {
    let logs = B::start(ROOMY);
    let (_, log) = create(&logs).await;
    append(&log, vec![token("a")]).await.expect("room");
    assert_eq!(log.close(ended(1)).await, CloseOutcome::Won);
    let before = read_events(&log).await;
    assert_eq!(before.last(), Some(&ended(1)));
    for later in [ended(2), ended(1)] {
        assert_eq!(log.close(later).await, CloseOutcome::Lost(ended(1)));
    }
    for tail in [tail(&log), Sequence::new(2), Sequence::START] {
        assert_eq!(log.append(tail, smallvec![token("b")]).await, Err(AppendError::Closed));
        assert_eq!(log.append(tail, smallvec![]).await, Err(AppendError::Closed));
    }
    assert_eq!(read_events(&log).await, before);
}

async fn one_of_many_closers_wins_and_the_others_get_its_event<B: Backend>() {
    const CLOSERS: usize = 8;
    const ROUNDS: usize = 5000;
    let logs = B::start(ROOMY);
    for _ in 0..ROUNDS {
        let (_, log) = create(&logs).await;
        let tracker = TaskTracker::new();
        let together = Arc::new(Barrier::new(CLOSERS + 1));
        let writer = tracker.spawn({
            let (log, together) = (Arc::clone(&log), Arc::clone(&together));
            async move {
                together.wait().await;
                let mut tail = Sequence::new(1);
                loop {
                    match log.append(tail, smallvec![token("x")]).await {
                        Ok(moved) => tail = moved,
                        Err(error) => {
                            assert_eq!(error, AppendError::Closed, "the one writer names the right tail");
                            return tail;
                        }
                    }
                }
            }
        });
        let closers: Vec<_> = (0..)
            .take(CLOSERS)
            .map(|by| {
                let (log, together) = (Arc::clone(&log), Arc::clone(&together));
                tracker.spawn(async move {
                    together.wait().await;
                    (by, log.close(ended(by)).await)
                })
            })
            .collect();

        let written = soon(writer).await.expect("no panic");
        let (mut won, mut told) = (Vec::new(), Vec::new());
        for closer in closers {
            match soon(closer).await.expect("no panic") {
                (by, CloseOutcome::Won) => won.push(ended(by)),
                (_, CloseOutcome::Lost(winner)) => told.push(winner),
            }
        }
        assert_eq!(won.len(), 1, "one wins");
        assert_eq!(told, vec![won[0].clone(); CLOSERS - 1], "all others are told who");
        let entries = read(&log, Sequence::START).await;
        assert_complete(&entries, 0, written.get() + 1);
        assert_eq!(entries.last().map(|entry| &entry.event), won.first());
        let last = Tail { sequence: written.plus(1), state: TailState::Closed };
        assert_eq!(log.tail().get(), last, "no tail overtakes the last");
    }
}

// 4. Tail before wake.

async fn followers_that_start_at_any_moment_see_each_entry_once<B: Backend>() {
    const ROUNDS: u64 = 20;
    const APPENDS: u64 = 100;
    let logs = B::start(ROOMY);
    let tracker = TaskTracker::new();
    for round in 0..ROUNDS {
        let mut random = Random(round + 1);
        let (_, log) = create(&logs).await;
        let follower = |after| (after, tracker.spawn(follow_all(Arc::clone(&log), Sequence::new(after))));
        // Some followers start between appends, at the start or at an earlier position.
        let mut followers = vec![follower(0)];
        // Others start at the tail, whenever their thread runs.
        let crowd = tracker.spawn({
            let (log, tracker) = (Arc::clone(&log), tracker.clone());
            async move {
                let mut crowd = Vec::new();
                loop {
                    let Tail { sequence, state } = log.tail().get();
                    crowd.push((sequence.get(), tracker.spawn(follow_all(Arc::clone(&log), sequence))));
                    if state == TailState::Closed {
                        return crowd;
                    }
                    tokio::task::yield_now().await;
                }
            }
        });
        for _ in 0..APPENDS {
            let tail = append(&log, vec![token("x"); 1 + random.below(3)]).await.expect("room").get();
            followers.push(follower(random.up_to(tail)));
            if random.below(2) == 0 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(log.close(ended(round)).await, CloseOutcome::Won);
        let end = tail(&log).get();
        followers.push(follower(0));
        followers.push(follower(end));

        followers.extend(soon(crowd).await.expect("no panic"));
        for (after, follower) in followers {
            assert_complete(&soon(follower).await.expect("no panic"), after, end);
        }
    }
}

/// A log whose tail moves after a read has found nothing new and before the reader waits.
struct MovesAfterRead {
    log: Arc<dyn Log>,
    moves: Mutex<Vec<Event>>,
}

impl Log for MovesAfterRead {
    fn start(&self) -> &Arc<Start> {
        self.log.start()
    }

    fn append(&self, tail: Sequence, events: Events) -> Reply<'_, Result<Sequence, AppendError>> {
        self.log.append(tail, events)
    }

    fn close(&self, terminal: Event) -> Reply<'_, CloseOutcome> {
        self.log.close(terminal)
    }
}

impl Readable for MovesAfterRead {
    type Event = Event;

    fn read(&self, after: Sequence) -> Reply<'_, Result<Page, ReadError>> {
        let read = async move {
            let page = self.log.read(after).await?;
            if page.is_empty() {
                let event = self.moves.lock().expect("no panic").pop().expect("it ends with its last move");
                match event.is_terminal() {
                    true => assert_eq!(self.close(event).await, CloseOutcome::Won),
                    false => assert_eq!(self.append(after, smallvec![event]).await, Ok(after.plus(1))),
                }
            }
            Ok(page)
        };
        Either::Right(Box::pin(read))
    }

    fn tail(&self) -> TailReader {
        self.log.tail()
    }
}

async fn a_move_between_a_read_and_the_wait_after_it_is_not_missed<B: Backend>() {
    let logs = B::start(ROOMY);
    for k in 0..=1 {
        let (_, log) = create(&logs).await;
        let moves = Mutex::new(vec![ended(0), token("b"), token("a")]);
        let log = Arc::new(MovesAfterRead { log, moves });
        assert_complete(&follow_all(log, Sequence::new(k)).await, k, 4);
    }
}

async fn a_woken_reader_can_read_the_new_tail<B: Backend>() {
    let logs = B::start(ROOMY);
    let (_, log) = create(&logs).await;
    let tracker = TaskTracker::new();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let log = Arc::clone(&log);
            // Taken before the first append: a later reader might start at the final tail and wait forever.
            let mut tails = log.tail();
            tracker.spawn(async move {
                loop {
                    let Tail { sequence, state } = tails.changed().await;
                    let page = log.read(Sequence::new(sequence.get() - 1)).await.expect("it is there");
                    assert_eq!(page.first().map(|entry| entry.sequence), Some(sequence));
                    assert_eq!(page[0].event.is_terminal(), state == TailState::Closed);
                    if state == TailState::Closed {
                        return;
                    }
                }
            })
        })
        .collect();
    for _ in 0..2000 {
        append(&log, vec![token("x")]).await.expect("room");
        tokio::task::yield_now().await;
    }
    log.close(ended(0)).await;
    for reader in readers {
        soon(reader).await.expect("no panic");
    }
}

// 5. Whole or gone.

async fn a_read_gives_the_suffix_after_every_position<B: Backend>() {
    let logs = B::start(ROOMY);
    let (_, log) = create(&logs).await;
    // The texts fill several pages.
    let texts: Vec<_> = (0..60).map(|at| token(&format!("{at} {}", "x".repeat(at * 40)))).collect();
    append(&log, texts).await.expect("room");
    log.close(ended(0)).await;
    let all = read(&log, Sequence::START).await;
    assert_complete(&all, 0, 62);
    assert!(log.read(Sequence::START).await.expect("a page").len() < all.len(), "more than a page");
    for (k, after) in (0..=62).map(Sequence::new).enumerate() {
        assert_eq!(read(&log, after).await, all[k..], "read after {k}");
        assert_eq!(follow_all(Arc::clone(&log), after).await, all[k..], "followed after {k}");
    }
}

async fn a_page_is_about_16_kib_and_never_empty<B: Backend>() {
    const KIB: usize = 1024;
    let logs = B::start(ROOMY);
    let (_, log) = create(&logs).await;
    append(&log, vec![token(&"x".repeat(KIB)); 40]).await.expect("room");
    append(&log, vec![token(&"y".repeat(1024 * KIB)), token("z")]).await.expect("room");
    let mut after = Sequence::START;
    loop {
        let page = log.read(after).await.expect("a page");
        let Some(last) = page.last() else { break };
        after = last.sequence;
        let text = |entry: &Entry| if let Event::Chunk(chunk) = &entry.event { chunk.text().as_str().len() } else { 0 };
        let before_last: usize = page[..page.len() - 1].iter().map(text).sum();
        assert!(before_last <= 16 * KIB, "it ends at the first entry that makes it larger");
    }
    assert_eq!(after, tail(&log));
}

async fn a_position_beyond_the_tail_is_an_error_at_once<B: Backend>() {
    let logs = B::start(ROOMY);
    let (_, log) = create(&logs).await;
    append(&log, vec![token("a")]).await.expect("room");
    for beyond in [3, 4, u64::MAX] {
        let beyond = Sequence::new(beyond);
        assert_eq!(soon(log.read(beyond)).await, Err(ReadError::BeyondTail));
        let mut following = Box::pin(follow(Arc::clone(&log), beyond));
        assert_eq!(soon(following.next()).await, Some(Err(ReadError::BeyondTail)));
        assert_eq!(soon(following.next()).await, None);
    }
    assert_eq!(log.read(Sequence::new(2)).await, Ok(smallvec![]), "the tail itself is a position");
}

async fn chunks_read_back_as_they_were_appended<B: Backend>() {
    let logs = B::start(ROOMY);
    let (_, log) = create(&logs).await;
    let mut random = Random(7);
    let shapes = shapes();
    let events: Vec<_> = (0..500).map(|_| random.chunk(&shapes)).collect();
    for batch in events.chunks(7) {
        append(&log, batch.to_vec()).await.expect("room");
    }
    let chunks_json = "{\"choices\":[]}\n".into();
    let trailer = Trailer { dialect: Some(ProviderDialect::OpenAiChat), chunks_json, ..Trailer::default() };
    let done = Done {
        finish: [Finish::stated(0, "stop")].into(),
        trailer,
        usage: Usage::default(),
        timings: Timings::default(),
    };
    log.close(Event::Done(Arc::new(done.clone()))).await;

    let read = read_events(&log).await;
    assert_eq!(read.last(), Some(&Event::Done(Arc::new(done))));
    for (read, appended) in read[1..].iter().zip(&events) {
        let (Event::Chunk(read), Event::Chunk(appended)) = (read, appended) else { panic!("{read:?}") };
        assert_eq!(read, appended);
        assert!(read.json(ProviderDialect::OpenAiChat) == appended.json(ProviderDialect::OpenAiChat));
        assert_eq!(read.text().unescape(), appended.text().unescape());
    }
}

// 6. Bounded.

async fn a_log_is_bounded_and_still_ends<B: Backend>() {
    const LIMIT: usize = 8192;
    let logs = B::start(MemoryLimits { generation: LIMIT, ..ROOMY });
    let (_, log) = create(&logs).await;
    let mut said = 0;
    let full = loop {
        match append(&log, vec![token(&"x".repeat(100))]).await {
            Ok(_) => said += 100,
            Err(full) => break full,
        }
        assert!(said <= LIMIT, "it holds more than it may");
    };
    assert_eq!(full, AppendError::Full(Limit::Own));
    assert!(said >= LIMIT / 2, "{said} of {LIMIT} bytes are little use");
    let before = read_events(&log).await;
    assert_eq!(log.close(ended(0)).await, CloseOutcome::Won, "a terminal event always fits");
    assert_eq!(read_events(&log).await, [before, vec![ended(0)]].concat());
}

const TIGHT: MemoryLimits = MemoryLimits { total: 32 << 10, generation: 32 << 10, running: 0, retention: RETENTION };

async fn all_logs_are_bounded_and_the_log_that_ended_first_is_evicted_first<B: Backend>() {
    let logs = B::start(TIGHT);
    let (open, _open) = create(&logs).await;
    let mut closed = Vec::new();
    for _ in 0..4 {
        let (id, log) = create(&logs).await;
        append(&log, vec![token(&"x".repeat(1024))]).await.expect("room");
        closed.push((id, log));
    }
    // The logs close in another order than they were created.
    closed.swap(0, 2);
    closed.swap(1, 3);
    for (_, log) in &closed {
        log.close(ended(0)).await;
    }
    let (growing, log) = create(&logs).await;
    let full = loop {
        if let Err(full) = append(&log, vec![token(&"x".repeat(512))]).await {
            break full;
        }
        logs.check(TIGHT);
        let mut known = Vec::new();
        for (id, _) in &closed {
            known.push(is_known(&logs, *id).await);
        }
        assert!(known.is_sorted(), "the first to end goes first: {known:?}");
    };
    assert_eq!(full, AppendError::Full(Limit::Total));
    for (id, _) in &closed {
        assert!(!is_known(&logs, *id).await, "nothing is full while a closed log could go");
    }
    assert!(is_known(&logs, open).await && is_known(&logs, growing).await, "an open log never goes");

    let new = GenerationId::random();
    let refused = loop {
        let id = GenerationId::random();
        if let Err(refused) = logs.create(begun(id), &account(0), None).await {
            break refused;
        }
    };
    assert_eq!(refused, CreateError::Full);
    assert_eq!(log.close(ended(0)).await, CloseOutcome::Won, "a terminal event always fits");
    logs.check(TIGHT);
    assert!(logs.create(begun(new), &account(0), None).await.is_ok(), "a closed log makes room for a new one");
    assert!(!is_known(&logs, growing).await && is_known(&logs, open).await);
    assert_eq!(read(&log, Sequence::START).await.len() as u64, tail(&log).get(), "whoever holds it reads on");
}

async fn no_more_logs_are_evicted_than_needed<B: Backend>() {
    let logs = B::start(TIGHT);
    let mut closed = Vec::new();
    while closed.len() < 100 {
        let (id, log) = create(&logs).await;
        append(&log, vec![token(&"x".repeat(2048))]).await.expect("room");
        log.close(ended(0)).await;
        closed.push(id);
        logs.check(TIGHT);
        let mut known = 0;
        for id in closed.iter().rev() {
            known += usize::from(is_known(&logs, *id).await);
        }
        // Each log has 2 KiB of text and less than 2 KiB beside it, so at least eight fit.
        assert!(known >= closed.len().min(8), "{known} of {} are kept", closed.len());
        assert!(is_known(&logs, id).await, "the last to end is the last to go");
    }
}

// 7. Kept, then gone.

async fn pass_minutes(minutes: u64) {
    tokio::time::sleep(Duration::from_mins(minutes)).await;
}

async fn a_closed_log_is_kept_for_the_retention<B: Backend>() {
    let logs = B::start(ROOMY);
    let (open, _open) = create(&logs).await;
    let (first, first_log) = create(&logs).await;
    let (second, second_log) = create(&logs).await;

    pass_minutes(20).await;
    first_log.close(ended(1)).await;
    pass_minutes(5).await;
    second_log.close(ended(2)).await;
    pass_minutes(4).await;
    assert!(is_known(&logs, first).await, "it counts from its end");
    pass_minutes(2).await;
    assert!(!is_known(&logs, first).await && is_known(&logs, second).await, "each has its own time");
    pass_minutes(3).await;
    assert!(is_known(&logs, second).await);
    pass_minutes(2).await;
    assert!(!is_known(&logs, second).await && is_known(&logs, open).await, "an open log stays");
    assert_complete(&read(&first_log, Sequence::START).await, 0, 2);

    let (third, third_log) = create(&logs).await;
    third_log.close(ended(3)).await;
    pass_minutes(11).await;
    assert!(!is_known(&logs, third).await, "also after a time with nothing to forget");
}

async fn a_removed_log_is_unknown_and_its_holders_can_still_read_it<B: Backend>() {
    let logs = B::start(ROOMY);
    let (id, log) = create(&logs).await;
    append(&log, vec![token("a")]).await.expect("room");
    let follower = follow_all(Arc::clone(&log), Sequence::START);
    logs.remove(id).await;
    assert!(!is_known(&logs, id).await);
    append(&log, vec![token("b")]).await.expect("its writer writes on");
    assert_eq!(log.close(ended(0)).await, CloseOutcome::Won);
    assert_complete(&follower.await, 0, 4);
    assert_eq!(read_events(&log).await, [start(id), token("a"), token("b"), ended(0)]);
    assert!(!is_known(&logs, id).await, "it does not come back");
    logs.remove(id).await;
    logs.remove(GenerationId::random()).await;
}

async fn a_removed_log_frees_its_bytes<B: Backend>() {
    let logs = B::start(TIGHT);
    let (kept, kept_log) = create(&logs).await;
    append(&kept_log, vec![token(&"x".repeat(2048))]).await.expect("room");
    kept_log.close(ended(0)).await;
    for _ in 0..100 {
        let (id, log) = create(&logs).await;
        append(&log, vec![token(&"x".repeat(16 << 10))]).await.expect("room");
        log.close(ended(0)).await;
        logs.remove(id).await;
        assert!(is_known(&logs, kept).await, "nothing else had to go");
    }
    let (removed, log) = create(&logs).await;
    logs.remove(removed).await;
    append(&log, vec![token(&"x".repeat(31 << 10))]).await.expect("room");
    log.close(ended(0)).await;
    assert!(is_known(&logs, kept).await, "what nobody can open takes no room from what somebody can");
}

// Followers.

async fn a_dropped_follower_leaves_nothing_behind<B: Backend>() {
    let logs = B::start(ROOMY);
    let (id, log) = create(&logs).await;
    append(&log, vec![token(&"x".repeat(10_000)); 5]).await.expect("room");
    let holders = Arc::strong_count(&log);
    let pages = |after| Box::pin(follow(Arc::clone(&log), after));

    drop(pages(Sequence::START));
    assert_eq!(Arc::strong_count(&log), holders, "before its first step");
    for steps in 1..=3 {
        let mut following = pages(Sequence::START);
        for _ in 0..steps {
            soon(following.next()).await.expect("a page").expect("of the log");
        }
        drop(following);
        assert_eq!(Arc::strong_count(&log), holders, "after {steps} pages");
    }
    let mut waiting = pages(tail(&log));
    for _ in 0..3 {
        assert_eq!(waiting.next().now_or_never(), None);
    }
    append(&log, vec![token("x")]).await.expect("room");
    drop(waiting);
    assert_eq!(Arc::strong_count(&log), holders, "while it waits, with a wake on its way");
    log.close(ended(0)).await;
    let mut at_end = pages(tail(&log));
    assert_eq!(soon(at_end.next()).await, None);
    drop(at_end);
    assert_eq!(Arc::strong_count(&log), holders, "at the end");

    let gone = Arc::downgrade(&log);
    logs.remove(id).await;
    drop(log);
    assert!(gone.upgrade().is_none(), "the last holder takes it along");
}
