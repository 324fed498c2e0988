//! Requests without a free slot are queued, fairly across callers, and no slot ever leaks.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use reqwest::Method;
use serde_json::{Value, json};
use tokenrill::domain::{
    Account, AllowedModels, ChatRequest, Chunk, Escaped, FinishReason, OnUpstreamFailure, Part, Principal, Quota,
    RequestId, Shape, Trailer, UsageRequest,
};
use tokenrill::event_log::{Memory, MemoryLimits};
use tokenrill::generation::{
    Delivery, Generations, NewGeneration, OnDisconnect, StartError, StartedGeneration, Storage, Terms, UpstreamMessages,
};
use tokenrill::json::JsonObject;
use tokenrill::limits::{Limiter, Limits, Policy, ProcessLimits, RequestPermit, Spender, WaitPolicy};
use tokenrill::settings::Settings;
use tokenrill::telemetry::Metrics;
use tokenrill::upstream::{
    Answer as UpstreamAnswer, AttemptError, AttemptErrorKind, AttemptTerms, Provider, Router, Signal, UpstreamIdentity,
};
use tokenrill::usage::Ledger;
use tokio_util::task::TaskTracker;

use crate::support::{Answer, Call, Service, SlowLimits, Upstream, test_identity};

async fn service_with_one_slot(upstream: &Upstream, change: impl Fn(&mut Settings)) -> Service {
    let mut settings = Service::settings(&upstream.base_url());
    settings.limits.each.concurrent_generations = NonZeroU32::new(1);
    change(&mut settings);
    Service::with(settings).await
}

fn hello() -> Value {
    json!({"input": "Hello"})
}

/// The next upstream call: on the same connection or, if that was not idle yet, on a new one.
async fn next(upstream: &Upstream, call: Call) -> Call {
    tokio::select! {
        Some(next) = call.next() => next,
        next = upstream.call() => next,
    }
}

#[tokio::test]
async fn queued_generation_receives_its_queue_position_until_a_slot_is_free() {
    let upstream = Upstream::start().await;
    let service = service_with_one_slot(&upstream, |_| {}).await;
    let mut first = service.generate(&hello()).await;
    first.expect("start").await;
    let mut call = upstream.call().await;
    call.ok().await;
    let (mut second, mut third) = (service.generate(&hello()).await, service.generate(&hello()).await);
    for (viewer, position) in [(&mut second, 1), (&mut third, 2)] {
        assert_eq!(viewer.status, 200);
        let start = viewer.expect("start").await;
        assert_eq!((start.sequence(), start.retry), (1, Some(1000)));
        let queued = viewer.expect("queued").await;
        assert_eq!((&queued.data["position"], queued.id, queued.retry), (&json!(position), None, None));
    }
    assert!(!upstream.was_called(), "a queued generation calls no upstream");
    service.metric_becomes("tokenrill_generations_waiting", 2.0).await;

    call.text("Hello").await;
    call.finish("stop").await;
    call.done().await;
    first.expect("delta").await;
    first.expect("done").await;
    let moved = third.expect("queued").await;
    assert_eq!(moved.data["position"], 1);
    assert!(moved.data["eta_ms"].is_u64(), "{moved:?}");
    let mut call = next(&upstream, call).await;
    call.answer(&["Hi"]).await;
    assert_eq!(second.expect("delta").await.sequence(), 2, "queue positions are not in the log");
    second.expect("done").await;
    next(&upstream, call).await.answer(&["Hey"]).await;
    third.expect("delta").await;
    third.expect("done").await;
    service.metric_becomes("tokenrill_generations_waiting", 0.0).await;
}

#[tokio::test]
async fn queue_position_survives_a_reconnect_until_the_grace_ends() {
    let upstream = Upstream::start().await;
    let service = service_with_one_slot(&upstream, |settings| settings.generation.grace = Duration::from_secs(5)).await;
    let mut running = service.generate(&hello()).await;
    running.expect("start").await;
    let _call = upstream.call().await;

    let mut waits = service.generate(&hello()).await;
    let start = waits.expect("start").await;
    waits.expect("queued").await;
    drop(waits);
    let mut back = Answer::to(service.generation(&hello()).header("last-event-id", start.id.expect("an id"))).await;
    let queued = back.expect("queued").await;
    assert_eq!(
        (&queued.data["position"], queued.retry),
        (&json!(1), Some(1000)),
        "the same queue position after a resume"
    );

    // A queued generation without viewers leaves the queue when its grace ends: here at once.
    let mut gone = service.generate(&json!({"input": "Hello", "grace_ms": 0})).await;
    gone.expect("start").await;
    gone.expect("queued").await;
    let mut last = service.generate(&hello()).await;
    last.expect("start").await;
    assert_eq!(last.expect("queued").await.data["position"], 3);
    drop(gone);
    assert_eq!(last.expect("queued").await.data["position"], 2);

    // A stop also frees the queue position, and no tokens were used.
    let path = format!("/v1/generations/{}/cancel", queued_generation(&back));
    Answer::to(service.request(Method::POST, &path)).await;
    let cancelled = back.expect("cancelled").await;
    assert_eq!(cancelled.data["usage"], json!({"input_tokens": 0, "output_tokens": 0, "estimated": true}));
    assert_eq!(last.expect("queued").await.data["position"], 1);
    assert!(!upstream.was_called());
}

