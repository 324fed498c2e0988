//! The workloads of a peer, and their results.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::cancel;
use crate::client::{Client, Faults, Seen, Wire};
use crate::held;
use crate::peer::{Kind, Peer};
use crate::script::Script;
use crate::upstream::{Scheme, Upstream};
use crate::viewers;

/// The size of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Full,
    /// One third of the duration.
    Quick,
    /// Only tests the benchmark.
    Smoke,
}

impl Scale {
    pub fn lasting(self, full: Duration) -> Duration {
        match self {
            Self::Full => full,
            Self::Quick => full / 3,
            Self::Smoke => full.min(Duration::from_millis(300)),
        }
    }

    pub fn many(self, full: u32) -> u32 {
        if self == Self::Smoke { full.min(10) } else { full }
    }
}

/// The state that all runs share.
pub struct Bench {
    /// The path of the Tokenrill binary.
    pub program: PathBuf,
    pub clock: Instant,
    pub upstream: Upstream,
    pub scale: Scale,
    /// The number of the last watched request.
    pub watched: u32,
    /// The events of a generation as Tokenrill sent them.
    pub recording: Option<Vec<u8>>,
}

/// One row of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub kind: Kind,
    pub wire: Wire,
}

impl Row {
    pub fn name(self) -> &'static str {
        match (self.kind, self.wire) {
            (Kind::Direct, _) => "direct",
            (Kind::Nginx, _) => "nginx",
            (Kind::Haproxy, _) => "haproxy",
            (Kind::LiteLlm, _) => "litellm",
            (Kind::TokenrillTargets, _) => "tokenrill-targets",
            (Kind::Tokenrill, Wire::OpenAi) => "tokenrill",
            (Kind::Tokenrill, Wire::Native) => "tokenrill-native",
        }
    }
}

/// One column, and the value of one run; `None` if the run has no such value.
#[derive(Clone, Copy)]
pub struct Figure {
    pub name: &'static str,
    pub value: Option<f64>,
    /// Whether the value is compared with nginx's.
    pub is_compared: bool,
}

pub fn figure(name: &'static str, value: f64) -> Figure {
    Figure { name, value: value.is_finite().then_some(value), is_compared: false }
}

pub fn compared(name: &'static str, value: f64) -> Figure {
    Figure { is_compared: true, ..figure(name, value) }
}

/// The result of one run.
pub struct Outcome {
    pub figures: Vec<Figure>,
    pub faults: Faults,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Load(Load),
    /// This many streams, each with one token per second.
    Held(u32),
    Cancel,
    Replay,
    Audience,
    SecondViewer,
}

/// Concurrent clients.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Load {
    pub slots: u32,
    pub script: Script,
    /// How long each client repeats its request; zero: it sends one.
    pub lasting: Duration,
    /// The time over which the clients start.
    pub spread: Duration,
    pub is_stream: bool,
}

pub struct Workload {
    pub name: &'static str,
    pub says: &'static str,
    pub shape: Shape,
    pub scheme: Scheme,
    pub has_native: bool,
    pub has_litellm: bool,
}

