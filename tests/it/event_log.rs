//! Tests each number of the event log's contract (`src/event_log/mod.rs`) against each backend.

use std::future::poll_fn;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use smallvec::smallvec;
use tokenrill::domain::{
    Account, CancelReason, Cancelled, Chunk, Claim, Done, Entry, Escaped, Event, Finish, Frame, GenerationId, Metadata,
    Part, Principal, ProviderDialect, Sequence, Shape, Start, Timestamp, Timings, Trailer, Usage, UsageRequest,
};
use tokenrill::event_log::{
    AppendError, CloseOutcome, CreateError, Created, EventLog, Events, GenerationEnded, GenerationLog, Limit, LogTerms,
    MemoryLimits, Page, ReadError, Readable, Tail, TailState, ViewerLease, Wake, Writer, follow,
};
use tokio::sync::Barrier;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::support::soon;

/// A backend under test. Its module implements this trait and invokes `contract!(Backend)`.
pub trait Backend: EventLog + Clone {
    fn start(limits: MemoryLimits) -> Self;

    /// Returns another process's view of the same logs.
    fn replica(&self) -> Self;

    /// Lets the lease of the log's writer expire. Returns the writer if it still exists.
    fn expire_lease(&self, log: Arc<OwnedLog>) -> Option<Arc<OwnedLog>>;

    /// Asserts the invariants that can be observed between any two calls.
    fn check(&self, limits: MemoryLimits);
}

/// The rules that every backend keeps.
macro_rules! shared_contract {
    ($backend:ty) => {
        contract! { $backend, #[tokio::test]
            entries_are_numbered_from_one_without_a_gap
            events_pushed_during_an_append_follow_it_in_order
            a_close_appends_what_is_pending_and_the_end_together
            a_close_whose_pending_events_do_not_fit_leaves_the_log_open
            a_dropped_close_can_be_repeated
            a_writer_whose_lease_has_expired_is_fenced
            a_request_to_end_reaches_the_writer_from_any_replica
            a_request_to_end_a_closed_log_has_no_effect
            a_position_of_another_replica_is_never_beyond_the_tail
            an_append_adds_all_its_events_or_none
            a_log_is_closed_once_and_nothing_follows
            a_move_between_a_read_and_the_wait_after_it_is_not_missed
            a_read_gives_the_suffix_after_every_position
            a_page_is_about_16_kib_and_never_empty
            a_position_beyond_the_tail_is_an_error_at_once
            chunks_read_back_as_they_were_appended
            a_log_is_bounded_and_still_ends
            a_removed_log_is_unknown_and_its_holders_can_still_read_it
            a_claim_names_one_log_as_long_as_it_is_kept
            a_claim_that_is_released_is_free_and_its_log_stays
            a_claim_belongs_to_its_owner
            a_chat_has_the_last_generation_and_a_repeated_turn_the_first
            a_chat_that_is_closed_repeats_no_turn
            a_log_is_shut_at_once_only_without_a_viewer
            each_owner_lists_its_own_newest_first_each_once
            a_summary_has_the_start_and_the_end_of_a_kept_log
            a_dropped_follower_leaves_nothing_behind
        }
        contract! { $backend, #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            one_of_many_closers_wins_and_the_others_get_its_event
            followers_that_start_at_any_moment_see_each_entry_once
            a_woken_reader_can_read_the_new_tail
            racing_claims_make_one_log
        }
    };
}