fn queued_generation(answer: &Answer) -> String {
    answer.header("tokenrill-generation").to_owned()
}

#[tokio::test]
async fn queue_serves_callers_round_robin() {
    let upstream = Upstream::start().await;
    let mut settings = Service::settings(&upstream.base_url());
    settings.limits.concurrent_generations_total = NonZeroU32::new(1);
    let (service, keys) = Service::guarded(settings, &[("a", &["generate"]), ("b", &["generate"])]).await;
    let ask = async |caller: &str, what: &str| {
        let request = service.generation(&json!({"input": what})).bearer_auth(&keys[caller]);
        let mut viewer = Answer::to(request.header("accept", "text/event-stream")).await;
        viewer.expect("start").await;
        viewer
    };
    let mut viewers = vec![ask("a", "a1").await];
    let mut call = upstream.call().await;
    for what in ["a2", "a3", "a4", "b1", "b2"] {
        let mut viewer = ask(&what[..1], what).await;
        viewer.expect("queued").await;
        viewers.push(viewer);
    }
    let mut asked = Vec::new();
    for _ in 0..6 {
        asked.push(call.body["messages"][0]["content"].as_str().expect("text").to_owned());
        call.answer(&["Hello"]).await;
        if asked.len() < 6 {
            call = next(&upstream, call).await;
        } else {
            break;
        }
    }
    assert_eq!(asked, ["a1", "a2", "b1", "a3", "b2", "a4"]);
    for mut viewer in viewers {
        while viewer.next().await.is_some_and(|event| event.name != "done") {}
    }
}

#[tokio::test]
async fn queue_wait_and_queue_length_are_bounded() {
    let upstream = Upstream::start().await;
    let service = service_with_one_slot(&upstream, |settings| settings.limits.queue.max_waiting = 1).await;
    let mut running = service.generate(&hello()).await;
    running.expect("start").await;
    let mut call = upstream.call().await;

    let mut impatient = service.generate(&json!({"input": "Hello", "max_queue_ms": 50})).await;
    impatient.expect("start").await;
    impatient.expect("queued").await;
    let failed = impatient.expect("failed").await;
    assert_eq!(
        (&failed.data["error"]["code"], &failed.data["error"]["status"]),
        (&json!("too_many_generations"), &json!(429))
    );
    assert_eq!(failed.data["error"]["retryable"], true);

    let mut waits = service.generate(&hello()).await;
    waits.expect("start").await;
    let refused = Answer::to(service.generation(&hello())).await;
    assert_eq!(refused.status, 429, "the queue is full");
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(refused.json().await["code"], "too_many_generations");
    let refused = service.generate(&json!({"input": "Hello", "max_queue_ms": 0})).await;
    assert_eq!((refused.status, refused.header("content-type")), (429, "text/event-stream"));

    // OpenAI clients know no queue events: they are refused and asked to retry.
    let chat = json!({"model": "m", "messages": [{"role": "user", "content": "Hello"}]}).to_string();
    let chat =
        service.request(Method::POST, "/v1/chat/completions").header("content-type", "application/json").body(chat);
    let refused = Answer::to(chat).await;
    assert_eq!((refused.status, refused.header("x-should-retry")), (429, "true"));
    call.answer(&["Hello"]).await;
    next(&upstream, call).await.answer(&["Hi"]).await;
    while waits.next().await.is_some_and(|event| event.name != "done") {}
}

/// How the upstream answers one generation.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Whole,
    Fails,
    Panics,
    Silent,
}