/// Returns all workloads, in order.
pub fn all() -> Vec<Workload> {
    let (second, none) = (Duration::from_secs(1), Duration::ZERO);
    let paced = |slots, tokens, pause, lasting, spread| {
        let script = Script::new(tokens, Duration::from_millis(pause));
        Shape::Load(Load { slots, script, lasting, spread, is_stream: true })
    };
    let unpaced = |batch| {
        let script = Script { batch, ..Script::new(256, none) };
        Shape::Load(Load { slots: 32, script, lasting: second * 3, spread: none, is_stream: true })
    };
    let script = Script { batch: 16, ..Script::new(16, none) };
    let whole = Load { slots: 16, script, lasting: second * 3, spread: none, is_stream: false };
    let workload = |name, says, shape| {
        let scheme = Scheme::Http;
        Workload { name, says, shape, scheme, has_native: false, has_litellm: false }
    };
    let behind_tls = |name, says, shape| Workload { scheme: Scheme::Https, ..workload(name, says, shape) };
    let both = |name, says, shape| Workload { has_native: true, ..workload(name, says, shape) };
    let three = |name, says, shape| Workload { has_litellm: true, ..both(name, says, shape) };
    let paced_50 = paced(50, 64, 20, second * 4, second / 5);
    vec![
        three("paced-50", "50 streams at once, 64 tokens each at 20 ms", paced_50),
        three("unpaced", "32 streams at once, 256 tokens each without a pause, one token in each write", unpaced(1)),
        both("unpaced-8", "As `unpaced`, with 8 tokens in each write", unpaced(8)),
        both("paced-1000", "1,000 streams at 20 tokens/s, 10 s each", paced(1000, 200, 50, none, second)),
        workload("held-1000", "1,000 streams at 1 token/s, for 10 s, after a restart of the peer", Shape::Held(1000)),
        workload("held-5000", "5,000 streams at 1 token/s, for 10 s, after a restart of the peer", Shape::Held(5000)),
        workload(
            "cancel",
            "The time from the client's close to the end of the upstream's connection, one stream at a time",
            Shape::Cancel,
        ),
        workload("whole", "Answers of 16 tokens that are not streamed, 16 at a time", Shape::Load(whole)),
        behind_tls("paced-50-tls", "As `paced-50`, with TLS between the peer and the model", paced_50),
        behind_tls("whole-tls", "As `whole`, with TLS between the peer and the model", Shape::Load(whole)),
        workload(
            "replay",
            "An ended answer of 1,000 tokens, sent to 100 viewers at once. nginx sends the same bytes from a file",
            Shape::Replay,
        ),
        workload("audience", "One answer at 20 tokens/s, 1,000 viewers", Shape::Audience),
        workload("second-viewer", "50 answers at 50 tokens/s, with 1 viewer each and with 5", Shape::SecondViewer),
    ]
}

impl Workload {
    /// Returns the peers of this workload, each with its API.
    pub fn rows(&self) -> Vec<Row> {
        let kinds: &[Kind] = match self.shape {
            Shape::Replay => &[Kind::Nginx, Kind::Tokenrill],
            Shape::Audience | Shape::SecondViewer => &[Kind::Tokenrill],
            // There is no direct row, since the client does not support TLS.
            _ if self.scheme == Scheme::Https => &[Kind::Nginx, Kind::Haproxy, Kind::Tokenrill],
            _ => &[Kind::Direct, Kind::Nginx, Kind::Haproxy, Kind::Tokenrill],
        };
        let mut rows: Vec<Row> = kinds.iter().map(|kind| Row { kind: *kind, wire: Wire::OpenAi }).collect();
        if self.has_native {
            rows.push(Row { kind: Kind::Tokenrill, wire: Wire::Native });
        }
        if matches!(self.shape, Shape::Load(_)) {
            rows.push(Row { kind: Kind::TokenrillTargets, wire: Wire::OpenAi });
        }
        if self.has_litellm {
            rows.push(Row { kind: Kind::LiteLlm, wire: Wire::OpenAi });
        }
        rows
    }

    /// Runs the workload once, with a new process of the peer.
    pub async fn run(&self, bench: &mut Bench, row: Row) -> io::Result<Outcome> {
        if self.shape == Shape::Replay {
            return viewers::replay(bench, row.kind).await;
        }
        let peer = Peer::start(row.kind, bench, self.scheme).await?;
        match self.shape {
            Shape::Load(load) if row.kind == Kind::LiteLlm => {
                self::load(&peer, row.wire, Load { slots: load.slots.min(4), ..load }, bench.scale).await
            }
            Shape::Load(load) => self::load(&peer, row.wire, load, bench.scale).await,
            Shape::Held(streams) => held::run(&peer, row.wire, bench.scale.many(streams), bench.scale).await,
            Shape::Cancel => cancel::run(bench, &peer, row.wire).await,
            Shape::Audience => viewers::audience(&peer, bench.scale).await,
            Shape::SecondViewer => viewers::second_viewer(&peer, bench.scale).await,
            Shape::Replay => Err(io::Error::other("not here")),
        }
    }
}

