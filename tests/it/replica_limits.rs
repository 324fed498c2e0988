//! Limits over several replicas that share a Redis server: exact, with slots that return from a lost replica, and with
//! calls whose replies are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join_all, select_all};
use redis::cmd;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::json;
use tokenrill::domain::{Account, GenerationId, NamePattern, Principal, Quota, Usd};
use tokenrill::limits::{
    Allowance, ExceededLimit, GenerationDemand, LimitError, Limiter, Limits as _, Permit, Policy, QueueState,
    RedisLimitTerms, RedisLimits, RequestPermit, Settlement, Spender, WaitOutcome, WaitPolicy,
};
use tokenrill::redis_client::RedisClient;
use tokenrill::settings::Settings;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::support::lossy_proxy::LossyProxy;
use crate::support::redis_server::{RedisServer, client_of, unique_prefix};
use crate::support::{Answer, Service, ServiceProcess, soon, within};

/// Longer than any pause of a machine under load that a test does not expect.
const LEASE: Duration = Duration::from_secs(3);

/// One replica's limits, without a service.
struct Replica {
    limits: RedisLimits,
    limiter: Limiter,
    running: JoinHandle<()>,
}

impl Replica {
    fn new(client: RedisClient, lease: Duration) -> Self {
        let limits = RedisLimits::new(client, RedisLimitTerms { lease });
        let running = limits.clone();
        let running = TaskTracker::new().spawn(async move { running.run().await });
        Self { limiter: Limiter::new(Arc::new(limits.clone()), TaskTracker::new()), limits, running }
    }

    async fn admit(&self, demand: GenerationDemand) -> Result<Permit, LimitError> {
        self.limiter.admit(demand, RequestPermit::default()).await
    }

    async fn enter(&self, spender: &Spender) -> Permit {
        self.admit(demand(spender, 0, WaitPolicy::Waits { at_most: None })).await.expect("a slot or a position")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// The keys of one deployment.
struct Deployment<'a> {
    server: &'a RedisServer,
    prefix: String,
}

impl Deployment<'_> {
    fn new() -> Self {
        Self { server: RedisServer::shared(), prefix: unique_prefix() }
    }

    fn replica(&self) -> Replica {
        self.with_lease(LEASE)
    }

    fn with_lease(&self, lease: Duration) -> Replica {
        Replica::new(self.server.client(&self.prefix), lease)
    }

    fn key(&self, part: &str) -> String {
        format!("{0}:{{{0}.limits}}:{part}", self.prefix)
    }

    /// Returns the number of slots that are taken.
    fn slots(&self) -> usize {
        self.server.command(cmd("ZCARD").arg(self.key("s")))
    }

    /// Waits until this many slots are taken, and something is reserved for this many generations.
    async fn has(&self, slots: usize, reservations: usize) {
        soon(async {
            while (self.slots(), self.reservations()) != (slots, reservations) {
                yield_now().await;
            }
        })
        .await;
    }

    /// Returns the number of generations for which something is reserved.
    fn reservations(&self) -> usize {
        let records: Vec<String> = self.server.command(cmd("KEYS").arg(self.key("g:*")));
        let fenced = records.iter().filter(|record| self.server.command(cmd("HEXISTS").arg(record).arg("fenced")));
        records.len() - fenced.count()
    }
}

fn some(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number)
}

fn slots(slots: u32) -> Policy {
    Policy { generations: some(slots), waiting: 100, ..Policy::default() }
}

fn spender(name: &str, policy: Policy) -> Spender {
    Spender::new(Account::Principal(Principal::Key(name.into())), Quota::NONE, Arc::new(policy))
}

fn demand(spender: &Spender, tokens: u64, wait_policy: WaitPolicy) -> GenerationDemand {
    GenerationDemand { spender: spender.clone(), model: "m".into(), tokens, cost: Usd::default(), wait_policy }
}

fn left(allowance: Allowance) -> (Option<u32>, Option<u32>) {
    (allowance.requests.map(|left| left.left), allowance.tokens.map(|left| left.left))
}