/// Answers each request as the number in it demands, and counts concurrent calls.
struct Chaos {
    fates: Vec<Fate>,
    asked: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

struct OpenCall(Arc<AtomicUsize>);

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Provider for Chaos {
    fn identity(&self) -> &Arc<UpstreamIdentity> {
        test_identity()
    }

    fn attempt(&self, request: &Arc<ChatRequest>, terms: AttemptTerms) -> UpstreamAnswer {
        let number = request.fields.read::<u64>("number").expect("a number");
        let fate = self.fates[usize::try_from(number).expect("small")];
        let (asked, most) = (Arc::clone(&self.asked), Arc::clone(&self.most));
        let answer = stream::once(async move {
            terms.sent.set();
            let now = asked.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            let asked = OpenCall(asked);
            tokio::time::sleep(Duration::from_millis(number % 7)).await;
            let shape = Shape::new(None, Part::Text { choice: 0, logprobs_json: None });
            let text = Signal::Chunk(Chunk::new(Arc::new(shape), Escaped::from_text("a")));
            let answer = match fate {
                Fate::Whole => {
                    let finish = Signal::Finish { choice: 0, reason: FinishReason::from("stop") };
                    Ok(smallvec::smallvec![text, finish, Signal::End { trailer: Trailer::default() }])
                }
                Fate::Fails => Err(AttemptError::in_response(AttemptErrorKind::Reported(Box::default()))),
                Fate::Panics => panic!("a defect"),
                Fate::Silent => std::future::pending().await,
            };
            drop(asked);
            answer
        });
        answer.boxed()
    }

    fn models(
        &self,
    ) -> futures_util::future::BoxFuture<'_, Result<Vec<tokenrill::generation::ListedModel>, AttemptErrorKind>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn generations(provider: Chaos, limiter: Limiter, metrics: &Arc<Metrics>, tasks: &TaskTracker) -> Generations {
    let memory = Memory::new(MemoryLimits {
        total: 64 << 20,
        generation: 1 << 20,
        running: 0,
        retention: Duration::from_mins(1),
    });
    let terms = Terms {
        upstream_messages: UpstreamMessages::Log,
        max_duration: Duration::from_secs(30),
        on_disconnect: OnDisconnect::Cancel,
        grace: Duration::from_millis(5),
    };
    let router = Router::new(Arc::new(provider), Vec::new(), Vec::new(), None, TaskTracker::new());
    Generations::new(Arc::new(memory), router, terms, limiter, Arc::clone(metrics), tasks.clone(), Ledger::default())
}

fn new_generation(spender: Spender, number: u64) -> NewGeneration {
    let Account::Principal(owner) = spender.account.clone() else { panic!("accounts of principals") };
    NewGeneration {
        messages_form: None,
        delivery: Delivery::Stream,
        owner,
        spender,
        request: RequestPermit::default(),
        wait_policy: WaitPolicy::Waits { at_most: None },
        claim: None,
        model: Some("demo".into()),
        fields: JsonObject::parse(format!("{{\"number\":{number}}}").as_bytes()).expect("an object"),
        allowed: AllowedModels::All,
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
    }
}

/// Starts a generation that ends at once, with limits that have taken no step since its admission.
async fn ended_upstream_with_silent_limits() -> (Arc<SlowLimits>, StartedGeneration, TaskTracker) {
    let slow = SlowLimits::shut(Arc::default());
    let provider = Chaos { fates: vec![Fate::Whole], asked: Arc::default(), most: Arc::default() };
    let tasks = TaskTracker::new();
    let limiter = Limiter::new(Arc::clone(&slow) as Arc<dyn Limits>, tasks.clone());
    let generations = generations(provider, limiter, &Metrics::new(), &tasks);
    let policy = Arc::new(Policy { generations: NonZeroU32::new(1), ..Policy::default() });
    let account = Account::Principal(Principal::Key("a".into()));
    slow.gate.pass(2);
    let started = generations.start(new_generation(Spender::new(account, Quota::NONE, policy), 0)).await;
    (slow, started.expect("a slot"), tasks)
}

#[tokio::test(start_paused = true)]
async fn terminal_event_is_readable_only_after_the_slot_and_the_reservations_are_given_back() {
    let (slow, mut started, _tasks) = ended_upstream_with_silent_limits().await;
    // The steps of the release, then those of the settlement. Each step takes less than the time for the whole call.
    for steps_left in (0..4).rev() {
        let ended = tokio::time::timeout(Duration::from_millis(500), started.following.ended()).await;
        assert!(ended.is_err(), "{steps_left} steps are left");
        slow.gate.pass(1);
    }
    started.following.ended().await;
    assert_eq!((slow.inner.count(), slow.inner.reservations()), ((0, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn silent_limits_delay_a_terminal_event_by_at_most_four_seconds() {
    let (slow, mut started, tasks) = ended_upstream_with_silent_limits().await;
    let began = tokio::time::Instant::now();
    started.following.ended().await;
    assert_eq!(began.elapsed().as_secs(), 4);
    assert_eq!(slow.inner.count(), (1, 0), "the slot is not yet given back");
    slow.gate.unlock();
    tasks.close();
    tasks.wait().await;
    assert_eq!((slow.inner.count(), slow.inner.reservations()), ((0, 0), 0));
}

/// 1,000 generations of three callers. A third of them are left or stopped at arbitrary moments, queued or running;
/// some fail and some panic. No more run than there are slots, and no task, slot, viewer or reservation leaks.
#[tokio::test(start_paused = true)]
async fn thousand_generations_that_end_in_any_way_leak_no_slot() {
    let limits = Arc::<ProcessLimits>::default();
    run_thousand_generations(Arc::clone(&limits) as Arc<dyn Limits>, limits).await;
}

#[tokio::test(start_paused = true)]
async fn thousand_generations_that_end_in_any_way_leak_no_slot_of_slow_limits() {
    let limits = Arc::<ProcessLimits>::default();
    run_thousand_generations(SlowLimits::open(Arc::clone(&limits)), limits).await;
}

async fn run_thousand_generations(port: Arc<dyn Limits>, limits: Arc<ProcessLimits>) {
    const PLACES: u32 = 8;
    // Xorshift with a fixed seed: the same in each run.
    let mut random = 88_172_645_463_325_252_u64;
    let mut pick = |of: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).expect("31 bits") % of
    };
    let fates: Vec<_> =
        (0..1_000).map(|_| [Fate::Whole, Fate::Whole, Fate::Fails, Fate::Panics, Fate::Silent][pick(5)]).collect();
    let (asked, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let provider = Chaos { fates, asked: Arc::clone(&asked), most: Arc::clone(&most) };
    let (metrics, tasks) = (Metrics::new(), TaskTracker::new());
    let generations = generations(provider, Limiter::new(port, tasks.clone()), &metrics, &tasks);
    let each = Quota {
        concurrent_generations: NonZeroU32::new(4),
        tokens_per_minute: NonZeroU32::new(1_000_000),
        ..Quota::NONE
    };
    let policy = Arc::new(Policy {
        each,
        generations: NonZeroU32::new(PLACES),
        waiting: 30,
        wait: Duration::from_secs(2),
        ..Policy::default()
    });

    let (mut viewers, mut refused) = (Vec::new(), 0);
    for number in 0..1_000_u64 {
        let name = ["a", "b", "c"][pick(3)];
        let principal = Principal::Key(name.into());
        let spender = Spender::new(Account::Principal(principal.clone()), Quota::NONE, Arc::clone(&policy));
        let new = new_generation(spender, number);
        match generations.start(new).await {
            Ok(started) => viewers.push((principal, started.following)),
            Err(StartError::Exceeded(..)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        match pick(6) {
            0 if !viewers.is_empty() => drop(viewers.swap_remove(pick(viewers.len()))),
            1 if !viewers.is_empty() => {
                let (principal, following) = &viewers[pick(viewers.len())];
                // A generation that has ended may no longer be found.
                _ = generations.stop(principal, following.start().generation).await;
            }
            2 => tokio::time::sleep(Duration::from_millis(pick(20) as u64)).await,
            // Drops all tasks at their current await.
            3 if pick(50) == 0 => generations.abort_all(),
            _ => tokio::task::yield_now().await,
        }
        let (running, waiting) = limits.count();
        assert!(running <= PLACES as usize && waiting <= 30, "{running} and {waiting}");
    }
    drop(viewers);
    tasks.close();
    tasks.wait().await;
    for name in ["a", "b", "c"] {
        let spender = Spender::new(Account::Principal(Principal::Key(name.into())), Quota::NONE, Arc::clone(&policy));
        let left = generations.left(&spender, None).await.tokens.expect("a limit").left;
        // About 300 generations per caller used a few tokens each, and none kept its reservation of 256.
        assert!(left > 1_000_000 - 10_000, "{name}: {left}");
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(refused > 0, "the queue was full at times");
    assert_eq!((limits.count(), limits.reservations()), ((0, 0), 0));
    assert_eq!((asked.load(Ordering::SeqCst), tasks.len()), (0, 0));
    assert!((1..=PLACES as usize).contains(&most.load(Ordering::SeqCst)));
    let (_, figures) = metrics.render();
    for gauge in ["tokenrill_generations_live", "tokenrill_generations_waiting", "tokenrill_viewers_live"] {
        assert!(figures.contains(&format!("\n{gauge} 0\n")), "{gauge}");
    }
}