/// The whole contract, for a backend on tokio's clock that evicts closed logs (contract 6).
macro_rules! contract {
    ($backend:ty) => {
        shared_contract!($backend);
        contract! { $backend, #[tokio::test]
            all_logs_are_bounded_and_the_log_that_ended_first_is_evicted_first
            no_more_logs_are_evicted_than_needed
            a_removed_log_frees_its_bytes
            a_claim_that_conflicts_or_finds_no_room_changes_nothing
            large_answers_evict_their_own_accounts_and_none_of_another
            an_account_within_its_share_evicts_from_the_one_that_holds_most
            open_logs_above_their_share_evict_nothing_of_an_account_within_its_own
            open_logs_above_their_share_evict_of_an_account_above_its_own
            a_terminal_event_evicts_nothing_of_an_account_within_its_share
            a_release_frees_a_lost_claim_and_a_removal_leaves_none
            lost_claims_of_many_accounts_leave_room_for_answers_and_for_keys_of_others
            with_little_room_open_logs_stay_and_closed_ones_are_evicted_in_order
            random_operations_match_a_list
        }
        contract! { $backend, #[tokio::test(start_paused = true)]
            a_closed_log_is_kept_for_the_retention
            a_log_is_shut_once_no_replica_has_had_a_viewer_for_the_grace
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
mod chats;
mod claims;
mod memory;
mod random;
mod redis;
mod redis_channels;
pub mod slow;

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
use chats::{
    a_chat_has_the_last_generation_and_a_repeated_turn_the_first, a_chat_that_is_closed_repeats_no_turn,
    a_log_is_shut_at_once_only_without_a_viewer,
};
use claims::{
    a_claim_belongs_to_its_owner, a_claim_names_one_log_as_long_as_it_is_kept,
    a_claim_that_conflicts_or_finds_no_room_changes_nothing, a_claim_that_is_released_is_free_and_its_log_stays,
    a_summary_has_the_start_and_the_end_of_a_kept_log, each_owner_lists_its_own_newest_first_each_once,
    racing_claims_make_one_log,
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
        notes: None,
        chat: None,
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

/// A log with its writer and its first viewer.
pub struct OwnedLog {
    log: Arc<dyn GenerationLog>,
    writer: tokio::sync::Mutex<Box<dyn Writer>>,
    viewer: Mutex<Option<ViewerLease>>,
}

impl std::ops::Deref for OwnedLog {
    type Target = dyn GenerationLog;

    fn deref(&self) -> &Self::Target {
        &*self.log
    }
}

impl OwnedLog {
    fn new(created: Created) -> Arc<Self> {
        let Created::New { writer, viewer } = created else { panic!("nothing was claimed") };
        let (log, viewer) = (Arc::clone(writer.log()), Mutex::new(Some(viewer)));
        Arc::new(Self { log, writer: tokio::sync::Mutex::new(writer), viewer })
    }

    async fn append(&self, events: Events) -> Result<Sequence, AppendError> {
        let mut writer = self.writer.lock().await;
        writer.push(events);
        poll_fn(|context| writer.poll_append(context)).await?;
        assert!(writer.pending().is_empty(), "all events are appended");
        Ok(writer.tail())
    }

    async fn close(&self, terminal: Event) -> CloseOutcome {
        self.writer.lock().await.close(terminal).await.expect("a close without pending events always fits")
    }
}

/// Returns the new log, or the error.
fn made(created: Result<Created, CreateError>) -> Result<Arc<OwnedLog>, CreateError> {
    created.map(OwnedLog::new)
}

/// The terminal event of a log whose writer is lost.
fn orphaned() -> Event {
    ended(u64::MAX)
}

fn terms(account: &Account, claim: Option<Claim>) -> LogTerms {
    LogTerms { account: account.clone(), claim, if_orphaned: orphaned(), recovery: None }
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

async fn create(logs: &impl EventLog) -> (GenerationId, Arc<OwnedLog>) {
    create_for(logs, 0).await
}

async fn create_for(logs: &impl EventLog, number: u8) -> (GenerationId, Arc<OwnedLog>) {
    let id = GenerationId::random();
    (id, made(logs.create(begun(id), terms(&account(number), None)).await).expect("there is room"))
}

async fn is_known(logs: &impl EventLog, id: GenerationId) -> bool {
    logs.open(id, Sequence::START).await.expect("the log answers").is_some()
}

async fn tail(log: &Arc<OwnedLog>) -> Sequence {
    log.tail().await.expect("a tail").sequence
}

async fn append(log: &Arc<OwnedLog>, events: Vec<Event>) -> Result<Sequence, AppendError> {
    log.append(events.into()).await
}

/// Reads page by page up to the tail.
async fn read(log: &Arc<OwnedLog>, after: Sequence) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = after;
    loop {
        let page = log.read(at).await.expect("a position in the log").entries;
        let Some(last) = page.last() else { return entries };
        at = last.sequence;
        entries.extend(page);
    }
}

async fn read_events(log: &Arc<OwnedLog>) -> Vec<Event> {
    read(log, Sequence::START).await.into_iter().map(|entry| entry.event).collect()
}

/// Follows the log to its end.
async fn follow_all(log: Arc<OwnedLog>, after: Sequence) -> Vec<Entry> {
    let pages = follow(Arc::clone(&log.log), after).map(|page| page.expect("it is not lost"));
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
    assert_eq!(log.tail().await.expect("a tail"), Tail { sequence: Sequence::new(1), state: TailState::Open });
    for (batch, expected) in [(1, 2), (3, 5), (0, 5), (1, 6)] {
        assert_eq!(append(&log, vec![token("x"); batch]).await, Ok(Sequence::new(expected)));
        assert_eq!(
            log.tail().await.expect("a tail"),
            Tail { sequence: Sequence::new(expected), state: TailState::Open }
        );
    }
    assert_eq!(log.close(ended(0)).await, CloseOutcome::Won);
    assert_eq!(log.tail().await.expect("a tail"), Tail { sequence: Sequence::new(7), state: TailState::Closed });
    let entries = read(&log, Sequence::START).await;
    assert_complete(&entries, 0, 7);
    assert_eq!(entries[0].event, start(id));
}

// 2. Compare and append.

async fn an_append_adds_all_its_events_or_none<B: Backend>() {
    let logs = B::start(MemoryLimits { generation: 4096, ..ROOMY });
    let (_, log) = create(&logs).await;
    let before = read_events(&log).await;
    let mut wake = log.wake();
    let seen = tail(&log).await;
    let too_much = vec![token("fits"), token(&"x".repeat(4096)), token("fits")];
    assert_eq!(append(&log, too_much).await, Err(AppendError::Full(Limit::Own)));
    assert_eq!(read_events(&log).await, before);
    assert_eq!(tail(&log).await, seen, "the tail has not moved");
    _ = poll_fn(|context| std::task::Poll::Ready(wake.poll_moved(seen, context))).await;
    assert_eq!(append(&log, vec![token("fits"); 2]).await, Ok(Sequence::new(3)), "events that fit are appended");
}

/// Polls the writer's append `polls` times, or until there is nothing left to append.
async fn poll_append(writer: &mut dyn Writer, polls: usize) {
    for _ in 0..polls {
        if let Some(appended) = poll_fn(|context| writer.poll_append(context)).now_or_never() {
            return appended.expect("room");
        }
        tokio::task::yield_now().await;
    }
}

async fn events_pushed_during_an_append_follow_it_in_order<B: Backend>() {
    let logs = B::start(ROOMY);
    for seed in 1..=20 {
        let mut random = Random(seed);
        let (id, log) = create(&logs).await;
        let mut writer = log.writer.lock().await;
        let mut pushed = vec![start(id)];
        for batch in 0..50 {
            let events: Vec<_> = (0..=random.below(3)).map(|at| token(&format!("{batch}.{at}"))).collect();
            pushed.extend(events.clone());
            writer.push(events.into());
            poll_append(&mut **writer, random.below(4)).await;
        }
        poll_fn(|context| writer.poll_append(context)).await.expect("room");
        assert_eq!((writer.tail().get(), writer.pending()), (pushed.len() as u64, &[][..]));
        drop(writer);
        assert_eq!(read_events(&log).await, pushed);
    }
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
    for events in [smallvec![token("b")], smallvec![token("c"), token("d")]] {
        assert_eq!(log.append(events).await, Err(AppendError::Closed));
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
                    match log.append(smallvec![token("x")]).await {
                        Ok(moved) => tail = moved,
                        Err(error) => {
                            assert_eq!(error, AppendError::Closed, "no other error ends its appends");
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
        assert_eq!(won.len(), 1, "exactly one close wins");
        assert_eq!(told, vec![won[0].clone(); CLOSERS - 1], "all other closes return the winner's event");
        let entries = read(&log, Sequence::START).await;
        assert_complete(&entries, 0, written.get() + 1);
        assert_eq!(entries.last().map(|entry| &entry.event), won.first());
        let last = Tail { sequence: written.plus(1), state: TailState::Closed };
        assert_eq!(log.tail().await.expect("a tail"), last, "no tail is after the terminal event");
    }
}

// 4. Tail before wake.

async fn followers_that_start_at_any_moment_see_each_entry_once<B: Backend>() {
    const ROUNDS: u64 = 20;
    const APPENDS: u64 = 100;
    const MOST_FOLLOWERS: usize = 500;
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
                    let Tail { sequence, state } = log.tail().await.expect("a tail");
                    // Between two slow appends this loop runs many times.
                    if crowd.len() < MOST_FOLLOWERS || state == TailState::Closed {
                        crowd.push((sequence.get(), tracker.spawn(follow_all(Arc::clone(&log), sequence))));
                    }
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
        let end = tail(&log).await.get();
        followers.push(follower(0));
        followers.push(follower(end));

        followers.extend(soon(crowd).await.expect("no panic"));
        for (after, follower) in followers {
            assert_complete(&soon(follower).await.expect("no panic"), after, end);
        }
    }
}

/// A log whose tail moves after a read has reached it and before the reader waits.
struct MovesAfterRead {
    log: Arc<OwnedLog>,
    moves: Arc<Mutex<Vec<Event>>>,
}

impl GenerationLog for MovesAfterRead {
    fn start(&self) -> &Arc<Start> {
        self.log.start()
    }
}

impl Readable for MovesAfterRead {
    type Event = Event;

    fn try_read(&self, _after: Sequence) -> Option<Result<Page, ReadError>> {
        None
    }

    fn read(&self, after: Sequence) -> BoxFuture<'static, Result<Page, ReadError>> {
        let (log, moves) = (Arc::clone(&self.log), Arc::clone(&self.moves));
        let read = async move {
            let page = log.read(after).await?;
            let is_at_tail = page.entries.last().is_none_or(|last| last.sequence == page.tail.sequence);
            if is_at_tail && page.tail.state == TailState::Open {
                let event = moves.lock().expect("no panic").pop().expect("it ends with its last move");
                match event.is_terminal() {
                    true => assert_eq!(log.close(event).await, CloseOutcome::Won),
                    false => assert_eq!(log.append(smallvec![event]).await, Ok(page.tail.sequence.plus(1))),
                }
            }
            Ok(page)
        };
        read.boxed()
    }

    fn tail(&self) -> BoxFuture<'static, Result<Tail, ReadError>> {
        self.log.tail()
    }

    fn wake(&self) -> Box<dyn Wake> {
        self.log.wake()
    }
}

async fn a_move_between_a_read_and_the_wait_after_it_is_not_missed<B: Backend>() {
    let logs = B::start(ROOMY);
    for k in 0..=1 {
        let (_, log) = create(&logs).await;
        let moves = Arc::new(Mutex::new(vec![ended(0), token("b"), token("a")]));
        let pages = follow(Arc::new(MovesAfterRead { log, moves }), Sequence::new(k));
        let entries: Vec<_> = soon(pages.map(|page| page.expect("it is not lost")).concat()).await.into_vec();
        assert_complete(&entries, k, 4);
    }
}

async fn a_woken_reader_can_read_the_new_tail<B: Backend>() {
    let logs = B::start(ROOMY);
    let (_, log) = create(&logs).await;
    let tracker = TaskTracker::new();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let log = Arc::clone(&log);
            let (mut wake, mut seen) = (log.wake(), Sequence::new(1));
            tracker.spawn(async move {
                loop {
                    poll_fn(|context| wake.poll_moved(seen, context)).await;
                    let Tail { sequence, state } = log.tail().await.expect("a tail");
                    seen = sequence;
                    let page = log.read(Sequence::new(sequence.get() - 1)).await.expect("it is there").entries;
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
    assert!(log.read(Sequence::START).await.expect("a page").entries.len() < all.len(), "more than a page");
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
        let page = log.read(after).await.expect("a page").entries;
        let Some(last) = page.last() else { break };
        after = last.sequence;
        let text = |entry: &Entry| if let Event::Chunk(chunk) = &entry.event { chunk.text().as_str().len() } else { 0 };
        let before_last: usize = page[..page.len() - 1].iter().map(text).sum();
        assert!(before_last <= 16 * KIB, "it ends at the first entry that makes it larger");
    }
    assert_eq!(after, tail(&log).await);
}

async fn a_position_beyond_the_tail_is_an_error_at_once<B: Backend>() {
    let logs = B::start(ROOMY);
    let (_, log) = create(&logs).await;
    append(&log, vec![token("a")]).await.expect("room");
    for beyond in [3, 4, u64::MAX] {
        let beyond = Sequence::new(beyond);
        assert_eq!(soon(log.read(beyond)).await, Err(ReadError::BeyondTail));
        let mut following = Box::pin(follow(Arc::clone(&log.log), beyond));
        assert_eq!(soon(following.next()).await, Some(Err(ReadError::BeyondTail)));
        assert_eq!(soon(following.next()).await, None);
    }
    assert!(
        log.read(Sequence::new(2)).await.is_ok_and(|page| page.entries.is_empty()),
        "the tail itself is a position"
    );
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

// 3. A close carries what is pending.

async fn a_close_appends_what_is_pending_and_the_end_together<B: Backend>() {
    let logs = B::start(ROOMY);
    for polls in 0..3 {
        let (id, log) = create(&logs).await;
        let follower = follow_all(Arc::clone(&log), Sequence::START);
        let mut writer = log.writer.lock().await;
        writer.push(smallvec![token("a"), token("b")]);
        poll_append(&mut **writer, polls).await;
        writer.push(smallvec![token("c")]);
        assert_eq!(writer.close(ended(1)).await, Ok(CloseOutcome::Won));
        drop(writer);
        let expected = [start(id), token("a"), token("b"), token("c"), ended(1)];
        assert_eq!(read_events(&log).await, expected, "after {polls} polls");
        assert_complete(&follower.await, 0, 5);
    }
}

async fn a_close_whose_pending_events_do_not_fit_leaves_the_log_open<B: Backend>() {
    let logs = B::start(MemoryLimits { generation: 4096, ..ROOMY });
    let (id, log) = create(&logs).await;
    let mut writer = log.writer.lock().await;
    writer.push(smallvec![token(&"x".repeat(4096))]);
    assert_eq!(writer.close(ended(1)).await, Err(Limit::Own));
    assert_eq!(writer.pending(), [], "the pending events are discarded");
    assert_eq!(writer.close(ended(2)).await, Ok(CloseOutcome::Won));
    drop(writer);
    assert_eq!(read_events(&log).await, [start(id), ended(2)]);
}

async fn a_dropped_close_can_be_repeated<B: Backend>() {
    let logs = B::start(ROOMY);
    for polls in 0..6 {
        let (_, log) = create(&logs).await;
        let mut writer = log.writer.lock().await;
        writer.push(smallvec![token("a")]);
        {
            let mut close = writer.close(ended(1));
            for _ in 0..polls {
                if (&mut close).now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let closed = writer.close(ended(2)).await.expect("room");
        drop(writer);
        let entries = read(&log, Sequence::START).await;
        let last = entries.last().map(|entry| entry.event.clone()).expect("an end");
        assert_complete(&entries, 0, entries.len() as u64);
        match closed {
            CloseOutcome::Won => assert!(last == ended(1) || last == ended(2)),
            CloseOutcome::Lost(winner) => assert_eq!(winner, last),
        }
    }
}

// 10. Owned.

async fn a_writer_whose_lease_has_expired_is_fenced<B: Backend>() {
    let logs = B::start(ROOMY);
    let (id, log) = create(&logs).await;
    append(&log, vec![token("a")]).await.expect("room");
    let reader = Arc::clone(&log.log);
    let fenced = logs.expire_lease(log);
    let other = logs.replica();
    for _ in 0..2 {
        let opened = other.open(id, Sequence::START).await.expect("the log answers").expect("it is kept");
        let pages = soon(follow(opened, Sequence::START).collect::<Vec<_>>()).await;
        let events: Vec<_> =
            pages.into_iter().flat_map(|page| page.expect("the log is there")).map(|e| e.event).collect();
        assert_eq!(events, [start(id), token("a"), orphaned()], "it is closed, once");
    }
    if let Some(fenced) = fenced {
        assert_eq!(fenced.append(smallvec![token("b")]).await, Err(AppendError::Fenced));
        assert_eq!(fenced.close(ended(1)).await, CloseOutcome::Lost(orphaned()));
        let mut writer = fenced.writer.lock().await;
        assert_eq!(poll_fn(|context| writer.poll_renew(context)).now_or_never(), Some(()), "its lease is lost");
    }
    let events: Vec<_> =
        soon(follow(reader, Sequence::START).map(|page| page.expect("it is not lost")).concat()).await.into_vec();
    assert_complete(&events, 0, 3);
}

// 11. Asked to end.

async fn a_request_to_end_reaches_the_writer_from_any_replica<B: Backend>() {
    let logs = B::start(ROOMY);
    for asks_first in [true, false] {
        let (id, log) = create(&logs).await;
        let asked = async {
            for reason in [CancelReason::ClientRequest, CancelReason::Abandoned] {
                logs.replica().request_end(id, reason).await.expect("the log answers");
            }
        };
        let mut requested = logs.end_requested(id);
        if asks_first {
            asked.await;
        } else {
            assert_eq!((&mut requested).now_or_never(), None, "there is no request yet");
            asked.await;
        }
        assert_eq!(soon(requested).await, CancelReason::ClientRequest, "the first request counts");
        assert_eq!(soon(logs.end_requested(id)).await, CancelReason::ClientRequest, "the request is not lost");
        assert_eq!(log.close(ended(0)).await, CloseOutcome::Won, "a request to end does not close the log");
    }
}

async fn a_request_to_end_a_closed_log_has_no_effect<B: Backend>() {
    let logs = B::start(ROOMY);
    let (id, log) = create(&logs).await;
    log.close(ended(0)).await;
    logs.request_end(id, CancelReason::ClientRequest).await.expect("the log answers");
    logs.request_end(GenerationId::random(), CancelReason::ClientRequest).await.expect("the log answers");
    assert_eq!(read_events(&log).await, [start(id), ended(0)]);
}

// 12. Present.

async fn a_log_is_shut_once_no_replica_has_had_a_viewer_for_the_grace<B: Backend>() {
    const GRACE: Duration = Duration::from_secs(10);
    let nearly = Duration::from_secs(9);
    let logs = B::start(ROOMY);
    let (id, log) = create(&logs).await;
    let other = logs.replica();
    let mut shut = logs.shut_when_empty(id, GRACE);
    assert!(timeout(GRACE * 2, &mut shut).await.is_err(), "the request that created the log is a viewer");
    let foreign = other.join(id).await.expect("it is open");
    drop(log.viewer.lock().expect("no panic").take());
    assert!(timeout(GRACE * 2, &mut shut).await.is_err(), "a viewer on another replica counts");
    drop(foreign);
    assert!(timeout(nearly, &mut shut).await.is_err(), "the grace has not passed");
    let back = logs.join(id).await.expect("it is in time");
    assert!(timeout(GRACE * 2, &mut shut).await.is_err());
    drop(back);
    timeout(GRACE + Duration::from_secs(1), &mut shut).await.expect("the grace has passed");
    for replica in [&logs, &other] {
        assert_eq!(replica.join(id).await.err(), Some(GenerationEnded));
    }
}

// 4 and 5. Copies.

async fn a_position_of_another_replica_is_never_beyond_the_tail<B: Backend>() {
    let logs = B::start(ROOMY);
    let (id, log) = create(&logs).await;
    let other = logs.replica();
    let held = other.open(id, Sequence::START).await.expect("the log answers").expect("it is kept");
    for _ in 0..50 {
        let tail = append(&log, vec![token("x")]).await.expect("room");
        let opened = other.open(id, tail).await.expect("the log answers").expect("it is kept");
        assert!(opened.tail().await.expect("a tail").sequence >= tail, "opened with a position that it does not reach");
        assert!(held.read(tail).await.is_ok_and(|page| page.entries.is_empty() && page.tail.sequence >= tail));
    }
    log.close(ended(0)).await;
    let entries: Vec<_> =
        soon(follow(held, Sequence::START).map(|page| page.expect("it is not lost")).concat()).await.into_vec();
    assert_complete(&entries, 0, 52);
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
        assert!(said <= LIMIT, "the log exceeds its limit");
    };
    assert_eq!(full, AppendError::Full(Limit::Own));
    assert!(said >= LIMIT / 2, "only {said} of {LIMIT} bytes are used");
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
        assert!(known.is_sorted(), "the first log that ended is evicted first: {known:?}");
    };
    assert_eq!(full, AppendError::Full(Limit::Total));
    for (id, _) in &closed {
        assert!(!is_known(&logs, *id).await, "no append is refused while a closed log can be evicted");
    }
    assert!(is_known(&logs, open).await && is_known(&logs, growing).await, "an open log is never evicted");

    let new = GenerationId::random();
    let mut more_open = Vec::new();
    let refused = loop {
        match made(logs.create(begun(GenerationId::random()), terms(&account(0), None)).await) {
            Ok(log) => more_open.push(log),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, CreateError::Full);
    assert_eq!(log.close(ended(0)).await, CloseOutcome::Won, "a terminal event always fits");
    logs.check(TIGHT);
    assert!(logs.create(begun(new), terms(&account(0), None)).await.is_ok(), "a closed log is evicted for a new one");
    assert!(!is_known(&logs, growing).await && is_known(&logs, open).await);
    let last = log.read(tail(&log).await.before()).await.expect("a reader at its end reads on").entries;
    assert!(matches!(last.as_slice(), [entry] if entry.event == ended(0)));
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
        assert!(is_known(&logs, id).await, "the last log that ended is evicted last");
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
    assert!(is_known(&logs, first).await, "the retention counts from the end");
    pass_minutes(2).await;
    assert!(!is_known(&logs, first).await && is_known(&logs, second).await, "each log has its own retention");
    pass_minutes(3).await;
    assert!(is_known(&logs, second).await);
    pass_minutes(2).await;
    assert!(!is_known(&logs, second).await && is_known(&logs, open).await, "an open log stays");
    assert_complete(&read(&first_log, Sequence::START).await, 0, 2);

    let (third, third_log) = create(&logs).await;
    third_log.close(ended(3)).await;
    pass_minutes(11).await;
    assert!(!is_known(&logs, third).await, "also after a time without any expiry");
}

async fn a_removed_log_is_unknown_and_its_holders_can_still_read_it<B: Backend>() {
    let logs = B::start(ROOMY);
    let (id, log) = create(&logs).await;
    append(&log, vec![token("a")]).await.expect("room");
    let follower = follow_all(Arc::clone(&log), Sequence::START);
    logs.remove(id).await.expect("the log answers");
    assert!(!is_known(&logs, id).await);
    append(&log, vec![token("b")]).await.expect("its writer writes on");
    assert_eq!(log.close(ended(0)).await, CloseOutcome::Won);
    assert_complete(&follower.await, 0, 4);
    assert_eq!(read_events(&log).await, [start(id), token("a"), token("b"), ended(0)]);
    assert!(!is_known(&logs, id).await, "the removed log stays removed");
    logs.remove(id).await.expect("the log answers");
    logs.remove(GenerationId::random()).await.expect("the log answers");
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
        logs.remove(id).await.expect("the log answers");
        assert!(is_known(&logs, kept).await, "no other log was evicted");
    }
    let (removed, log) = create(&logs).await;
    logs.remove(removed).await.expect("the log answers");
    append(&log, vec![token(&"x".repeat(31 << 10))]).await.expect("room");
    log.close(ended(0)).await;
    assert!(is_known(&logs, kept).await, "a removed log takes no room from logs that can be opened");
}

// Followers.

async fn a_dropped_follower_leaves_nothing_behind<B: Backend>() {
    let logs = B::start(ROOMY);
    let (id, log) = create(&logs).await;
    append(&log, vec![token(&"x".repeat(10_000)); 5]).await.expect("room");
    let holders = Arc::strong_count(&log.log);
    let pages = |after| Box::pin(follow(Arc::clone(&log.log), after));

    drop(pages(Sequence::START));
    assert_eq!(Arc::strong_count(&log.log), holders, "before its first step");
    for steps in 1..=3 {
        let mut following = pages(Sequence::START);
        for _ in 0..steps {
            soon(following.next()).await.expect("a page").expect("of the log");
        }
        drop(following);
        assert_eq!(Arc::strong_count(&log.log), holders, "after {steps} pages");
    }
    let mut waiting = pages(tail(&log).await);
    for _ in 0..3 {
        assert_eq!(waiting.next().now_or_never(), None);
    }
    append(&log, vec![token("x")]).await.expect("room");
    drop(waiting);
    assert_eq!(Arc::strong_count(&log.log), holders, "while it waits, with a wake on its way");
    log.close(ended(0)).await;
    let mut at_end = pages(tail(&log).await);
    assert_eq!(soon(at_end.next()).await, None);
    drop(at_end);
    assert_eq!(Arc::strong_count(&log.log), holders, "at the end");

    let gone = Arc::downgrade(&log.log);
    logs.remove(id).await.expect("the log answers");
    drop(log);
    assert!(gone.upgrade().is_none(), "the log is dropped with its last holder");
}