/// Four services that share a server of their own.
async fn services(redis: &RedisServer, prefix: &str, limit: impl Fn(&mut Settings)) -> Vec<Service> {
    let mut services = Vec::new();
    for _ in 0..4 {
        let (mut settings, mut environment) = (Settings::default(), BTreeMap::new());
        redis.serve(&mut settings, &mut environment, prefix);
        settings.generation.grace = Duration::ZERO;
        limit(&mut settings);
        let service = Service::in_environment(settings, environment).await;
        soon(async { while service.get("/readyz").await.status != 200 {} }).await;
        services.push(service);
    }
    services
}

/// Four processes of the program.
async fn processes(redis: &RedisServer, prefix: &str, limit: impl Fn(&mut Settings)) -> Vec<ServiceProcess> {
    let mut settings = Settings::default();
    redis.serve(&mut settings, &mut BTreeMap::new(), prefix);
    let address = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-{}", redis.port()));
    fs::write(&address, redis.url()).expect("written");
    settings.event_log.redis.url_env = None;
    settings.event_log.redis.url_file = Some(address.clone());
    settings.generation.grace = Duration::ZERO;
    limit(&mut settings);
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(ServiceProcess::start(&settings).await);
    }
    fs::remove_file(&address).expect("removed");
    processes
}

/// Sends this many generations to each service at once. Returns the answers of those that were admitted, and the others.
async fn start_on_each(services: impl Iterator<Item = SocketAddr>, number: usize) -> (Vec<Answer>, Vec<Answer>) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let body = json!({"input": "Hello", "model": "demo?tokens=1000&rate=1"}).to_string();
    let send = async |service: SocketAddr| loop {
        let request = client.post(format!("http://{service}/v1/generations")).body(body.clone());
        let request = request.header(CONTENT_TYPE, "application/json").header(ACCEPT, "text/event-stream");
        let answer = Answer::to(request).await;
        // A machine under load may not receive the reply of Redis within two seconds.
        if answer.status != 503 {
            return answer;
        }
    };
    let requests = services.flat_map(|service| (0..number).map(move |_| service)).map(send);
    let answers = within(Duration::from_mins(2), join_all(requests)).await;
    answers.into_iter().partition(|answer| answer.status == 200)
}

#[tokio::test]
async fn thousand_requests_to_four_services_start_as_many_generations_as_there_are_slots() {
    let redis = RedisServer::start();
    let deployment = Deployment { server: &redis, prefix: unique_prefix() };
    let services = processes(&redis, &deployment.prefix, |settings| {
        settings.limits.concurrent_generations_total = some(100);
        settings.limits.each.tokens_per_minute = some(10_000_000);
        settings.limits.queue.max_waiting = 0;
    })
    .await;
    let (admitted, refused) = start_on_each(services.iter().map(|service| service.address), 250).await;
    assert_eq!((admitted.len(), refused.len(), deployment.slots()), (100, 900, 100));
    for answer in refused {
        assert_eq!(answer.status, 429);
        assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
        assert!(answer.header("ratelimit").contains("\"tokens\";r="), "{}", answer.header("ratelimit"));
        assert_eq!(answer.header("ratelimit-policy"), "\"tokens\";q=10000000;w=60");
    }
    drop(admitted);
    deployment.has(0, 0).await;
}

#[tokio::test]
async fn requests_per_minute_over_four_services_are_exactly_the_limit() {
    let redis = RedisServer::start();
    // One more is allowed after 20 seconds.
    let services = services(&redis, "tr", |settings| settings.limits.each.requests_per_minute = some(3)).await;
    let begun = Instant::now();
    let (admitted, refused) = start_on_each(services.iter().map(|service| service.address), 25).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "too slow to be exact: {:?}", begun.elapsed());
    assert_eq!((admitted.len(), refused.len()), (3, 97));
    for answer in refused {
        assert_eq!(answer.status, 429);
        assert!(answer.header("ratelimit").starts_with("\"requests\";r=0;t="), "{}", answer.header("ratelimit"));
        let seconds: u32 = answer.header("retry-after").parse().expect("a number");
        assert!((1..=20).contains(&seconds), "{seconds}");
    }
}

