//! A log that does not answer: an append in flight keeps no stop, deadline or grace from being seen, and what it carries
//! is neither lost nor repeated.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use tokenrill::domain::{
    Account, AllowedModels, ChatRequest, Chunk, Entry, Escaped, Event, EventPosition, FailureCode, GenerationId,
    OnUpstreamFailure, Part, Principal, Quota, RequestId, Shape, Trailer, UsageRequest,
};
use tokenrill::event_log::MemoryLimits;
use tokenrill::generation::{
    Delivery, Following, Generations, ListedModel, NewGeneration, OnDisconnect, Storage, Terms, UpstreamMessages,
};
use tokenrill::json::JsonObject;
use tokenrill::limits::{Limiter, RequestPermit, Spender, WaitPolicy};
use tokenrill::telemetry::Metrics;
use tokenrill::upstream::{
    Answer, AttemptErrorKind, AttemptTerms, Provider, Router, Signal, Signals, UpstreamIdentity,
};
use tokenrill::usage::Ledger;
use tokio::sync::{mpsc, watch};
use tokio_util::task::TaskTracker;

use crate::event_log::Backend as _;
use crate::event_log::slow::Slow;
use crate::support::{soon, test_identity};

const CALLER: Principal = Principal::Anonymous;
const GRACE: Duration = Duration::from_secs(10);
const MAX_DURATION: Duration = Duration::from_mins(2);
const LIMITS: MemoryLimits =
    MemoryLimits { total: 1 << 20, generation: 1 << 20, running: 0, retention: Duration::from_mins(10) };

/// An upstream that sends what the test gives it, to one request.
struct Scripted {
    signals: std::sync::Mutex<Option<mpsc::Receiver<Signals>>>,
    is_open: Arc<watch::Sender<bool>>,
}

