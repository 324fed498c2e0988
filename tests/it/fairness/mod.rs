//! Fairness: callers that take all they can get cost others nothing, and memory stays below its documented bound.

mod attacker;
mod background;
mod ordinary_caller;

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use tokenrill::settings::{Settings, Size};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::support::{AnsweringUpstream, Service, ServiceProcess, metrics::sum_of_series, sized, soon, within};
use attacker::{Attack, Attacker};
use background::Background;
pub use ordinary_caller::OrdinaryCaller;

/// The protocols of the accounts of these tests.
#[derive(Debug, Clone, Copy)]
pub enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub const BOTH: [Self; 2] = [Self::Http1, Self::Http2];

    /// Bytes of the smallest body chunks that do not end their connection: `h2` ends one that sends many smaller ones.
    pub const fn smallest_chunk(self) -> usize {
        match self {
            Self::Http1 => 1,
            Self::Http2 => 256,
        }
    }

    pub fn client(self) -> reqwest::Client {
        let builder = reqwest::Client::builder().no_proxy();
        let builder = match self {
            Self::Http1 => builder,
            Self::Http2 => builder.http2_prior_knowledge(),
        };
        builder.build().expect("a client")
    }
}

/// Returns settings that identify a caller by the address that a trusted proxy states.
pub fn by_address(upstream: &AnsweringUpstream) -> Settings {
    let mut settings = Service::settings(&upstream.base_url());
    settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    settings
}

fn number(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("not zero")
}

/// Returns the upper bound of the page on memory (`docs/memory.md`), for a debug build.
fn worst_case(settings: &Settings) -> usize {
    const PROGRAM: usize = 96 << 20;
    const TABLES: usize = 64 << 20;
    const CONNECTION: usize = 128 << 10;
    let connections = settings.server.max_connections.get() as usize;
    PROGRAM
        + 2 * settings.server.max_body_memory.bytes()
        + 2 * settings.event_log.memory.max_bytes.bytes()
        + 2 * settings.channels.max_bytes_total.bytes()
        + (connections + connections / 10) * CONNECTION
        + TABLES
}

/// Metrics that the attack must drive close to their bounds.
fn bounds(settings: &Settings) -> [(&'static str, usize); 4] {
    [
        ("tokenrill_body_bytes", settings.server.max_body_memory.bytes()),
        ("tokenrill_event_log_bytes", settings.event_log.memory.max_bytes.bytes()),
        ("tokenrill_channel_log_bytes", settings.channels.max_bytes_total.bytes()),
        ("tokenrill_requests_in_flight", settings.server.max_connections.get() as usize),
    ]
}

/// The highest values so far, as shares of their bounds.
struct Driven {
    bounds: [(&'static str, usize); 4],
    shares: [f64; 4],
}

impl Driven {
    fn new(settings: &Settings) -> Self {
        Self { bounds: bounds(settings), shares: [0.0; 4] }
    }

    fn note(&mut self, metrics: &str) {
        for ((name, bound), share) in self.bounds.iter().zip(&mut self.shares) {
            let bound: f64 = u32::try_from(*bound).expect("below 4 GiB").into();
            *share = share.max(sum_of_series(metrics, name) / bound);
        }
    }

    fn is_done(&self) -> bool {
        self.shares.iter().all(|share| *share >= 0.8)
    }
}

/// Metrics that are zero when no request is in flight.
const GAUGES: [&str; 5] = [
    "tokenrill_body_bytes",
    "tokenrill_requests_in_flight",
    "tokenrill_generations_live",
    "tokenrill_viewers_live",
    "tokenrill_subscribers_live",
];

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[(times.len() - 1) * percent / 100]
}

/// Measurements of an ordinary caller's rounds.
#[derive(Default)]
struct Figures {
    /// Times to the first token, while any attack is running.
    first_tokens: Vec<Duration>,
    /// CPU seconds of the service for each round, while the attacker holds its resources and starts nothing new, minus
    /// the cost of these. The cost of a running attack could not be separated from that of a round.
    costs: Vec<f64>,
}

impl Figures {
    const ROUNDS: u32 = 10;

    async fn take(&mut self, attacker: &Attacker, service: &ServiceProcess, ordinary: &mut OrdinaryCaller<'_>) {
        if sized(true, false) {
            // Other tests run at the same time, so figures would be meaningless.
            return ordinary.round().await;
        }
        ordinary.first_tokens.clear();
        for _ in 0..Self::ROUNDS {
            ordinary.round().await;
        }
        self.first_tokens.append(&mut ordinary.first_tokens);
        attacker.pause();
        // Wait until the requests that the attacker has begun are done.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let begun = Instant::now();
        let before = service.cpu();
        for _ in 0..Self::ROUNDS {
            ordinary.round().await;
        }
        let between = service.cpu();
        // The same time without rounds measures the cost of the held resources.
        tokio::time::sleep(begun.elapsed()).await;
        let [before, between, after] = [before, between, service.cpu()].map(|cpu| cpu.as_secs_f64());
        // The difference can be negative if a thread has ended.
        self.costs.push((between - before - (after - between)) / f64::from(Self::ROUNDS));
        attacker.resume();
    }
}

/// The median cost, and the quartiles around it.
impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut sorted = self.costs.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |quarters: usize| sorted[(sorted.len() - 1) * quarters / 4] * 1e3;
        write!(f, "{:.2} ms ({:.2} to {:.2}, of {})", at(2), at(1), at(3), sorted.len())
    }
}