/// 40 generations of four replicas wait, for the slots of all or for those of their account.
#[tokio::test]
async fn one_of_forty_waiting_generations_is_granted_each_freed_slot() {
    let of_account = Policy { each: Quota { concurrent_generations: some(1), ..Quota::NONE }, ..slots(100) };
    for policy in [slots(1), of_account] {
        let deployment = Deployment::new();
        let replicas = [(); 4].map(|()| deployment.replica());
        let spender = spender("a", policy);
        let mut holder = replicas[0].enter(&spender).await;
        let mut waiting = Vec::new();
        for replica in &replicas {
            for position in 1..=10 {
                let permit = replica.enter(&spender).await;
                let queue_state = *permit.slot.queue_state().expect("it waits").borrow();
                assert!(
                    matches!(queue_state, QueueState::Waiting(ahead) if ahead.position == position),
                    "the position is that of the replica: {queue_state:?}"
                );
                waiting.push(permit);
            }
        }
        for number in (0..40).rev() {
            holder.slot.release().await;
            let each = waiting.iter_mut().map(|permit| permit.slot.granted().boxed());
            let (outcome, granted, _) = soon(select_all(each)).await;
            assert_eq!(outcome, WaitOutcome::Granted);
            holder = waiting.remove(granted);
            let also = waiting.iter().filter(|permit| permit.slot.is_granted()).count();
            assert_eq!((also, deployment.slots(), waiting.len()), (0, 1, number));
        }
        holder.slot.release().await;
        assert_eq!(deployment.slots(), 0);
    }
}

#[tokio::test]
async fn slots_of_a_killed_replica_return_within_the_lease_and_those_of_a_live_one_stay() {
    let deployment = Deployment::new();
    let [killed, alive] = [(); 2].map(|()| deployment.replica());
    let spender = spender("a", slots(2));
    let holders = [killed.enter(&spender).await, alive.enter(&spender).await];
    let mut waiting = alive.enter(&spender).await;
    assert!(timeout(LEASE * 3 / 2, waiting.slot.granted()).await.is_err(), "both are renewed");
    // The process is gone: it neither renews nor releases.
    killed.running.abort();
    let begun = Instant::now();
    assert_eq!(soon(waiting.slot.granted()).await, WaitOutcome::Granted);
    assert!(begun.elapsed() <= LEASE + Duration::from_millis(500), "{:?}", begun.elapsed());
    assert!(begun.elapsed() >= LEASE / 2, "{:?}", begun.elapsed());
    assert_eq!(deployment.slots(), 2);
    // The process was only slow: what it releases is no longer its own.
    let [of_killed, of_alive] = holders;
    of_killed.slot.release().await;
    assert_eq!(deployment.slots(), 2);
    of_alive.slot.release().await;
    waiting.slot.release().await;
    assert_eq!(deployment.slots(), 0);
}

#[tokio::test]
async fn slots_that_redis_has_lost_are_taken_again_by_those_who_have_them() {
    let redis = RedisServer::start();
    let deployment = Deployment { server: &redis, prefix: unique_prefix() };
    let replica = deployment.with_lease(Duration::from_millis(900));
    let spender = spender("a", slots(2));
    let held = [replica.enter(&spender).await, replica.enter(&spender).await];
    let _: () = redis.command(&cmd("FLUSHALL"));
    deployment.has(2, 0).await;
    let refused = replica.admit(demand(&spender, 0, WaitPolicy::Refuses)).await;
    assert!(matches!(refused, Err(LimitError::Exceeded(refused)) if refused.limit == ExceededLimit::Generations));
    for permit in held {
        permit.slot.release().await;
    }
    assert_eq!(deployment.slots(), 0);
}