/// Marks the upstream call as closed when it is dropped.
struct OpenCall(Arc<watch::Sender<bool>>);

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl Provider for Scripted {
    fn identity(&self) -> &Arc<UpstreamIdentity> {
        test_identity()
    }

    fn attempt(&self, _: &Arc<ChatRequest>, terms: AttemptTerms) -> Answer {
        let signals = self.signals.lock().expect("no panic").take().expect("one attempt");
        self.is_open.send_replace(true);
        terms.sent.set();
        let state = (signals, OpenCall(Arc::clone(&self.is_open)));
        Box::pin(stream::unfold(state, |(mut signals, open)| async {
            signals.recv().await.map(|received| (Ok(received), (signals, open)))
        }))
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ListedModel>, AttemptErrorKind>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

/// A generation on one process, and a second process that shares its log.
struct Running {
    log: Slow,
    other: Generations,
    id: GenerationId,
    viewer: Following,
    upstream: mpsc::Sender<Signals>,
    is_open: Arc<watch::Sender<bool>>,
}

fn service(log: Slow, provider: Scripted) -> Generations {
    let terms = Terms {
        upstream_messages: UpstreamMessages::Log,
        max_duration: MAX_DURATION,
        on_disconnect: OnDisconnect::Cancel,
        grace: GRACE,
    };
    let router = Router::new(Arc::new(provider), Vec::new(), Vec::new(), None, TaskTracker::new());
    Generations::new(
        Arc::new(log),
        router,
        terms,
        Limiter::default(),
        Metrics::new(),
        TaskTracker::new(),
        Ledger::default(),
    )
}

fn text(text: &str) -> Signals {
    let shape = Shape::new(None, Part::Text { choice: 0, logprobs_json: None });
    smallvec::smallvec![Signal::Chunk(Chunk::new(Arc::new(shape), Escaped::from_text(text)))]
}

impl Running {
    /// Starts a generation whose viewer has its first token.
    async fn start() -> Self {
        let log = Slow::start(LIMITS);
        let (upstream, signals) = mpsc::channel(8);
        let is_open = Arc::new(watch::Sender::new(false));
        let provider = |signals| Scripted { signals: std::sync::Mutex::new(signals), is_open: Arc::clone(&is_open) };
        let owner = service(log.clone(), provider(Some(signals)));
        let other = service(log.replica(), provider(None));
        let spender = Spender::new(Account::Principal(CALLER), Quota::NONE, Arc::default());
        let started = owner.start(NewGeneration {
            messages_form: None,
            owner: CALLER,
            spender,
            request: RequestPermit::default(),
            wait_policy: WaitPolicy::Refuses,
            claim: None,
            model: Some("demo".into()),
            allowed: AllowedModels::All,
            fields: JsonObject::parse(b"{}").expect("an object"),
            delivery: Delivery::Stream,
            prompt: None,
            metadata: [].into(),
            notes: None,
            chat: None,
            usage: UsageRequest::NotAsked,
            storage: Storage::Kept,
            on_disconnect: None,
            on_upstream_failure: OnUpstreamFailure::Fail,
            grace: None,
            request_id: RequestId::random(),
        });
        let viewer = soon(started).await.expect("there is room").following;
        let id = viewer.start().generation;
        let mut running = Self { log, other, id, viewer, upstream, is_open };
        running.upstream.send(text("a")).await.expect("the task reads it");
        running.read(2).await;
        running
    }

    /// Reads entries until there are this many in all.
    async fn read(&mut self, count: u64) {
        let mut last = 0;
        while last < count {
            let page = soon(self.viewer.next_page()).await.expect("not over").expect("not lost");
            last = page.last().expect("an entry").sequence.get();
        }
    }

    /// Returns all entries, as a viewer on the other process reads them.
    async fn entries(&self) -> Vec<Entry> {
        let mut following = soon(self.other.follow(&CALLER, self.id, EventPosition::START)).await.expect("it is kept");
        let mut entries = Vec::new();
        while let Some(page) = soon(following.next_page()).await {
            entries.extend(page.expect("not lost"));
        }
        entries
    }

    /// Waits until the task has closed the upstream, while the log answers nothing.
    async fn wait_for_upstream_close(&self) {
        self.is_open.subscribe().wait_for(|is_open| !is_open).await.expect("the sender is kept");
    }

    /// Asserts that the log has the whole text, once, and returns its terminal event.
    async fn ending(&self) -> Event {
        let entries = self.entries().await;
        let texts = entries.iter().filter_map(|entry| match &entry.event {
            Event::Chunk(chunk) => Some(chunk.text().as_str()),
            _ => None,
        });
        assert_eq!(texts.collect::<String>(), "ab");
        assert_eq!(entries.iter().filter(|entry| entry.event.is_terminal()).count(), 1);
        entries.last().expect("an end").event.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_from_another_process_closes_the_upstream_while_an_append_is_unanswered() {
    let running = Running::start().await;
    let silence = running.log.silence();
    running.upstream.send(text("b")).await.expect("the task reads it");
    let stop = TaskTracker::new().spawn({
        let (other, id) = (running.other.clone(), running.id);
        async move { other.stop(&CALLER, id).await.map(drop) }
    });
    soon(running.wait_for_upstream_close()).await;
    drop(silence);
    soon(stop).await.expect("no panic").expect("it is known");
    assert!(matches!(running.ending().await, Event::Cancelled(_)));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_closes_the_upstream_while_an_append_is_unanswered() {
    let running = Running::start().await;
    let silence = running.log.silence();
    running.upstream.send(text("b")).await.expect("the task reads it");
    tokio::time::sleep(MAX_DURATION).await;
    soon(running.wait_for_upstream_close()).await;
    drop(silence);
    let Event::Failed(failed) = running.ending().await else { panic!("it failed") };
    assert_eq!(failed.failure.code, FailureCode::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_grace_closes_the_upstream_while_an_append_is_unanswered() {
    let mut running = Running::start().await;
    let there = soon(running.other.follow(&CALLER, running.id, EventPosition::START)).await.expect("it is kept");
    let here = std::mem::replace(&mut running.viewer, there);
    drop(here);
    tokio::time::sleep(GRACE * 2).await;
    assert!(*running.is_open.borrow(), "the viewer of the other process keeps it running");

    let silence = running.log.silence();
    running.upstream.send(text("b")).await.expect("the task reads it");
    let Running { log: _log, other, id, viewer, upstream: _upstream, is_open } = running;
    drop(viewer);
    tokio::time::sleep(GRACE * 2).await;
    assert!(!*is_open.borrow(), "no viewer is left");
    drop(silence);
    let mut following = soon(other.follow(&CALLER, id, EventPosition::START)).await.expect("it is kept");
    let mut last = None;
    while let Some(page) = soon(following.next_page()).await {
        last = page.expect("not lost").pop();
    }
    assert!(matches!(last.map(|entry| entry.event), Some(Event::Cancelled(_))));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_answer_carries_what_the_log_has_not_answered() {
    let running = Running::start().await;
    let silence = running.log.silence();
    running.upstream.send(text("b")).await.expect("the task reads it");
    running.upstream.send(smallvec::smallvec![Signal::End { trailer: Trailer::default() }]).await.expect("it is read");
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(silence);
    assert!(matches!(running.ending().await, Event::Done(_)));
}