async fn load(peer: &Peer, wire: Wire, load: Load, scale: Scale) -> io::Result<Outcome> {
    let (tasks, barrier) = (TaskTracker::new(), Arc::new(Barrier::new(scale.many(load.slots) as usize + 1)));
    let (slots, lasting, spread) = (scale.many(load.slots), scale.lasting(load.lasting), scale.lasting(load.spread));
    let tokens = if scale == Scale::Smoke { load.script.tokens.min(16) } else { load.script.tokens };
    let script = Script { tokens, ..load.script };
    let request = peer.target.ask(wire, &script, load.is_stream);
    let warming = peer.target.ask(wire, &Script::new(1, Duration::ZERO), load.is_stream);
    let mut clients = Vec::new();
    for slot in 0..slots {
        pause_of_connects(slot).await;
        let (barrier, target, request, warming) =
            (Arc::clone(&barrier), peer.target.clone(), request.clone(), warming.clone());
        clients.push(tasks.spawn(async move {
            let mut client = Client::connect(&target).await;
            if let (Ok(client), false) = (&mut client, lasting.is_zero()) {
                client.exchange(&warming, 1, &mut Seen::default()).await;
            }
            barrier.wait().await;
            barrier.wait().await;
            let mut client = client?;
            sleep(spread * slot / slots).await;
            let (began, mut seen) = (Instant::now(), Seen::default());
            loop {
                client.exchange(&request, tokens, &mut seen).await;
                if began.elapsed() >= lasting || seen.faults.broken > 3 {
                    return Ok::<_, io::Error>(seen);
                }
            }
        }));
    }
    barrier.wait().await;
    let (cpu, began) = (peer.cpu()?, Instant::now());
    barrier.wait().await;
    let mut seen = Seen::default();
    for client in clients {
        seen.add(client.await.map_err(io::Error::other)??);
    }
    let (took, cpu) = (began.elapsed().as_secs_f64(), peer.cpu()?.saturating_sub(cpu));
    Ok(if load.is_stream { of_streams(seen, took, cpu, !script.pause.is_zero()) } else { of_whole(seen, took, cpu) })
}

/// Pauses after every 32nd connect, so that the listen backlog does not overflow.
pub async fn pause_of_connects(number: u32) {
    if number % 32 == 31 {
        sleep(Duration::from_millis(3)).await;
    }
}

/// The times of unpaced tokens are not compared, since they mostly measure queueing behind other tokens.
fn of_streams(mut seen: Seen, took: f64, cpu: Duration, is_paced: bool) -> Outcome {
    let time = if is_paced { compared } else { figure };
    let rate = if is_paced { figure } else { compared };
    let tokens = seen.tokens as f64;
    let [first50, first99] = [0.5, 0.99].map(|part| percentile(&mut seen.first, part));
    let [relay50, relay99, relay999] = [0.5, 0.99, 0.999].map(|part| percentile(&mut seen.relay, part));
    let figures = vec![
        rate("tokens/s", tokens / took),
        time("first token p50 ms", first50),
        figure("p99 ms", first99),
        time("relay p50 ms", relay50),
        figure("p99 ms", relay99),
        figure("p99.9 ms", relay999),
        compared("CPU µs/token", micros_each(cpu, seen.tokens)),
    ];
    Outcome { figures, faults: seen.faults }
}

fn of_whole(mut seen: Seen, took: f64, cpu: Duration) -> Outcome {
    let [p50, p99] = [0.5, 0.99].map(|part| percentile(&mut seen.first, part));
    let figures = vec![
        compared("answers/s", seen.answers as f64 / took),
        figure("p50 ms", p50),
        figure("p99 ms", p99),
        compared("CPU µs/answer", micros_each(cpu, seen.answers)),
    ];
    Outcome { figures, faults: seen.faults }
}

/// Returns the percentile by nearest rank, in milliseconds, of times in tenths of a microsecond.
pub fn percentile(tenths: &mut [u32], part: f64) -> f64 {
    tenths.sort_unstable();
    let rank = ((tenths.len() as f64 * part).ceil() as usize).max(1);
    tenths.get(rank - 1).map_or(f64::NAN, |tenths| f64::from(*tenths) / 1e4)
}

/// Returns NaN if no CPU time was measured: a direct connection has no peer process.
pub fn micros_each(cpu: Duration, count: u64) -> f64 {
    if cpu.is_zero() { f64::NAN } else { cpu.as_secs_f64() * 1e6 / count as f64 }
}