/// Each first reply is lost, of every script. The first reservation is that of an admission, or that of a request.
#[tokio::test]
async fn call_whose_reply_is_lost_reserves_once_and_settles_once() {
    for with_request in [false, true] {
        let deployment = Deployment::new();
        let proxy = LossyProxy::start(deployment.server.port()).await;
        let replica = Replica::new(client_of(proxy.port, &deployment.prefix), LEASE);
        // One cell is refilled in 60 seconds, and one in 6 seconds.
        let each = Quota {
            requests_per_minute: some(1).filter(|_| with_request),
            tokens_per_minute: some(10),
            publishes_per_minute: some(10),
            ..Quota::NONE
        };
        let spender = spender("a", Policy { each, ..slots(1) });
        let begun = Instant::now();
        let request = replica.limiter.take_request(&spender).await.expect("enough");
        let waits = WaitPolicy::Waits { at_most: None };
        let permit = replica.limiter.admit(demand(&spender, 4, waits), request).await.expect("a slot");
        let requests = with_request.then_some(0);
        assert_eq!(left(replica.limiter.left(&spender, "m").await), (requests, Some(6)));
        assert_eq!((deployment.slots(), deployment.reservations()), (1, 1));
        let mut waiting = replica.admit(demand(&spender, 1, waits)).await.expect("a position");
        permit.slot.release().await;
        assert_eq!(soon(waiting.slot.granted()).await, WaitOutcome::Granted);
        permit.reservations.settle(Settlement::Used(2)).await;
        waiting.reservations.settle(Settlement::AsReserved).await;
        assert_eq!(left(replica.limiter.left(&spender, "m").await), (requests, Some(7)));
        // Counted at least once.
        let allowance = replica.limiter.publish(&spender).await.expect("enough");
        assert!(allowance.publishes.is_some_and(|left| (8..=9).contains(&left.left)));
        waiting.slot.release().await;
        assert!(begun.elapsed() < Duration::from_secs(6), "too slow to be exact: {:?}", begun.elapsed());
        assert_eq!((deployment.slots(), deployment.reservations(), proxy.lost()), (0, 0, 6));
    }
}