/// All attacks of one account, with the number of tasks for each protocol.
const VARIETY: [(Attack, usize); 16] = [
    (Attack::UnfinishedBody(2 << 20), 1),
    (Attack::SmallChunks(64 << 10), 2),
    (Attack::WaitInLine, 6),
    (Attack::Prompt, 1),
    (Attack::LongPoll, 10),
    (Attack::JsonWait, 5),
    (Attack::SlowState, 8),
    (Attack::SlowPoll, 4),
    (Attack::SlowSnapshot, 8),
    (Attack::SlowEvents, 8),
    (Attack::SlowSubscriber, 8),
    (Attack::PublishIntoNewChannels, 1),
    (Attack::PublishIntoOneChannel, 1),
    (Attack::LargeAnswers, 1),
    (Attack::UnfollowedGenerations, 1),
    (Attack::RefusedBodies, 1),
];

/// Attacks that take all connections and all body memory.
const CROWD: [(Attack, usize); 2] = [(Attack::UnfinishedBody(2 << 20), 12), (Attack::LongPoll, 30)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_attacks_of_one_account_stay_within_documented_memory_and_cost_another_nothing() {
    const QUIET: usize = 20;
    let upstream = AnsweringUpstream::start().await;
    let mut settings = by_address(&upstream);
    settings.server.max_connections = number(200);
    settings.server.max_body = Size::mib(2);
    settings.server.max_body_memory = Size::mib(16);
    settings.event_log.memory.max_bytes = Size::mib(32);
    settings.channels.max_bytes_total = Size::mib(8);
    settings.limits.each.concurrent_generations = Some(number(8));
    let service = ServiceProcess::start(&settings).await;
    let mut ordinary = OrdinaryCaller::new(service.address, "203.0.113.2", &upstream);
    // Warm-up: the first rounds are slower.
    for _ in 0..QUIET {
        ordinary.round().await;
    }
    let attacker = Attacker::new(service.address, "203.0.113.1", Duration::from_millis(50));
    let mut figures = Figures::default();
    for _ in 0..sized(2, 40) {
        figures.take(&attacker, &service, &mut ordinary).await;
    }
    let quiet = std::mem::take(&mut figures);

    // The variety runs first: the crowd of the same account would leave no room for it.
    let (background, tasks) = (Background::start(), TaskTracker::new());
    background.spawn_all(&attacker, &tasks, &VARIETY);
    let (begun, least) = (Instant::now(), sized(Duration::from_mins(1), Duration::from_mins(5)));
    let mut driven = Driven::new(&settings);
    // Past this time the loops end even if the attack did not get that far; the assertions below then fail.
    let is_late = || begun.elapsed() > least * 3;
    let lacks = || attacker.lacks(VARIETY.map(|(attack, _)| attack));
    while begun.elapsed() < least / 2 || !(lacks().is_empty() || is_late()) {
        figures.take(&attacker, &service, &mut ordinary).await;
        driven.note(&service.metrics().await);
    }
    background.spawn_all(&attacker, &tasks, &CROWD);
    while begun.elapsed() < least || !(driven.is_done() || is_late()) {
        figures.take(&attacker, &service, &mut ordinary).await;
        driven.note(&service.metrics().await);
    }
    assert_eq!(lacks(), [], "attacks without effect");
    assert!(driven.is_done(), "{:?} of {:?}", driven.shares, driven.bounds);
    let cpu = service.cpu();
    attacker.stop();
    tasks.close();
    soon(tasks.wait()).await;
    upstream.release();
    let (peak, most) = (service.peak(), worst_case(&settings));
    if sized(false, true) {
        for percent in [50, 99] {
            let [quiet, during] = [&quiet, &figures].map(|figures| percentile(&figures.first_tokens, percent));
            let ratio = during.as_secs_f64() / quiet.as_secs_f64();
            println!("first token, p{percent}: {quiet:.1?} quiet, {during:.1?} beside the attack, {ratio:.2}x");
        }
        println!("CPU of a round: {quiet} quiet, {figures} beside the attack");
    }
    println!("CPU of the service since its start: {cpu:.1?}, {:.1?} of them attacked", begun.elapsed());
    println!("peak {} MiB of {} MiB; {:?}", peak >> 20, most >> 20, driven.shares);
    assert!(peak < most, "{} MiB of {} MiB", peak >> 20, most >> 20);
    for gauge in GAUGES {
        service.metric_becomes(gauge, 0.0).await;
    }
    ordinary.check_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_attacking_accounts_cost_a_hundred_others_nothing() {
    const EACH: u8 = 100;
    let upstream = AnsweringUpstream::start().await;
    let mut settings = by_address(&upstream);
    settings.server.max_connections = number(1_000);
    settings.server.max_body = Size::mib(1);
    settings.server.max_body_memory = Size::mib(32);
    settings.event_log.memory.max_bytes = Size::mib(16);
    settings.channels.max_bytes_total = Size::mib(8);
    let service = ServiceProcess::start(&settings).await;
    let (background, tasks) = (Background::start(), TaskTracker::new());
    let pace = Duration::from_secs(1);
    let attackers = (0..EACH).map(|n| Attacker::new(service.address, &format!("198.51.100.{n}"), pace));
    let attackers: Vec<_> = attackers.collect();
    for (attacker, protocol) in attackers.iter().zip(Protocol::BOTH.into_iter().rev().cycle()) {
        for attack in [
            Attack::UnfinishedBody(1 << 20),
            Attack::LongPoll,
            Attack::SlowState,
            Attack::PublishIntoOneChannel,
            Attack::MediumAnswers,
            Attack::UnfollowedGenerations,
        ] {
            background.spawn(attacker, &tasks, attack, protocol, 1);
        }
        // The listener limits connections and not accounts: over HTTP/2 these polls share one connection.
        background.spawn(attacker, &tasks, Attack::LongPoll, Protocol::Http2, 10);
    }
    let mut driven = Driven::new(&settings);
    within(Duration::from_mins(3), async {
        while !driven.is_done() {
            driven.note(&service.metrics().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;

    let accounts = (0..EACH).map(|n| format!("203.0.113.{n}"));
    let mut ordinary: Vec<_> = accounts.map(|it| OrdinaryCaller::new(service.address, &it, &upstream)).collect();
    for _ in 0..sized(1, 20) {
        join_all(ordinary.iter_mut().map(OrdinaryCaller::keyed_answer)).await;
    }
    join_all(ordinary.iter().map(OrdinaryCaller::check_all)).await;
    for attacker in &attackers {
        attacker.stop();
    }
    tasks.close();
    soon(tasks.wait()).await;
    upstream.release();
    for gauge in GAUGES {
        service.metric_becomes(gauge, 0.0).await;
    }
    join_all(ordinary.iter().map(OrdinaryCaller::check_all)).await;
}