#[tokio::test]
async fn calls_while_redis_is_silent_are_unavailable_and_nothing_stays_reserved() {
    let redis = RedisServer::start();
    let deployment = Deployment { server: &redis, prefix: unique_prefix() };
    let replica = deployment.replica();
    // One request is refilled in a minute, which is longer than this test waits.
    let each = Quota { requests_per_minute: some(1), tokens_per_minute: some(1), ..Quota::NONE };
    let [spender, other] = ["a", "b"].map(|name| spender(name, Policy { each, ..slots(1) }));
    let request = replica.limiter.take_request(&other).await.expect("enough");
    redis.pause();
    let begun = Instant::now();
    let demands = [demand(&spender, 1, WaitPolicy::Refuses), demand(&other, 1, WaitPolicy::Refuses)];
    let [without, with] = demands;
    let (taken, admitted, also) = tokio::join!(
        replica.limiter.take_request(&spender),
        replica.admit(without),
        replica.limiter.admit(with, request)
    );
    assert_eq!(taken.err(), Some(LimitError::Unavailable));
    assert_eq!([admitted.err(), also.err()], [const { Some(LimitError::Unavailable) }; 2]);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    redis.resume();
    soon(async {
        loop {
            let [one, two] = [&spender, &other].map(|spender| replica.limiter.left(spender, "m"));
            let all = (left(one.await), left(two.await), deployment.slots(), deployment.reservations());
            if all == ((Some(1), Some(1)), (Some(1), Some(1)), 0, 0) {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn request_while_redis_is_silent_gets_503_and_takes_nothing() {
    let redis = RedisServer::start();
    let deployment = Deployment { server: &redis, prefix: "tr".to_owned() };
    let services = services(&redis, "tr", |settings| {
        settings.limits.each.requests_per_minute = some(1);
        settings.limits.concurrent_generations_total = some(1);
    })
    .await;
    redis.pause();
    let refused = services[0].generate(&json!({"input": "Hello"})).await;
    assert_eq!((refused.status, refused.headers.contains_key("retry-after")), (503, true));
    redis.resume();
    // The only request of this minute.
    let admitted = soon(async {
        loop {
            let answer = services[1].generate(&json!({"input": "Hello", "model": "demo?tokens=2&rate=max"})).await;
            if answer.status == 200 {
                return answer;
            }
        }
    });
    admitted.await.events().await;
    deployment.has(0, 0).await;
}

/// A settlement and a release repeat until Redis answers.
#[tokio::test]
async fn settlement_and_release_while_redis_is_silent_are_carried_out_later() {
    let redis = RedisServer::start();
    let deployment = Deployment { server: &redis, prefix: unique_prefix() };
    let replica = deployment.with_lease(Duration::from_mins(1));
    let each = Quota { tokens_per_minute: some(1), ..Quota::NONE };
    let spender = spender("a", Policy { each, ..slots(1) });
    let permit = replica.admit(demand(&spender, 1, WaitPolicy::Refuses)).await.expect("a slot");
    redis.pause();
    // Longer than a caller waits for them.
    permit.slot.release().await;
    permit.reservations.settle(Settlement::Used(0)).await;
    redis.resume();
    deployment.has(0, 0).await;
    assert_eq!(left(replica.limiter.left(&spender, "m").await).1, Some(1));
}

#[tokio::test]
async fn full_redis_refuses_admissions_and_carries_out_settlements_and_releases() {
    let redis = RedisServer::with_options("--maxmemory 3mb");
    let deployment = Deployment { server: &redis, prefix: unique_prefix() };
    let replica = deployment.replica();
    let each = Quota { tokens_per_minute: some(2), ..Quota::NONE };
    let spender = spender("a", Policy { each, ..slots(2) });
    let permit = replica.admit(demand(&spender, 1, WaitPolicy::Refuses)).await.expect("a slot");
    let client = redis::Client::open(redis.url()).expect("an address");
    let mut connection = client.get_connection().expect("it runs");
    for size in [64 << 10, 4 << 10, 64] {
        let filler = "x".repeat(size);
        while cmd("RPUSH").arg("filler").arg(&filler).query::<()>(&mut connection).is_ok() {}
    }
    let refused = replica.admit(demand(&spender, 1, WaitPolicy::Refuses)).await;
    assert_eq!(refused.err(), Some(LimitError::Unavailable));
    permit.slot.release().await;
    permit.reservations.settle(Settlement::Used(0)).await;
    assert_eq!((deployment.slots(), deployment.reservations()), (0, 0));
    assert_eq!(left(replica.limiter.left(&spender, "m").await).1, Some(2));
}

/// What a replica had reserved that is gone counts as used.
#[tokio::test]
async fn every_key_has_the_prefix_and_expires_and_none_names_a_caller_or_a_model() {
    let deployment = Deployment::new();
    let replica = deployment.replica();
    let each = Quota {
        requests_per_minute: some(10),
        tokens_per_minute: some(1_000),
        concurrent_generations: some(5),
        publishes_per_minute: some(10),
        ..Quota::NONE
    };
    let models = vec![(NamePattern::new("m*"), Quota { concurrent_generations: None, ..each })];
    let spender = spender("secret", Policy { each, models, ..slots(9) });
    let request = replica.limiter.take_request(&spender).await.expect("enough");
    let _permit = replica.limiter.admit(demand(&spender, 100, WaitPolicy::Refuses), request).await.expect("a slot");
    replica.limiter.publish(&spender).await.expect("enough");
    let keys: BTreeSet<String> = deployment.server.command(cmd("KEYS").arg(format!("{}:*", deployment.prefix)));
    // Two sets of slots, a record, and the rates: three of the caller, two of the model.
    assert_eq!(keys.len(), 8, "{keys:?}");
    for key in keys {
        assert!(key.starts_with(&deployment.key("")) && !key.contains("secret"), "{key}");
        let expiry: i64 = deployment.server.command(cmd("PTTL").arg(&key));
        assert!(expiry > 0 && expiry <= 3_600_000, "{key}: {expiry}");
    }
}

#[tokio::test]
async fn new_generation_does_not_overtake_one_that_waits_on_its_replica() {
    let deployment = Deployment::new();
    let replica = deployment.replica();
    let (one, other) = (spender("a", slots(1)), spender("b", slots(1)));
    let holder = replica.enter(&one).await;
    let mut first = replica.enter(&one).await;
    let id = GenerationId::random();
    let refused = replica.limits.admit(id, &demand(&other, 0, WaitPolicy::Refuses)).await;
    assert!(matches!(refused, Err(LimitError::Exceeded(refused)) if refused.limit == ExceededLimit::Generations));
    let mut second = replica.enter(&other).await;
    holder.slot.release().await;
    assert_eq!(soon(first.slot.granted()).await, WaitOutcome::Granted);
    assert!(!second.slot.is_granted());
    first.slot.release().await;
    assert_eq!(soon(second.slot.granted()).await, WaitOutcome::Granted);
    second.slot.release().await;
    assert_eq!((deployment.slots(), replica.limits.count()), (0, (0, 0)));
    assert!(replica.enter(&one).await.slot.queue_state().is_none(), "a free slot is taken at once");
}
